/** Options of bhyve(8) by what a guest, or the host, sees of them. Guests are a few instructions; docs/command-line.md has a row for each option. */
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync, statSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { MEMORY_LOW, PEND_MEMORY, PEND_STOP } from '../../core-as/layout.ts';
import { MachineDebugTarget } from '../../devices/machine/debugger.ts';
import { writeCoreFile } from '../../host-node/core-dump.ts';
import { destroyTestMachines, payloadMachine, scratchDirectory } from '../support/machine.ts';

afterEach(destroyTestMachines);

const movDx = (port: number): number[] => [0x66, 0xba, port & 0xff, port >> 8];
const outw = (port: number, value: number): number[] => [
  ...movDx(port),
  ...[0x66, 0xb8, value & 0xff, value >> 8],
  ...[0x66, 0xef],
];
const u32 = (value: number): number[] => [value & 0xff, (value >> 8) & 0xff, (value >> 16) & 0xff, value >>> 24];
const POWER_OFF = outw(0x404, 0x3400);
const SPIN = [0xeb, 0xfe];

async function reasonOf(code: readonly number[], args: readonly string[]): Promise<unknown> {
  await using guest = await payloadMachine(code, { args });
  guest.machine.start();
  return await guest.machine.exited;
}

test('-w: an unknown MSR is a fault without it, and reads as zero with it', async () => {
  // mov ecx, 0xC0011FFF; rdmsr
  const code = [0xb9, ...u32(0xc0011fff), 0x0f, 0x32, ...POWER_OFF];
  expect(await reasonOf(code, [])).toMatchObject({ reason: 'triplefault' });
  expect(await reasonOf(code, ['-w'])).toMatchObject({ reason: 'poweroff' });
});

test('-e: a port without a device ends the run with bhyve’s status', async () => {
  const code = [...movDx(0x1234), 0xec, ...POWER_OFF];
  expect(await reasonOf(code, [])).toMatchObject({ reason: 'poweroff' });
  expect(await reasonOf(code, ['-e'])).toMatchObject({ reason: 'error', code: 134 });
});

describe.each(['thread', 'inline'] as const)('%s', (backend) => {
  test('-P: PAUSE gives the processor back', async () => {
    const exits = async (args: readonly string[]): Promise<bigint> => {
      await using guest = await payloadMachine([0xf3, 0x90, 0xeb, 0xfc], { args, backend });
      guest.machine.start();
      await expect
        .poll(() => guest.machine.stats()['instructions retired'] ?? 0n, { timeout: 20_000 })
        .toBeGreaterThan(10_000n);
      await guest.machine.pause();
      return guest.machine.stats()['vm exits due to pause'] ?? 0n;
    };
    expect(await exits([])).toBe(0n);
    expect(await exits(['-P'])).toBeGreaterThan(100n);
  });
});

test('-S: all of guest memory is taken at the start; what does not fit is refused', async () => {
  await using plain = await payloadMachine(SPIN, { args: ['-m', '64M'] });
  await using wired = await payloadMachine(SPIN, { args: ['-m', '64M', '-S'] });
  expect(plain.machine.stats()).toMatchObject({ 'Wired memory': 0n });
  expect(plain.machine.stats()['Resident memory']).toBeLessThan(64n << 20n);
  expect(wired.machine.stats()).toMatchObject({ 'Wired memory': 64n << 20n, 'Resident memory': 64n << 20n });
  await expect(payloadMachine(SPIN, { args: ['-m', '24G', '-S'] })).rejects.toMatchObject({
    status: 4,
    stderrText: expect.stringMatching(/^-S: 24576 MiB of guest memory cannot be wired: .+\nUnable to setup/) as string,
  });
});

/** Text that firmware left in guest memory. */
async function firmwareArea(args: readonly string[]): Promise<string> {
  await using guest = await payloadMachine(SPIN, { args });
  const bytes = new Uint8Array(0x10000);
  guest.machine.memory.read(0xf0000, bytes);
  return Buffer.from(bytes).toString('latin1');
}

test('-A, -Y and -U: tables in guest memory', async () => {
  const uuid = '00112233-4455-6677-8899-aabbccddeeff';
  const plain = await firmwareArea(['-U', uuid]);
  expect([plain.startsWith('RSD PTR ', 0x2400), plain.startsWith('_MP_')]).toEqual([true, true]);
  expect(plain).toContain(Buffer.from('33221100554477668899aabbccddeeff', 'hex').toString('latin1'));
  const bare = await firmwareArea(['-Y', '-o', 'acpi_tables=false']);
  expect([bare.includes('RSD PTR '), bare.includes('_MP_')]).toEqual([false, false]);
});

/** Runs code that leaves EAX at 3 MiB, and returns it. */
async function resultOf(code: readonly number[], args: readonly string[]): Promise<number> {
  await using guest = await payloadMachine([...code, 0xa3, ...u32(0x300000), ...POWER_OFF], {
    args,
    backend: 'inline',
  });
  guest.machine.start();
  await guest.machine.exited;
  return guest.machine.memory.readU32(0x300000);
}

