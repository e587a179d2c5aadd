/**
 * Guests with more memory than their process holds: chunks of 2 MiB go to a file and come back, with their page tables, their code and devices'
 * requests among them (docs/memory.md). The long runs need SWAP=1: a guest with 24 GiB that fills and checks 6 GiB, and 4 GiB of tmpfs.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, describe, expect, test } from 'vitest';
import { CHUNK_SIZE } from '../../core-as/layout.ts';
import type { Machine } from '../../host-node/index.ts';
import {
  BASIC_ARGS,
  bootLinux,
  destroyTestMachines,
  linuxGuest,
  linuxMissing,
  QUICK_CMDLINE,
  scratchDirectory,
  testMachine,
  type TestMachine,
} from '../support/machine.ts';

const SOURCE = join(import.meta.dirname, 'asm', 'swapped.asm');
const INCLUDES = join(import.meta.dirname, '..', 'system', 'guests/');
const hasNasm = spawnSync('nasm', ['-v']).status === 0;

afterEach(destroyTestMachines);

describe('an assembled guest', () => {
  const assembled = (): Uint8Array => {
    const scratch = scratchDirectory();
    const image = join(scratch.path, 'swapped');
    execFileSync('nasm', ['-i', INCLUDES, '-f', 'bin', '-o', image, SOURCE]);
    const kernel = readFileSync(image);
    scratch.remove();
    return kernel;
  };

  /** Memory that the guest leaves alone. */
  const DMA_GPA = 288 << 20;
  const DMA_CHUNKS = 16;

  /** What a disk does: views are held while something else happens, then written. Returns how many chunks it wrote to. */
  async function requests({ machine }: TestMachine, until: () => boolean): Promise<number> {
    let count = 0;
    for (; !until(); count++) {
      const gpa = DMA_GPA + (count % DMA_CHUNKS) * CHUNK_SIZE + CHUNK_SIZE - 2048;
      const lengthBytes = count % DMA_CHUNKS === DMA_CHUNKS - 1 ? 2048 : 4096;
      const views = machine.memory.views(gpa, lengthBytes);
      const release = machine.memory.hold();
      await delay(5);
      if (until()) break;
      for (const view of views) view.fill(count & 0xff);
      machine.memory.written(gpa, lengthBytes);
      release();
      await delay(5);
      if (until()) break;
      const back = new Uint8Array(lengthBytes);
      machine.memory.read(gpa, back);
      expect(back.every((byte) => byte === (count & 0xff))).toBe(true);
    }
    return count;
  }

  test.for([
    ['thread', 'true'],
    ['thread', 'false'],
    ['inline', 'true'],
  ] as const)('checks 256 MiB in 64 (%s, cpu.jit=%s)', { timeout: 240_000 }, async ([backend, jit], context) => {
    if (!hasNasm) return context.skip('nasm is not installed');
    const kernel = assembled();
    const args = ['-c', '2', '-m', '320M', '-l', 'pc-testdev', '-o', 'memory.resident=64M', '-o', `cpu.jit=${jit}`];
    const make = (): Promise<TestMachine> => testMachine([...BASIC_ARGS, ...args, 'test'], { kernel, backend });
    await using guest = await make();
    const { machine } = guest;
    machine.start();
    const written = requests(guest, () => machine.status === 'ending' || machine.status === 'ended');
    await guest.com1.expect('!', { timeout: 120_000 });
    const snapshot = await machine.snapshot();
    expect(await machine.waitForExit({ timeout: 120_000 })).toMatchObject({ code: 1, reason: 'exit' });
    expect(guest.com1.transcript).toContain('wrong=0\n');
    expect(guest.messages).toEqual([]);
    expect(await written).toBeGreaterThan(0);
    const stats = machine.stats();
    expect(Number(stats['Swapped memory'])).toBeGreaterThan(180 << 20);
    expect(Number(stats['Resident memory'])).toBeLessThanOrEqual(64 << 20);
    expect(Number(stats['chunks read from swap'])).toBeGreaterThan(128);

    await using again = await make();
    await again.machine.restore(snapshot);
    again.machine.start();
    expect(await again.machine.waitForExit({ timeout: 120_000 })).toMatchObject({ code: 1, reason: 'exit' });
    expect(again.com1.transcript).toContain('wrong=0\n');
  });
});

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
