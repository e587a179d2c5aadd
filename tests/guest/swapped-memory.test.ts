/**
 * Guests with more memory than their process holds: chunks of 2 MiB go to a file and come back, with their page tables, their code and devices'
 * requests among them (docs/memory.md). The long runs need SWAP=1: a guest with 24 GiB that fills and checks 6 GiB, and 4 GiB of tmpfs.
 */
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import {
  bootLinux,
  destroyTestMachines,
  linuxMissing,
  scratchDirectory,
  testMachine,
  BASIC_ARGS,
} from '../support/machine.ts';
import { linuxGuest, QUICK_CMDLINE } from '../support/machine.ts';
import type { Machine } from '../../host-node/index.ts';

beforeEach(async (context) => {
  const reason = await linuxMissing();
  if (reason !== undefined) context.skip(reason);
}, 300_000);
afterEach(destroyTestMachines);

const COMMAND_TIMEOUT_MS = 240_000;

interface Guest {
  readonly com1: Machine['consoles'][string];
}

async function run({ com1 }: Guest, command: string, timeout = COMMAND_TIMEOUT_MS): Promise<string> {
  const { output, status } = await com1.run(command, { timeout });
  expect(status, `status of: ${command}\n${output}`).toBe(0);
  return output;
}

/** Two processes, one on each vCPU, fill files of the tmpfs with bytes of their own and note their sums. */
const fill = (mib: number): string =>
  `mkdir -p /m && mount -t tmpfs -o size=90% m /m && for n in 0 1; do ( taskset $((n+1)) dd if=/dev/urandom of=/m/$n bs=1M count=${mib} 2>/dev/null; taskset $((n+1)) md5sum /m/$n > /sum.$n ) & done; wait`;
const CHECK = 'for n in 0 1; do ( taskset $((2-n)) md5sum -c -s /sum.$n || echo wrong ) & done; wait';

test(
  'memory that does not fit goes out and comes back: two vCPUs, a disk, a snapshot',
  { timeout: 600_000 },
  async () => {
    const scratch = scratchDirectory();
    try {
      const image = join(scratch.path, 'disk.img');
      writeFileSync(
        image,
        Uint8Array.from({ length: 24 << 20 }, (_, i) => (i * 2654435761) >>> 24),
      );
      const args = [
        '-m',
        '320M',
        '-c',
        '2',
        '-s',
        `3,virtio-blk,${image}`,
        '-o',
        `memory.swap=${scratch.path}`,
        '-o',
        'memory.resident=96M',
      ];
      const guest = await bootLinux({ args });
      const diskSum = await run(guest, 'md5sum < /dev/vda');
      await run(guest, fill(70));
      // The page cache and what it is read into change places while requests are in flight.
      await run(guest, `echo 3 > /proc/sys/vm/drop_caches; md5sum < /dev/vda > /again & ${CHECK}; cat /again`);
      expect(await run(guest, `wait; cat /again; ${CHECK}`)).toBe(diskSum);
      const stats = guest.machine.stats();
      expect(Number(stats['Swapped memory'])).toBeGreaterThan(100 << 20);
      expect(Number(stats['Resident memory'])).toBeLessThanOrEqual(98 << 20);
      expect(Number(stats['chunks read from swap'])).toBeGreaterThan(20);
      expect(guest.messages).toEqual([]);
      const snapshot = await guest.machine.snapshot();
      await guest[Symbol.asyncDispose]();

      for (const resident of ['memory.resident=96M', 'memory.resident=320M']) {
        const words = [...BASIC_ARGS, ...args.slice(0, -1), resident, 'test'];
        const again = await testMachine(words, { cmdline: QUICK_CMDLINE, ...(await linuxGuest()) });
        await again.machine.restore(snapshot);
        again.machine.start();
        expect(await run(again, CHECK)).toBe('');
        expect(again.machine.deviceErrors).toBe(0);
        await again[Symbol.asyncDispose]();
      }
    } finally {
      rmSync(scratch.path, { recursive: true });
    }
  },
);
