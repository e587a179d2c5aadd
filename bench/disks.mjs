/**
 * The disk controllers here and on QEMU's TCG, each with the same kind of image behind it, measured by fio in the guest. Every pattern runs for a
 * fixed time; the table has MiB or requests in a second, and how many times QEMU's that is.
 */
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fetchGuest } from '../host-node/setup/fetch-guest.mjs';
import { qemuTcg, qemuVersion, webhyve } from './contestants.mjs';
import { diskTools, diskToolsMissing, mountTools } from './disk-tools.mjs';
import { GuestSession } from './guest-session.mjs';

const BOOT_TIMEOUT_MS = 180_000;
const COMMAND_TIMEOUT_MS = 120_000;
const PROMPT = /\/ # /;
const IMAGE_MIB = 128;
const SECONDS_A_PATTERN = 2;

/** Where the kernel finds the disk of each controller, by what both machines' disks say of themselves. */
const CONTROLLERS = {
  'virtio-blk': 'grep -ls BENCH-blk /sys/block/vd*/serial | cut -d/ -f4',
  ahci: 'for d in /sys/block/sd*; do readlink -f $d | grep -q /ata && basename $d; done',
  nvme: 'basename /sys/block/nvme*n1',
  'virtio-scsi': 'for d in /sys/block/sd*; do readlink -f $d | grep -q /virtio && basename $d; done',
};

/** Fields of fio's terse output, version 3: bandwidth in KiB a second, and requests a second. */
const READ = { bandwidth: 6, requests: 7 };
const WRITE = { bandwidth: 47, requests: 48 };
const PATTERNS = [
  { name: 'read 1 MiB, sequential', options: '--rw=read --bs=1M --iodepth=4', side: READ, unit: 'bandwidth' },
  { name: 'write 1 MiB, sequential', options: '--rw=write --bs=1M --iodepth=4', side: WRITE, unit: 'bandwidth' },
  { name: 'read 4 KiB, depth 1', options: '--rw=randread --bs=4k --iodepth=1', side: READ, unit: 'requests' },
  { name: 'write 4 KiB, depth 1', options: '--rw=randwrite --bs=4k --iodepth=1', side: WRITE, unit: 'requests' },
  { name: 'read 4 KiB, depth 32', options: '--rw=randread --bs=4k --iodepth=32', side: READ, unit: 'requests' },
  { name: 'write 4 KiB, depth 32', options: '--rw=randwrite --bs=4k --iodepth=32', side: WRITE, unit: 'requests' },
];
const JOBS = PATTERNS.map(({ options }, index) => `--name=p${index} --stonewall ${options}`).join(' ');

function webhyveWithDisks(guest, images) {
  const base = webhyve(guest);
  const disks = [
    ...['-s', `4,virtio-blk,${diskTools()},ro`, '-s', `5,virtio-blk,${images['virtio-blk']},ser=BENCH-blk`],
    ...['-s', `6,ahci,hd:${images.ahci}`, '-s', `7,nvme,${images.nvme}`],
    ...['-s', `8,virtio-scsi,target=${images['virtio-scsi']}`],
  ];
  return { ...base, args: [...base.args.slice(0, -1), ...disks, base.args.at(-1)] };
}

function qemuWithDisks(guest, images) {
  const base = qemuTcg(guest);
  const drive = (id, file, options = '') => ['-drive', `file=${file},format=raw,if=none,id=${id}${options}`];
  const disks = [
    ...drive('tools', diskTools(), ',read-only=on'),
    ...['-device', 'virtio-blk-pci,drive=tools'],
    ...drive('blk', images['virtio-blk']),
    ...['-device', 'virtio-blk-pci,drive=blk,serial=BENCH-blk'],
    ...drive('sata', images.ahci),
    ...['-device', 'ahci,id=ahci', '-device', 'ide-hd,bus=ahci.0,drive=sata'],
    ...drive('nvme', images.nvme),
    ...['-device', 'nvme,drive=nvme,serial=BENCH-nvme'],
    ...drive('scsi', images['virtio-scsi']),
    ...['-device', 'virtio-scsi-pci', '-device', 'scsi-hd,drive=scsi'],
  ];
  return { ...base, args: [...base.args, ...disks] };
}

/** Images without holes, all of them the same, in the host's page cache. */
function makeImages(folder) {
  const piece = Buffer.alloc(1 << 20, 0x5a);
  return Object.fromEntries(
    Object.keys(CONTROLLERS).map((controller) => {
      const path = join(folder, `${controller}.img`);
      const file = openSync(path, 'w');
      for (let mib = 0; mib < IMAGE_MIB; mib++) writeSync(file, piece);
      closeSync(file);
      return [controller, path];
    }),
  );
}

/** Resolves to what fio found, by controller and pattern. */
async function measure(contestant) {
  const session = new GuestSession(contestant);
  const run = async (command) => (await session.run(command, COMMAND_TIMEOUT_MS)).output;
  try {
    await session.expect(PROMPT, BOOT_TIMEOUT_MS);
    await run('stty -echo; dmesg -n 1');
    await run(mountTools('/dev/vda'));
    const results = new Map();
    for (const [controller, look] of Object.entries(CONTROLLERS)) {
      const device = (await run(look)).trim();
      if (!/^\w+$/.test(device)) throw new Error(`${contestant.name}: no disk on ${controller}: ${device}`);
      const output = await run(
        `t fio --filename=/dev/${device} --direct=1 --ioengine=libaio --thread --norandommap --time_based ` +
          `--runtime=${SECONDS_A_PATTERN} --output-format=terse --terse-version=3 ${JOBS}`,
      );
      const found = [];
      for (const [index, { name, side, unit }] of PATTERNS.entries()) {
        const line = output.split('\n').find((text) => text.startsWith('3;fio') && text.includes(`;p${index};`));
        const value = Number(line?.split(';')[side[unit]]);
        if (!(value > 0)) throw new Error(`${contestant.name}, ${controller}: ${output}`);
        const figure = unit === 'bandwidth' ? value / 1024 : value;
        results.set(`${controller}: ${name}`, figure);
        found.push(figure.toFixed(0));
      }
      process.stderr.write(`${contestant.name}, ${controller}: ${found.join(', ')}\n`);
    }
    return results;
  } finally {
    await session.kill();
  }
}

/** Rows of a table, its header first. */
export async function measureDisks() {
  const missing = diskToolsMissing();
  if (missing !== undefined) return [['disks'], [missing]];
  const guest = await fetchGuest({ variant: 'generic' });
  const folder = mkdtempSync(join(tmpdir(), 'webhyve-bench-'));
  try {
    const images = makeImages(folder);
    const ours = await measure(webhyveWithDisks(guest, images));
    const theirs = qemuVersion() === undefined ? undefined : await measure(qemuWithDisks(guest, images));
    const rows = [...ours].map(([name, value]) => {
      const other = theirs?.get(name);
      const unit = name.includes('MiB') ? 'MiB/s' : '/s';
      const comparison = other === undefined ? [] : [`${other.toFixed(0)} ${unit}`, (value / other).toFixed(2)];
      return [name, `${value.toFixed(0)} ${unit}`, ...comparison];
    });
    return [['disks, a second', 'webhyve', ...(theirs ? ['qemu-tcg', 'times'] : [])], ...rows];
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