test('-x and -a: the mode of the local APIC', async () => {
  // mov ecx, IA32_APIC_BASE; rdmsr
  const code = [0xb9, ...u32(0x1b), 0x0f, 0x32];
  expect((await resultOf(code, ['-x'])) & 0x400).toBe(0x400);
  expect((await resultOf(code, ['-x', '-a'])) & 0x400).toBe(0);
});

test('-o cpuid: leaves answer what the configuration says, and the rest of them what the processor says', async () => {
  // mov eax, leaf; mov ecx, subleaf; cpuid; and for another register than EAX: mov eax, ebx
  const ebx = [0x89, 0xd8];
  const ecx = [0x89, 0xc8];
  const cpuid = (leaf: number, subleaf: number, then: readonly number[], words: readonly string[]): Promise<number> =>
    resultOf(
      [0xb8, ...u32(leaf), 0xb9, ...u32(subleaf), 0x0f, 0xa2, ...then],
      words.flatMap((word) => ['-o', word]),
    );
  const features = await cpuid(7, 0, ebx, []);
  expect(features & (1 << 9)).not.toBe(0);
  expect(await cpuid(7, 0, ebx, ['cpuid.7.0.ebx=0/0x200'])).toBe((features & ~(1 << 9)) >>> 0);
  expect(await cpuid(7, 2, ebx, ['cpuid.7.0.ebx=0/0x200', 'cpuid.7.ebx=5'])).toBe(5);
  expect(await cpuid(7, 0, ebx, ['cpuid.7.0.ebx=2/2', 'cpuid.7.ebx=5'])).toBe(7);
  expect(await cpuid(1, 99, [], ['cpuid.1.eax=0x000906ea'])).toBe(0x906ea);
  // Beyond the last leaf, and a hypervisor's name.
  expect(await cpuid(0x4000_0100, 0, ecx, ['cpuid.0x40000100.ecx=0xFFFFFFFF'])).toBe(0xffff_ffff);
  expect(await cpuid(0x4000_0100, 0, ebx, ['cpuid.0x40000100.ecx=0xFFFFFFFF'])).toBe(0x7679_6862);
  for (const [word, said] of [
    ['cpuid.1.edi=1', /^cpuid\.1\.edi: expected is cpuid\.LEAF/],
    ['cpuid.0x1ffffffff.eax=1', /expected is cpuid\.LEAF/],
    ['cpuid.1.eax=0x100000000', /^Invalid value 0x100000000 for cpuid\.1\.eax/],
    ['cpuid.1.eax=3/1', /the mask does not cover it/],
  ] as const) {
    await expect(cpuid(1, 0, [], [word])).rejects.toMatchObject({
      status: 4,
      stderrText: expect.stringMatching(new RegExp(said.source.replace('^', ''))) as string,
    });
  }
});

test('-k: a guest sees what a file and one that it includes have set', async () => {
  const scratch = scratchDirectory();
  try {
    writeFileSync(join(scratch.path, 'outer'), '# a machine\ninclude inner\nx86.strictmsr=false\n');
    writeFileSync(join(scratch.path, 'inner'), 'cpuid.1.eax=0x000906ea\n');
    const outer = ['-k', join(scratch.path, 'outer')];
    // mov eax, 1; cpuid
    expect(await resultOf([0xb8, ...u32(1), 0x0f, 0xa2], outer)).toBe(0x906ea);
    // mov eax, 1; mov ecx, 0xC0011FFF; rdmsr
    expect(await resultOf([0xb8, ...u32(1), 0xb9, ...u32(0xc0011fff), 0x0f, 0x32], outer)).toBe(0);
  } finally {
    scratch.remove();
  }
});

test('-u: the clock shows UTC, and otherwise the host’s local time', async () => {
  const before = process.env['TZ'];
  process.env['TZ'] = 'Asia/Tokyo';
  try {
    // The hours of the RTC: mov al, 4; out 0x70, al; xor eax, eax; in al, 0x71
    const code = [0xb0, 4, 0xe6, 0x70, 0x31, 0xc0, 0xe4, 0x71];
    const hours = async (args: readonly string[]): Promise<number> => {
      const value = await resultOf(code, args);
      return (value >> 4) * 10 + (value & 15);
    };
    const [local, utc] = [await hours([]), await hours(['-u'])];
    expect([8, 9, 10]).toContain((local - utc + 24) % 24);
    expect([0, 1, 23]).toContain((utc - new Date().getUTCHours() + 24) % 24);
  } finally {
    if (before === undefined) delete process.env['TZ'];
    else process.env['TZ'] = before;
  }
});

