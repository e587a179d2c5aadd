/** Guests of a few instructions: how a run ends, output, interrupts and time. They need nothing but the core. */
import { afterEach, describe, expect, test } from 'vitest';
import { R_MSR_MTRR_DEF_TYPE } from '../../core-as/layout.ts';
import { vcpuBlock } from '../../devices/machine/core.ts';
import { destroyTestMachines, payloadMachine } from '../support/machine.ts';

afterEach(destroyTestMachines);

/** Instructions, as bytes (SDM vol. 2). */
const CLI = [0xfa];
const HLT = [0xf4];
const movDx = (port: number): number[] => [0x66, 0xba, port & 0xff, port >> 8];
const outb = (port: number, value: number): number[] => [...movDx(port), 0xb0, value, 0xee];
const outw = (port: number, value: number): number[] => [
  ...movDx(port),
  ...[0x66, 0xb8, value & 0xff, value >> 8],
  ...[0x66, 0xef],
];
const print = (text: string): number[] => [...text].flatMap((char) => outb(0x3f8, char.charCodeAt(0)));
/** jmp $ */
const SPIN = [0xeb, 0xfe];

describe.each(['thread', 'inline'] as const)('payloads, %s', (backend) => {
  const end = async (code: readonly number[], args: readonly string[] = []): Promise<unknown> => {
    await using guest = await payloadMachine(code, { backend, args });
    guest.machine.start();
    return await guest.machine.exited;
  };

  test('prints on COM1 and powers off: status 1', async () => {
    await using guest = await payloadMachine([...print('hello, world\n'), ...outw(0x404, 0x3400)], { backend });
    guest.machine.start();
    expect(await guest.machine.exited).toMatchObject({ code: 1, reason: 'poweroff' });
    expect(guest.com1.transcript).toBe('hello, world\n');
  });

  test('the SCI and the IRQs of PCI devices are level-triggered from the start', async () => {
    // Both halves of ELCR, as they are, to COM1: in al, dx; mov dx, 3F8; out dx, al.
    const show = (port: number): number[] => [...movDx(port), 0xec, ...movDx(0x3f8), 0xee];
    const code = [...show(0x4d0), ...show(0x4d1), ...outw(0x404, 0x3400)];
    await using guest = await payloadMachine(code, { backend, args: ['-s', '3,virtio-rnd'] });
    guest.machine.start();
    await guest.machine.exited;
    const [low = 0, high = 0] = [...guest.com1.transcript].map((char) => char.charCodeAt(0));
    // IRQ 9, and the first one that nobody has: 3 belongs to no port here.
    expect(low | (high << 8)).toBe((1 << 9) | (1 << 3));
  });

  test('memory types are the same on every vCPU', async () => {
    await using guest = await payloadMachine(HLT, { backend, args: ['-c', '2'] });
    const types = [0, 1].map((vcpu) => guest.machine.state.u64(vcpuBlock(vcpu) + R_MSR_MTRR_DEF_TYPE));
    expect(types).toEqual([0xc06n, 0xc06n]);
  });

  test('reset: status 0', async () => {
    expect(await end([...outb(0xcf9, 6), ...SPIN])).toMatchObject({ code: 0, reason: 'reset' });
  });

  test('HLT with interrupts disabled: status 2', async () => {
    expect(await end([...CLI, ...HLT])).toMatchObject({ code: 2, reason: 'halt' });
  });

  test('triple fault: status 3', async () => {
    // push 0; push 0; lidt [esp]; int3: a breakpoint, and no gates for it nor for what follows.
    const code = [0xbc, 0x00, 0x00, 0x20, 0x00, 0x6a, 0x00, 0x6a, 0x00, 0x0f, 0x01, 0x1c, 0x24, 0xcc];
    expect(await end(code)).toMatchObject({ code: 3, reason: 'triplefault' });
  });

  test('the debug exit port', async () => {
    expect(await end([...outb(0xf4, 0x15), ...SPIN], ['-l', 'pc-testdev'])).toMatchObject({ code: 0x2b });
  });

  // The code begins at 0x100020; RIP is that of the instruction, prefixes included, not of what follows it.
  test.each<[string, number[], string]>([
    ['in al, dx', [...movDx(0x1234), 0xec], 'inb 0x1234 at 0x100024'],
    ['in eax, 99h', [0xe5, 0x99], 'inl 0x0099 at 0x100020'],
    ['out dx, ax', [0x90, ...movDx(0x4321), 0x66, 0xef], 'outw 0x4321 at 0x100025'],
    ['outsb', [...movDx(0x1234), 0x6e], 'outb 0x1234 at 0x100024'],
    ['rep insb', [0xb1, 2, ...movDx(0x1234), 0xf3, 0x6c], 'inb 0x1234 at 0x100026'],
  ])('-e ends at %s with the status of an abort', async (_name, code, message) => {
    expect(await end([...code, ...SPIN], ['-e'])).toMatchObject({
      code: 134,
      reason: 'error',
      message: `Unhandled ${message}`,
    });
    // Without -e nobody minds.
    expect(await end([...code, ...outw(0x404, 0x3400)])).toMatchObject({ code: 1 });
  });

  // mov ecx, 12345; mov eax, 6789; xor edx, edx; wrmsr / rdmsr
  const msr = (opcode: number): number[] => [0xb9, 0x45, 0x23, 1, 0, 0xb8, 0x89, 0x67, 0, 0, 0x31, 0xd2, 0x0f, opcode];

  test('registers that nobody knows are told of, and fault; with -w they do not', async () => {
    const told = ['wrmsr to register 0x12345(0x6789) on vcpu 0', 'rdmsr to register 0x12345 on vcpu 0'];
    const code = [...msr(0x30), ...msr(0x32), ...outw(0x404, 0x3400)];
    await using ignoring = await payloadMachine(code, { backend, args: ['-w'] });
    ignoring.machine.start();
    expect(await ignoring.machine.exited).toMatchObject({ code: 1 });
    expect(ignoring.messages).toEqual(told);
    await using strict = await payloadMachine(code, { backend });
    strict.machine.start();
    // #GP, for which there is no gate.
    expect(await strict.machine.exited).toMatchObject({ code: 3 });
    expect(strict.messages[0]).toBe(told[0]);
    expect(strict.messages).not.toContain(told[1]);
  });

  test('the power button reaches a guest that has enabled ACPI', async () => {
    // Waits for PM1_STS.PWRBTN: in ax, dx; test ah, 1; jz back.
    const wait = [...movDx(0x400), 0x66, 0xed, 0xf6, 0xc4, 0x01, 0x74, 0xf9];
    const code = [...outb(0xb2, 0xa0), ...outw(0x402, 0x100), ...print('ready'), ...wait, ...outw(0x404, 0x3400)];
    await using guest = await payloadMachine(code, { backend });
    expect(guest.machine.powerButton()).toBe(false);
    guest.machine.start();
    await guest.com1.expect('ready');
    expect(guest.machine.powerButton()).toBe(true);
    expect(await guest.machine.exited).toMatchObject({ code: 1, reason: 'poweroff' });
  });

  test('a guest that loops for ever can be paused, resumed and destroyed', async () => {
    await using guest = await payloadMachine([...print('x'), ...SPIN], { backend });
    guest.machine.start();
    await guest.com1.expect('x');
    await guest.machine.pause();
    guest.machine.resume();
    await guest.machine.destroy();
    expect(await guest.machine.exited).toMatchObject({ reason: 'destroyed' });
  });

  test('a store into the next instruction takes effect', async () => {
    // mov byte [esi+...], 'B' over the immediate of a later `mov al, 'A'`.
    const prefix = movDx(0x3f8);
    const store = [0xc6, 0x05, 0, 0, 0, 0, 'B'.charCodeAt(0)];
    const target = 0x100020 + prefix.length + store.length + 1;
    store.splice(2, 4, target & 0xff, (target >> 8) & 0xff, (target >> 16) & 0xff, target >>> 24);
    await using guest = await payloadMachine(
      [...prefix, ...store, 0xb0, 'A'.charCodeAt(0), 0xee, ...outw(0x404, 0x3400)],
      { backend },
    );
    guest.machine.start();
    await guest.machine.exited;
    expect(guest.com1.transcript).toBe('B');
  });
});
