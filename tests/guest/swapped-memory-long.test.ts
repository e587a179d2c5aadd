/**
 * Long runs of guests whose memory does not fit their process (docs/memory.md), with SWAP=1: 6 GiB of a pattern in a guest with 24 GiB, saved and
 * restored on the way, and a tmpfs of 4 GiB that two vCPUs fill. They take minutes, and 14 GiB of the folder for temporary files.
 */
import { execFileSync } from 'node:child_process';
import { rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { runBhyvectl } from '../../host-node/registry/bhyvectl.ts';
import { Registry } from '../../host-node/registry/registry.ts';
import { openRuntimeDir } from '../../host-node/registry/runtime-dir.ts';
import {
  BASIC_ARGS,
  bootLinux,
  destroyTestMachines,
  linuxGuest,
  QUICK_CMDLINE,
  scratchDirectory,
  testMachine,
  type TestMachine,
} from '../support/machine.ts';
import { bootLinuxProgram, killPrograms, startProgram, type Program } from '../support/machine-program.ts';

const TIMEOUT_MS = 1_500_000;
const GIB = 2 ** 30;
const RESIDENT_MIB = 2048;
/** What a process holds beside its guest's memory. */
const ALLOWANCE_MIB = 400;
const NAME = `swapped-${process.pid}`;
const SOURCE = join(import.meta.dirname, 'userland', 'pattern.c');

beforeEach((context) => {
  if (process.env['SWAP'] === undefined) context.skip('takes minutes and 14 GiB of a disk: set SWAP=1');
});
afterEach(killPrograms);
afterEach(destroyTestMachines);

async function ctl(option: string): Promise<string> {
  let stdout = '';
  let stderr = '';
  const status = await runBhyvectl([`--vm=${NAME}`, option], () => new Registry(openRuntimeDir()), {
    stdout: (text) => (stdout += text),
    stderr: (text) => (stderr += text),
  });
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  return stdout;
}

async function report(what: string, guest: Program, since: number): Promise<void> {
  const stats = (await ctl('--get-stats')).split('\n').filter((line) => /memory|chunks/i.test(line));
  const seconds = Math.round((Date.now() - since) / 1000);
  console.log(
    `${what}: ${seconds} s, at most ${Math.round(guest.peakResidentMib())} MiB resident\n${stats.join('\n')}`,
  );
}

/** A disk that holds userland/pattern.c as a program. */
function patternDisk(folder: string): string {
  const program = join(folder, 'pattern');
  execFileSync('gcc', ['-static', '-nostdlib', '-O2', '-fno-stack-protector', '-fno-builtin', '-o', program, SOURCE]);
  truncateSync(program, 1 << 20);
  return program;
}
const INSTALL_PATTERN = 'dd if=/dev/vda of=/pattern bs=1M count=1 2>/dev/null && chmod +x /pattern';

/** Two processes, one on each vCPU, fill files of the tmpfs with bytes of their own and note their sums. */
const fill = (mib: number): string =>
  '( mkdir -p /m && mount -t tmpfs -o size=90% m /m && for n in 0 1; do ' +
  `( taskset $((n+1)) dd if=/dev/urandom of=/m/$n bs=1M count=${mib} 2>/dev/null; md5sum /m/$n > /sum.$n ) & done; wait )`;
const CHECK = '( for n in 0 1; do ( taskset $((2-n)) md5sum -c -s /sum.$n || echo wrong ) & done; wait )';

test('Linux with 320 MiB in 96, and a disk', { timeout: TIMEOUT_MS }, async () => {
  const scratch = scratchDirectory();
  try {
    const image = join(scratch.path, 'disk.img');
    writeFileSync(
      image,
      Uint8Array.from({ length: 24 << 20 }, (_, i) => (i * 2654435761) >>> 24),
    );
    const args = ['-m', '320M', '-c', '2', '-s', `3,virtio-blk,${image}`, '-o'];
    const guest = await bootLinux({ args: [...args, 'memory.resident=96M'] });
    const run = async ({ com1 }: TestMachine, command: string): Promise<string> => {
      const { output, status } = await com1.run(command, { timeout: TIMEOUT_MS });
      expect(status, `status of: ${command}\n${output}`).toBe(0);
      return output;
    };
    const diskSum = await run(guest, 'md5sum < /dev/vda');
    await run(guest, fill(70));
    // The page cache and what it is read into change places while requests are in flight.
    const both = `( md5sum < /dev/vda > /again & ${CHECK}; wait )`;
    expect(await run(guest, `echo 3 > /proc/sys/vm/drop_caches; ${both}; cat /again`)).toBe(diskSum);
    const stats = guest.machine.stats();
    expect(Number(stats['Swapped memory'])).toBeGreaterThan(100 << 20);
    expect(Number(stats['Resident memory'])).toBeLessThanOrEqual(96 << 20);
    const snapshot = await guest.machine.snapshot();
    await guest[Symbol.asyncDispose]();
    for (const resident of ['memory.resident=96M', 'memory.resident=320M']) {
      const words = [...BASIC_ARGS, ...args, resident, 'test'];
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
});

test('6 GiB of a pattern in a guest with 24 GiB, saved and restored', { timeout: TIMEOUT_MS }, async () => {
  const scratch = scratchDirectory();
  try {
    const memory = ['-m', '24G', '-o', `memory.resident=${RESIDENT_MIB}M`, '-o', `memory.swap=${scratch.path}`];
    const disk = ['-s', `3,virtio-blk,${patternDisk(scratch.path)},ro`];
    const begun = Date.now();
    const guest = await bootLinuxProgram({ args: [...memory, ...disk], name: NAME });
    await guest.run(INSTALL_PATTERN);
    const bytes = 6 * GIB;
    expect((await guest.run(`/pattern ${bytes} 1`, TIMEOUT_MS)).output).toBe(`${bytes} bytes, 1 rounds, 0 wrong\n`);
    await report('6 GiB written and checked', guest, begun);
    expect(guest.peakResidentMib()).toBeLessThan(RESIDENT_MIB + ALLOWANCE_MIB);
    // Once more, and away in the middle of it.
    guest.console.send(`/pattern ${bytes} 2 > /out; echo over\n`);
    await new Promise((resolve) => setTimeout(resolve, 20_000));
    const file = join(scratch.path, 'saved');
    const saved = Date.now();
    await ctl(`--suspend=${file}`);
    expect(await guest.ended).toEqual({ code: 0, signal: null });
    console.log(`saved in ${Math.round((Date.now() - saved) / 1000)} s`);

    const again = await startProgram([...BASIC_ARGS, ...memory, ...disk, '-r', file]);
    await again.console.expect(/over\r?\n/, { timeout: TIMEOUT_MS });
    expect((await again.run('cat /out')).output).toBe(`${bytes} bytes, 2 rounds, 0 wrong\n`);
    await report('restored, and two rounds more', again, saved);
    expect(again.peakResidentMib()).toBeLessThan(RESIDENT_MIB + ALLOWANCE_MIB);
  } finally {
    rmSync(scratch.path, { recursive: true });
  }
});

test('two vCPUs fill 4 GiB of tmpfs', { timeout: TIMEOUT_MS }, async () => {
  const scratch = scratchDirectory();
  try {
    const disk = ['-s', `3,virtio-blk,${patternDisk(scratch.path)},ro`];
    const memory = ['-m', '6G', '-o', `memory.resident=${RESIDENT_MIB}M`, '-o', `memory.swap=${scratch.path}`];
    const begun = Date.now();
    const guest = await bootLinuxProgram({ args: [...memory, '-c', '2', ...disk], name: NAME });
    await guest.run(INSTALL_PATTERN);
    await guest.run('mkdir -p /m && mount -t tmpfs -o size=5G m /m');
    // Each writes all of its file, then reads and replaces it, then reads it: 12 GiB of guest memory pass through 2 GiB of the host's.
    const bytes = 2 * GIB;
    const jobs = [0, 1].map((n) => `taskset ${n + 1} /pattern ${bytes} 2 /m/${n} > /out.${n} & `).join('');
    await guest.run(`( ${jobs} wait )`, TIMEOUT_MS);
    const line = `${bytes} bytes, 2 rounds, 0 wrong\n`;
    expect((await guest.run('cat /out.0 /out.1; du -sm /m')).output).toBe(`${line}${line}4096\t/m\n`);
    await report('4 GiB of tmpfs', guest, begun);
    expect(guest.peakResidentMib()).toBeLessThan(RESIDENT_MIB + ALLOWANCE_MIB);
  } finally {
    rmSync(scratch.path, { recursive: true });
  }
});