const hasTaskset = process.platform === 'linux' && spawnSync('taskset', ['-V']).status === 0;
test.skipIf(!hasTaskset || availableParallelism() < 2)('-p: a vCPU’s thread runs where it was pinned', async () => {
  const pinned = (): number =>
    readdirSync('/proc/self/task').filter((thread) =>
      /^Cpus_allowed_list:\t1$/m.test(readFileSync(`/proc/self/task/${thread}/status`, 'utf8')),
    ).length;
  await using guest = await payloadMachine(SPIN, { args: ['-c', '2', '-p', '1:1'], backend: 'thread' });
  guest.machine.start();
  await expect.poll(pinned, { timeout: 20_000 }).toBe(1);
  await using wrong = await payloadMachine(SPIN, { args: ['-p', '0:200'], backend: 'thread' });
  wrong.machine.start();
  await expect
    .poll(() => wrong.messages, { timeout: 20_000 })
    .toEqual([expect.stringMatching(/^-p: vCPU 0 runs anywhere/)]);
});

const hasGdb = spawnSync('gdb', ['--version']).status === 0;
test.skipIf(!hasGdb)('-C: gdb opens the core file: threads, registers, memory', async () => {
  const scratch = scratchDirectory();
  try {
    // mov eax, 0x12345678; mov [0x300000], eax; jmp $
    const code = [0xb8, ...u32(0x12345678), 0xa3, ...u32(0x300000), ...SPIN];
    await using guest = await payloadMachine(code, { args: ['-c', '2', '-C', '-m', '1G'] });
    guest.machine.start();
    await expect.poll(() => guest.machine.memory.readU32(0x300000), { timeout: 20_000 }).toBe(0x12345678);
    await guest.machine.pause();
    const file = join(scratch.path, 'vm.core');
    writeCoreFile(guest.machine, file);
    const status = statSync(file);
    expect(status.mode & 0o777).toBe(0o600);
    expect(status.size).toBeGreaterThan(2 ** 30);
    // What the guest never touched is a hole.
    expect(status.blocks * 512).toBeLessThan(64 << 20);
    const commands = ['info threads', 'thread 1', 'info registers rax rip', 'x/2xw 0x300000', 'x/1xb 0x3ffffff0'];
    const gdb = spawnSync('gdb', ['-nx', '-batch', ...commands.flatMap((word) => ['-ex', word]), '-c', file], {
      encoding: 'utf8',
      timeout: 60_000,
    });
    expect(gdb.stdout).toMatch(/rax\s+0x12345678/);
    expect(gdb.stdout).toMatch(/rip\s+0x1000/);
    expect(gdb.stdout).toMatch(/0x300000:\s+0x12345678\s+0x00000000/);
    expect(gdb.stdout).toMatch(/0x3ffffff0:\s+0x00/);
    expect(gdb.stdout).toMatch(/^\s+2 +/m);
  } finally {
    scratch.remove();
  }
});

test.skipIf(process.platform !== 'linux')(
  '-C: memory of the swap file is there until the machine is destroyed',
  async () => {
    // mov eax, 0x12345678; mov [0x300000], eax; and a triple fault without a table of vectors: lidt [0]; ud2
    const code = [0xb8, ...u32(0x12345678), 0xa3, ...u32(0x300000), 0x0f, 0x01, 0x1d, ...u32(0), 0x0f, 0x0b];
    const swapFiles = (): number =>
      readdirSync('/proc/self/fd').filter((name) => {
        try {
          return readlinkSync(`/proc/self/fd/${name}`).includes('webhyve-swap');
        } catch {
          return false;
        }
      }).length;
    const before = swapFiles();
    const { machine } = await payloadMachine(code, { args: ['-C', '-m', '1G', '-o', 'memory.resident=64M'] });
    machine.start();
    expect(await machine.exited).toMatchObject({ reason: 'triplefault' });
    expect(swapFiles()).toBe(before + 1);
    const scratch = scratchDirectory();
    try {
      writeCoreFile(machine, join(scratch.path, 'vm.core'));
    } finally {
      scratch.remove();
    }
    await machine.destroy();
    expect(swapFiles()).toBe(before);
  },
);

describe.each(['thread', 'inline'] as const)('-G, %s', (backend) => {
  test('a step is a step while the vCPU is to rest for memory, or has an old stop to notice', async () => {
    // xor ecx, ecx; inc ecx; jmp back to the inc
    const code = [0x31, 0xc9, 0xff, 0xc1, 0xeb, 0xfc];
    await using guest = await payloadMachine(code, { args: ['-m', '1G', '-o', 'memory.resident=64M'], backend });
    const { machine } = guest;
    machine.start();
    await expect.poll(() => machine.stats()['instructions retired'] ?? 0n, { timeout: 20_000 }).toBeGreaterThan(1000n);
    await machine.pause();
    const target = new MachineDebugTarget(machine);
    for (const pending of [PEND_MEMORY, PEND_STOP]) {
      for (let step = 0; step < 4; step++) {
        const before = machine.registers(0).rip;
        if (pending === PEND_MEMORY) machine.state.setU32(MEMORY_LOW, 1);
        machine.state.kick(0, pending);
        await target.step(0);
        expect(machine.registers(0).rip).not.toBe(before);
      }
    }
    machine.resume();
  });
});
