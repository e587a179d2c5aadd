/**
 * EDK2's BHYVE firmware boots GRUB, and GRUB a Debian kernel, from each kind of disk. All of them hold a system that says where it came from, and
 * `bootindex` decides. WEBHYVE_FIRMWARE names a folder with BHYVE_CODE.fd and BHYVE_VARS.fd.
 */
import { copyFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { FIRMWARE_CODE, FIRMWARE_VARIABLES, firmwareMissing } from '../support/firmware.ts';
import { grubMediaMissing, makeBootDisc, makeBootDisk } from '../support/grub-media.ts';
import {
  BASIC_ARGS,
  destroyTestMachines,
  linuxGuest,
  linuxMissing,
  QUICK_CMDLINE,
  scratchDirectory,
  testMachine,
} from '../support/machine.ts';

const PATIENCE_MS = 600_000;

/** The devices, by the labels of their media. */
const MEDIA = {
  blk: '3,virtio-blk',
  sata: '4,ahci-hd',
  nvme: '5,nvme',
  disc: '6,ahci-cd',
} as const;
const LABELS = Object.keys(MEDIA) as (keyof typeof MEDIA)[];

let reason: string | undefined;
let scratch = { path: '', remove: (): void => {} };
const image = (label: string): string => join(scratch.path, `${label}.img`);

beforeAll(async () => {
  reason = firmwareMissing ?? grubMediaMissing() ?? (await linuxMissing());
  if (reason !== undefined) return;
  scratch = scratchDirectory();
  const { kernel, initrd } = await linuxGuest();
  for (const label of LABELS) {
    const mark = join(scratch.path, label);
    writeFileSync(mark, '');
    const config = [
      ...[`echo booted from ${label}`, `search --no-floppy --set=root --file /${label}`],
      ...[`linux /linux ${QUICK_CMDLINE} medium=${label}`, 'initrd /initrd', 'boot'],
    ];
    const files = { '/linux': kernel, '/initrd': initrd, [`/${label}`]: mark };
    (label === 'disc' ? makeBootDisc : makeBootDisk)(image(label), { config, files });
  }
}, PATIENCE_MS);
afterAll(() => scratch.remove());
afterEach(destroyTestMachines);

test.for(LABELS)('%s', { timeout: PATIENCE_MS }, async (chosen, context) => {
  if (reason !== undefined) context.skip(reason);
  const variables = join(scratch.path, `${chosen}.vars`);
  copyFileSync(FIRMWARE_VARIABLES, variables);
  // The chosen one comes first, the others behind it in the opposite order of their slots.
  const others = LABELS.filter((label) => label !== chosen).reverse();
  const order = [chosen, ...others];
  const disks = LABELS.flatMap((label) => {
    return ['-s', `${MEDIA[label]},${image(label)},bootindex=${order.indexOf(label) + 1}`];
  });
  // The order reaches firmware as a file of fw_cfg, which is not what bhyve offers by default.
  const rom = `bootrom,${FIRMWARE_CODE},${variables},fwcfg=qemu`;
  await using guest = await testMachine([...BASIC_ARGS, '-m', '1G', ...disks, '-l', rom, 'test']);
  guest.machine.start();
  await guest.com1.expect('booted from ', { timeout: PATIENCE_MS });
  await guest.com1.expect('webhyve guest ready', { timeout: PATIENCE_MS });
  await guest.com1.expect('/ # ', { timeout: PATIENCE_MS });
  await guest.com1.run('dmesg -n 1', { timeout: PATIENCE_MS });
  const { output } = await guest.com1.run('cat /proc/cmdline', { timeout: PATIENCE_MS });
  expect(output).toContain(`medium=${chosen}`);
  expect(guest.machine.deviceErrors).toBe(0);
});
