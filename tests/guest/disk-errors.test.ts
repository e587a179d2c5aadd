/**
 * A backend that fails (EIO for some sectors, ENOSPC for others) on each controller: the guest gets an I/O error for these sectors, and goes
 * on with all others and with all other disks.
 */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { totalBytes, type BlockBackend } from '../../devices/backends/block.ts';
import { MemoryBackend } from '../../devices/block/memory-backend.ts';
import { DISK_PLACES } from '../support/disk-places.ts';
import { bootLinux, destroyTestMachines, linuxMissing } from '../support/machine.ts';

beforeEach(async (context) => {
  const reason = await linuxMissing('generic');
  if (reason !== undefined) context.skip(reason);
}, 300_000);
afterEach(destroyTestMachines);

const MIB = 1 << 20;
const SIZE = 16 * MIB;
/** Sectors that cannot be read, and where the file system of the host is full. */
const UNREADABLE = 4 * MIB;
const UNREADABLE_END = UNREADABLE + 4096;
const FULL = 8 * MIB;

function systemError(code: string): Error {
  return Object.assign(new Error(`${code}: injected`), { code });
}

class FailingDisk extends MemoryBackend {
  failures = 0;

  constructor() {
    super(new Uint8Array(SIZE), { physicalSectorBytes: 4096 });
  }

  #fail(code: string): Promise<never> {
    this.failures++;
    return Promise.reject(systemError(code));
  }

  override read(offset: number, into: Uint8Array[]): Promise<void> {
    const touches = offset < UNREADABLE_END && offset + totalBytes(into) > UNREADABLE;
    return touches ? this.#fail('EIO') : super.read(offset, into);
  }

  override write(offset: number, from: Uint8Array[]): Promise<void> {
    return offset + totalBytes(from) > FULL ? this.#fail('ENOSPC') : super.write(offset, from);
  }
}

test('EIO and ENOSPC are I/O errors of their sectors alone', { timeout: 300_000 }, async () => {
  const disks = new Map<string, FailingDisk>();
  const block = ({ path }: { readonly path: string }): Promise<BlockBackend> => {
    const disk = new FailingDisk();
    disks.set(path, disk);
    return Promise.resolve(disk);
  };
  const args = [
    ...['-m', '256M', '-s', '3,virtio-blk,blk', '-s', '4,ahci,hd:ahci', '-s', '5,nvme,nvme'],
    ...['-s', '6,virtio-scsi,target=scsi'],
  ];
  await using guest = await bootLinux({ variant: 'generic', args, backends: { block } });
  const run = async (command: string): Promise<{ readonly output: string; readonly status: number }> => {
    const { output, status } = await guest.com1.run(command, { timeout: 120_000 });
    return { output: output.replaceAll('\r', ''), status };
  };
  const succeeds = async (command: string): Promise<string> => {
    const { output, status } = await run(command);
    expect(status, `${command}\n${output}`).toBe(0);
    return output;
  };
  // Messages of the kernel would come in the middle of outputs.
  await succeeds('dmesg -n 1; head -c 65536 /dev/urandom > /tmp/data');
  for (const [name, path] of Object.entries(DISK_PLACES)) {
    await succeeds(`${name}=$(basename $(echo /sys/devices/pci0000:00/${path})); test -b /dev/$${name}`);
  }
  const fresh = 'echo 3 > /proc/sys/vm/drop_caches;';
  for (const name of Object.keys(DISK_PLACES)) {
    const device = `/dev/$${name}`;
    const failed = await run(`${fresh} dd if=${device} of=/dev/null bs=4096 skip=${UNREADABLE / 4096} count=1`);
    expect(failed.status, `${name}: ${failed.output}`).not.toBe(0);
    const full = await run(`dd if=/tmp/data of=${device} bs=65536 seek=${FULL / 65536} count=1 conv=notrunc,fsync`);
    expect(full.status, `${name}: ${full.output}`).not.toBe(0);
    expect(disks.get(name)?.failures, name).toBeGreaterThan(1);
    // The disk goes on, before and behind what fails.
    await succeeds(`dd if=/tmp/data of=${device} bs=65536 seek=8 count=1 conv=notrunc,fsync 2>/dev/null`);
    await succeeds(`${fresh} dd if=${device} bs=65536 skip=8 count=1 2>/dev/null | cmp - /tmp/data`);
    await succeeds(`dd if=${device} of=/dev/null bs=65536 skip=160 count=16 2>/dev/null`);
    expect(await succeeds(`dmesg | grep -c "error, dev $${name},"`), name).not.toBe('0\n');
  }
  // And each of the others.
  for (const name of Object.keys(DISK_PLACES)) {
    await succeeds(`${fresh} dd if=/dev/$${name} bs=65536 skip=8 count=1 2>/dev/null | cmp - /tmp/data`);
  }
  guest.com1.send('poweroff -f\n');
  expect(await guest.machine.exited).toMatchObject({ code: 1 });
  expect(guest.machine.deviceErrors).toBe(0);
});
