/**
 * 32-bit systems and programs: Debian's i386 kernels, with page tables of two levels and of three, and a userland of i386 under the 64-bit
 * kernel, in compatibility mode. Downloads 100 MB of packages the first time, so it runs only when asked for: I386=1.
 */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { md5 } from '../../devices/bus/md5.ts';
import {
  BASIC_ARGS,
  QUICK_CMDLINE,
  bootLinux,
  destroyTestMachines,
  linuxGuest,
  linuxMissing,
  testMachine,
  type GuestVariant,
  type TestMachine,
} from '../support/machine.ts';

const SETUP_TIMEOUT_MS = 600_000;
const COMMAND_TIMEOUT_MS = 300_000;
const PROMPT = { timeout: COMMAND_TIMEOUT_MS };

beforeEach(async (context) => {
  if (process.env['I386'] === undefined) context.skip('downloads 100 MB: set I386=1');
  for (const variant of ['small', 'i386', 'i386-pae'] as const) {
    const reason = await linuxMissing(variant);
    if (reason !== undefined) context.skip(reason);
  }
}, SETUP_TIMEOUT_MS);
afterEach(destroyTestMachines);

const hex = (bytes: Uint8Array): string => [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');

/** Runs what gets hot: loops of the shell and of awk, a sum, processes; all with results that are known. */
async function compute(guest: TestMachine): Promise<void> {
  const run = async (command: string): Promise<string> => {
    const { output, status } = await guest.com1.run(command, PROMPT);
    expect(status, `status of: ${command}\n${output}`).toBe(0);
    return output;
  };
  const count = 3_000_000;
  const sum = hex(md5(new Uint8Array(count).fill(0x61)));
  expect(await run(`head -c ${count} /dev/zero | tr '\\000' a | md5sum`)).toBe(`${sum}  -\n`);
  expect(await run('awk "BEGIN { x = 0; for (i = 1; i <= 200000; i++) x += 1 / i; printf \\"%.9f\\\\n\\", x }"')).toBe(
    '12.783290810\n',
  );
  expect(await run('i=0; while [ $i -lt 30000 ]; do i=$((i + 1)); done; echo $i')).toBe('30000\n');
  expect(await run('i=0; while [ $i -lt 100 ]; do /bin/true && i=$((i + 1)); done; echo $i')).toBe('100\n');
  expect(await run('head -c 1000000 /dev/zero | gzip | gunzip | wc -c')).toBe('1000000\n');
  const dmesg = await run('dmesg');
  expect(dmesg).not.toMatch(/Call Trace|BUG:|Oops|Kernel panic|segfault|general protection|traps:|lockup|stall/);
  expect(guest.machine.stats()['jit regions'] ?? 0n).toBeGreaterThan(100n);
}

test.each(['i386', 'i386-pae'] satisfies GuestVariant[])(
  'a 32-bit kernel: %s',
  { timeout: SETUP_TIMEOUT_MS },
  async (variant) => {
    await using guest = await bootLinux({ variant, args: ['-m', '512M', '-c', '2'] });
    const { output } = await guest.com1.run('uname -m', PROMPT);
    expect(output).toBe('i686\n');
    await compute(guest);
    guest.com1.send('poweroff -f\n');
    expect(await guest.machine.exited).toMatchObject({ code: 1, reason: 'poweroff' });
  },
);

test('32-bit programs under a 64-bit kernel', { timeout: SETUP_TIMEOUT_MS }, async () => {
  const { kernel } = await linuxGuest();
  // Its modules are another kernel's, and are not loaded.
  const { initrd } = await linuxGuest('i386');
  await using guest = await testMachine([...BASIC_ARGS, '-m', '512M', 'test'], {
    kernel,
    initrd,
    cmdline: QUICK_CMDLINE,
  });
  guest.machine.start();
  await guest.com1.expect('webhyve guest ready', PROMPT);
  await guest.com1.expect('/ # ', PROMPT);
  await guest.com1.run('dmesg -n 1', PROMPT);
  await guest.com1.expect('/ # ', PROMPT);
  const { output } = await guest.com1.run(
    'uname -m; head -c 5 /bin/busybox | tail -c 1 | hexdump -n 1 -e \'1/1 "%d\\n"\'',
    PROMPT,
  );
  // ELFCLASS32.
  expect(output).toBe('x86_64\n1\n');
  await compute(guest);
});
