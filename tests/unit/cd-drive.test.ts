/** Media of CD drives, changed from outside while the machine runs. */
import { expect, test } from 'vitest';
import { buildAhci } from '../../devices/ahci/build.ts';
import type { BlockBackend, BlockSettings } from '../../devices/backends/block.ts';
import { MemoryBackend } from '../../devices/block/memory-backend.ts';
import type { DeviceBuilder } from '../../devices/device-context.ts';
import { ScsiCdrom } from '../../devices/scsi/cdrom.ts';
import type { CdDrive } from '../../devices/scsi/cd-drive.ts';
import { buildVirtioScsi } from '../../devices/virtio/scsi-build.ts';
import { FakeMachine } from '../support/fake-bus.ts';

const AHCI = { 'port.1.type': 'cd', 'port.1.path': '/first', 'port.3.type': 'cd' };
const SCSI = { 'target.0.path': '/first', 'target.0.backend': 'cd' };

class Disc extends MemoryBackend {
  isClosed = false;
  constructor() {
    super(new Uint8Array(8192), { readOnly: true });
  }
  override close(): Promise<void> {
    this.isClosed = true;
    return super.close();
  }
}

async function build(builder: DeviceBuilder, variables: Readonly<Record<string, string>>) {
  const machine = new FakeMachine();
  const discs = new Map<string, Disc>();
  const drives = new Map<string, CdDrive>();
  const block = ({ path, ro }: BlockSettings): Promise<BlockBackend> => {
    expect(ro).toBe(true);
    if (path === '/none') return Promise.reject(new Error('Could not open backing file: /none'));
    const disc = new Disc();
    discs.set(path, disc);
    return Promise.resolve(disc);
  };
  const context = machine.context({ addCdDrive: (name, drive) => drives.set(name, drive) }, { block });
  await builder(context, { bus: 0, slot: 4, func: 0 }, { get: (name) => variables[name] });
  return { discs, drives };
}

test.each([
  ['ahci', buildAhci, AHCI, 'pci.0.4.0.port.1'],
  ['virtio-scsi', buildVirtioScsi, SCSI, 'pci.0.4.0.target.0'],
] as const)('%s: a medium is changed, taken out and put in', async (_name, builder, variables, name) => {
  const { discs, drives } = await build(builder, variables);
  const drive = drives.get(name);
  expect(drive?.hasMedium).toBe(true);
  await drive?.insert('/second');
  expect([discs.get('/first')?.isClosed, discs.get('/second')?.isClosed, drive?.hasMedium]).toEqual([
    true,
    false,
    true,
  ]);
  await expect(drive?.insert('/none')).rejects.toThrow('/none');
  expect([discs.get('/second')?.isClosed, drive?.hasMedium]).toEqual([false, true]);
  await drive?.remove();
  expect([discs.get('/second')?.isClosed, drive?.hasMedium, drive?.trayOpen]).toEqual([true, false, false]);
  await drive?.remove();
  await drive?.insert('/third');
  drive?.pressButton();
  expect([drive?.isLocked, drive?.trayOpen, drive?.hasMedium]).toEqual([false, true, false]);
  await drive?.insert('/fourth');
  expect([drive?.trayOpen, drive?.hasMedium, discs.get('/third')?.isClosed]).toEqual([false, true, true]);
});

test('an empty drive takes a medium', async () => {
  const { drives } = await build(buildAhci, AHCI);
  expect([...drives.keys()]).toEqual(['pci.0.4.0.port.1', 'pci.0.4.0.port.3']);
  const empty = drives.get('pci.0.4.0.port.3');
  expect(empty?.hasMedium).toBe(false);
  await empty?.insert('/first');
  expect(empty?.hasMedium).toBe(true);
});

test.each([true, false])(
  'a guest restored with the disc of its command line (there is one: %s) is told when it knew another',
  async (has) => {
    const drive = (): ScsiCdrom =>
      new ScsiCdrom(has ? new Disc() : undefined, { vendor: 'V', product: 'P', revision: '1', serial: 'S' });
    const testUnitReady = async (unit: ScsiCdrom): Promise<number> =>
      (await unit.execute({ cdb: new Uint8Array(6), dataOut: [], dataIn: [] })).sense?.asc ?? 0;
    const MEDIUM_NOT_PRESENT = 0x3a;
    const MEDIUM_CHANGED = 0x28;

    const before = drive();
    const unchanged = drive();
    unchanged.restore(before.save());
    expect(await testUnitReady(unchanged)).toBe(has ? 0 : MEDIUM_NOT_PRESENT);

    before.insert(new Disc());
    expect(await testUnitReady(before)).toBe(MEDIUM_CHANGED);
    expect(await testUnitReady(before)).toBe(0);
    const restored = drive();
    restored.restore(before.save());
    expect(await testUnitReady(restored)).toBe(has ? MEDIUM_CHANGED : MEDIUM_NOT_PRESENT);
    expect(await testUnitReady(restored)).toBe(has ? 0 : MEDIUM_NOT_PRESENT);
    // Its disc is that of the command line again: the next restore has nothing to tell.
    const again = drive();
    again.restore(restored.save());
    expect(await testUnitReady(again)).toBe(has ? 0 : MEDIUM_NOT_PRESENT);
  },
);
