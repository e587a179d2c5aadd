/**
 * Small assembled guests, one a topic of system programming (modes, segments, gates, paging, faults, debugging, interrupts ...): what
 * they print on COM1 must be what tests/system/expected holds. Where nasm and QEMU are installed, the images must be what nasm makes of
 * the sources, and QEMU's TCG must print the same, its documented deviations apart (guests.ts). Most of their code is 32-bit code with flat
 * segments, or 64-bit code; both are run once more with all of it compiled (`cpu.jit=always`).
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { destroyTestMachines, testMachine } from '../support/machine.ts';
import { SYSTEM_GUESTS, corrected, type SystemGuest } from './guests.ts';
import { assemble, expectedFile, guestImage, nasmVersion, qemuVersion, runOnQemu } from './qemu.ts';

const GUEST_TIMEOUT_MS = 60_000;
/** What port 0xF4 makes of the value 0, as QEMU's isa-debug-exit does. */
const DEBUG_EXIT_STATUS = 1;

afterEach(destroyTestMachines);

function expected(guest: SystemGuest): string {
  return readFileSync(expectedFile(guest.name), 'latin1');
}

async function runHere(guest: SystemGuest, jit: string): Promise<{ text: string; reason: string; code: number }> {
  const argv = ['-m', '128M', '-A', '-H', '-s', '0,hostbridge', '-s', '31,lpc', '-l', 'com1,stdio', '-l', 'pc-testdev'];
  const image = readFileSync(guestImage(guest.name));
  argv.push('-c', String(guest.vcpus ?? 1), '-o', `cpu.jit=${jit}`, ...(guest.args ?? []));
  await using test = await testMachine([...argv, '-f', 'multiboot,/guest', guest.name], {
    readFile: () => Promise.resolve(image),
  });
  test.machine.start();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const patience = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), GUEST_TIMEOUT_MS);
  });
  const end = await Promise.race([test.machine.exited, patience]);
  clearTimeout(timer);
  const text = test.com1.transcript.replaceAll('\r', '');
  return { text, reason: end?.reason ?? 'did not end', code: end?.code ?? -1 };
}

describe.each(['true', 'always'])('system guests, cpu.jit=%s', (jit) => {
  test.each(SYSTEM_GUESTS)('$name', { timeout: GUEST_TIMEOUT_MS * 2 }, async (guest) => {
    const { text, reason, code } = await runHere(guest, jit);
    expect(text).toBe(expected(guest));
    if (guest.ends === 'triplefault') expect(reason).toBe('triplefault');
    else expect({ reason, code }).toEqual({ reason: 'exit', code: DEBUG_EXIT_STATUS });
  });
});

describe('the recorded expectations', () => {
  test('images are what nasm makes of the sources', (context) => {
    if (nasmVersion() === undefined) context.skip('nasm is not installed');
    const scratch = mkdtempSync(join(tmpdir(), 'guests-'));
    try {
      for (const { name } of SYSTEM_GUESTS) {
        const image = join(scratch, `${name}.bin`);
        assemble(name, image);
        expect(readFileSync(image).equals(readFileSync(guestImage(name))), name).toBe(true);
      }
    } finally {
      rmSync(scratch, { recursive: true });
    }
  });

  for (const guest of SYSTEM_GUESTS) {
    if (guest.writtenFromManuals) continue;
    test(`QEMU prints the same: ${guest.name}`, { timeout: 130_000 }, (context) => {
      if (qemuVersion() === undefined) context.skip('qemu-system-x86_64 is not installed (Debian: qemu-system-x86)');
      expect(corrected(guest, runOnQemu(guestImage(guest.name), guest.vcpus))).toBe(expected(guest));
    });
  }
});
