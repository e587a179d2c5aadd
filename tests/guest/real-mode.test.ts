/** Kernels that are entered in real mode and ask a BIOS: one that calls every service, Debian's iPXE, and Linux. */
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { debianFile } from '../support/debian-package.ts';
import {
  BASIC_ARGS,
  bootLinux,
  destroyTestMachines,
  linuxMissing,
  scratchDirectory,
  testMachine,
} from '../support/machine.ts';

const SOURCE = join(import.meta.dirname, 'asm', 'real-mode.asm');
const TIMEOUT_MS = 400_000;
const WAIT_MS = 300_000;

afterEach(destroyTestMachines);

/** Both end as a PC does that has nothing to boot: INT 18h halts with interrupts disabled. */
const HALTED = { code: 2, reason: 'halt' };

test.for([true, false])(
  'a kernel calls the services of a BIOS (cpu.jit=%s)',
  { timeout: TIMEOUT_MS },
  async (jit, context) => {
    if (spawnSync('nasm', ['-v']).status !== 0) context.skip('nasm is not installed');
    const scratch = scratchDirectory();
    const image = join(scratch.path, 'kernel');
    execFileSync('nasm', ['-f', 'bin', '-o', image, SOURCE]);
    const kernel = readFileSync(image);
    scratch.remove();
    const args = [...BASIC_ARGS, '-m', '256M', '-s', '3,virtio-rnd', '-o', `cpu.jit=${jit}`, 'test'];
    await using guest = await testMachine(args, { kernel, cmdline: 'one two' });
    guest.machine.start();
    // It says that no key has been pressed, waits for some, and looks at the last one before it takes it.
    await guest.com1.expect('\r\n-', { timeout: WAIT_MS });
    guest.com1.send('hellq!');
    expect(await guest.machine.exited).toMatchObject(HALTED);
    expect(guest.com1.transcript.replaceAll('\r', '').replace(/^t\d+/m, 'tYEAR').split('\n')).toEqual([
      'one two',
      // CS is 20h paragraphs above the image, DS at it; the stack is empty.
      '1020 1000 E000 ',
      // One COM port and an FPU; 639 KiB; 88h: 63 MiB; E801h: 15 MiB, and 240 MiB in units of 64 KiB; what is not offered sets carry.
      '0202 027F FC00 0 3C00 0 0F00 8600 1 ',
      '00000000 0000027F 0001 0000027F 00000181 0002 00000400 0003FC00 0001 ',
      '010A 1 0007 ',
      '0000 ',
      '0001 0 20494350 0075 1275 12751275 12344000 00100404 0000015A 81FF 1 ',
      'tYEAR ',
      '-hellq!',
      '\x1b[05;10H\x1b[2J',
      'There is nothing else to boot.',
      '',
    ]);
  },
);

test('iPXE shows its banner, finds the network card and gets an address', { timeout: TIMEOUT_MS }, async (context) => {
  const kernel = debianFile('ipxe', /^boot\/ipxe\.lkrn$/);
  if (kernel === undefined) return context.skip('the package ipxe cannot be downloaded');
  const args = [...BASIC_ARGS, '-m', '256M', '-s', '3,virtio-net,slirp', 'test'];
  await using guest = await testMachine(args, { kernel: readFileSync(kernel) });
  guest.machine.start();
  await guest.com1.expect(/iPXE \d\S+ -- Open Source Network Boot Firmware -- http:\/\/ipxe\.org/, {
    timeout: WAIT_MS,
  });
  await guest.com1.expect(/net0: [\da-f:]{17} using virtio-net on 0000:00:03\.0/, { timeout: WAIT_MS });
  await guest.com1.expect('net0: 10.0.2.15/255.255.255.0', { timeout: WAIT_MS });
});

test(
  'Linux finds its memory and the rest of its boot by its own setup code',
  { timeout: TIMEOUT_MS },
  async (context) => {
    const missing = await linuxMissing();
    if (missing !== undefined) return context.skip(missing);
    await using guest = await bootLinux({ args: ['-m', '256M', '-o', 'loader.protocol=linux16'] });
    const { output } = await guest.com1.run('dmesg | grep -c "BIOS-e820: .*usable"; cat /proc/cmdline');
    expect(output.replaceAll('\r', '').trim().split('\n')).toEqual(['2', expect.stringContaining('console=ttyS0')]);
  },
);
