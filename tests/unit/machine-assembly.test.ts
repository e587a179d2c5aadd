import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { CFG_ROM_BYTES, CHUNKS, CHUNK_RAM, CHUNK_READONLY, PIC, R_GPR, R_RIP, RTC } from '../../core-as/layout.ts';
import { BhyveExit, parseCommandLine } from '../../devices/config/index.ts';
import { vcpuBlock } from '../../devices/machine/core.ts';
import { Machine } from '../../devices/machine/machine.ts';
import { SnapshotError } from '../../devices/snapshot.ts';
import { createNodeHost } from '../../host-node/node-host.ts';
import { compileCore } from '../support/compile-core.ts';
import { vcpuWorkerForTests } from '../support/machine-worker.ts';
import { putTogether, takeApart, type SnapshotParts } from '../support/snapshot-edit.ts';

let core: WebAssembly.Module;
let workerUrl: URL;

beforeAll(async () => {
  core = await compileCore('tests/support/machine-fake-core.entry.ts');
  workerUrl = await vcpuWorkerForTests();
}, 120_000);

const ROM = new Uint8Array(4096).fill(0x90);
const messages: string[] = [];

async function create(argv: readonly string[], backend: 'thread' | 'inline' = 'inline'): Promise<Machine> {
  const { tree } = parseCommandLine(argv, {
    programName: 'bhyve',
    readTextFile: () => {
      throw new Error('no files here');
    },
  });
  const host = createNodeHost({
    core,
    workerUrl,
    message: (text) => messages.push(text),
    readFile: (path) =>
      path.startsWith('/rom')
        ? Promise.resolve(path === '/rom2' ? new Uint8Array(2 * ROM.length) : ROM)
        : Promise.reject(Object.assign(new Error('no'), { code: 'ENOENT' })),
  });
  return Machine.create(tree, host, { backend });
}

const BASIC = ['-s', '0,hostbridge', '-s', '31,lpc', '-l', 'com1,stdio', '-l', 'bootrom,/rom'];

function play(machine: Machine, script: number, ...values: readonly number[]): void {
  const block = vcpuBlock(0) + R_GPR;
  machine.state.setU64(block, BigInt(script));
  for (const [i, value] of values.entries()) machine.state.setU64(block + 32 + i * 8, BigInt(value));
}

describe.each(['thread', 'inline'] as const)('how a machine ends, %s', (backend) => {
  test.each([
    ['reset through 0xCF9', [0xcf9, 1, 6], { code: 0, reason: 'reset' }],
    ['reset through the keyboard controller', [0x64, 1, 0xfe], { code: 0, reason: 'reset' }],
    ['power-off through PM1_CNT', [0x404, 2, 0x2000 | (5 << 10)], { code: 1, reason: 'poweroff' }],
  ] as const)('%s', async (_name, write, expected) => {
    const machine = await create([...BASIC, 'vm'], backend);
    play(machine, 6, ...write);
    machine.start();
    expect(await machine.exited).toMatchObject(expected);
  });

  test('all vCPUs halted for ever', async () => {
    const machine = await create([...BASIC, 'vm'], backend);
    play(machine, 7);
    machine.start();
    expect(await machine.exited).toMatchObject({ code: 2, reason: 'halt' });
  });

  test('a trap in the core is an error with status 4', async () => {
    const machine = await create([...BASIC, 'vm'], backend);
    play(machine, 5);
    machine.start();
    const reason = await machine.exited;
    expect(reason).toMatchObject({ code: 4, reason: 'error' });
    expect(reason.message).toContain('unreachable');
  });

  test('the debug exit port chooses the status', async () => {
    const machine = await create([...BASIC, '-l', 'pc-testdev', 'vm'], backend);
    play(machine, 6, 0xf4, 1, 0x15);
    machine.start();
    expect(await machine.exited).toMatchObject({ code: 0x2b, reason: 'exit' });
  });

  test('-e ends at a port that nobody answers', async () => {
    const machine = await create([...BASIC, '-e', 'vm'], backend);
    play(machine, 6, 0x1234, 1, 0);
    machine.state.setU64(vcpuBlock(0) + R_RIP, 0xfff0n);
    machine.start();
    expect(await machine.exited).toMatchObject({ code: 134, message: 'Unhandled outb 0x1234 at 0xfff0' });
  });

  test('-e says where the vCPU was that did it', async () => {
    const machine = await create([...BASIC, '-e', '-c', '2', 'vm'], backend);
    play(machine, 2);
    machine.state.setU64(vcpuBlock(0) + R_RIP, 0x1111n);
    for (const [index, value] of [6, 0, 0, 0, 0x99, 4, 0].entries()) {
      machine.state.setU64(vcpuBlock(1) + R_GPR + index * 8, BigInt(value));
    }
    machine.state.setU64(vcpuBlock(1) + R_RIP, 0xffff_ffff_8100_0000n);
    machine.start();
    expect(await machine.exited).toMatchObject({ message: 'Unhandled outl 0x0099 at 0xffffffff81000000' });
  });

  test('destroy', async () => {
    const machine = await create([...BASIC, 'vm'], backend);
    play(machine, 2);
    machine.start();
    await machine.destroy();
    expect(await machine.exited).toMatchObject({ reason: 'destroyed' });
  });

  test('a console shows all output, in order, however much it is', async () => {
    const machine = await create([...BASIC, 'vm'], backend);
    const count = 30_000;
    play(machine, 8);
    machine.state.setU64(vcpuBlock(0) + R_GPR + 16, BigInt(count));
    machine.start();
    expect(await machine.exited).toMatchObject({ code: 1 });
    expect(machine.consoles['com1']?.transcript).toBe('0123456789'.repeat(count / 10));
  });

  test('typed text is echoed once', async () => {
    const machine = await create([...BASIC, 'vm'], backend);
    play(machine, 9);
    machine.start();
    const console = machine.consoles['com1'];
    const text = Array.from({ length: 40_000 }, (_, i) => String.fromCharCode(65 + (i % 26))).join('');
    console?.send(text);
    console?.send('q');
    expect(await machine.exited).toMatchObject({ code: 1 });
    expect(console?.transcript).toBe(`${text}q`);
  });

  test('the power button works once the guest has enabled ACPI', async () => {
    const machine = await create([...BASIC, 'vm'], backend);
    play(machine, 6, 0xb2, 1, 0xa0);
    expect(machine.powerButton()).toBe(false);
    machine.start();
    await expect.poll(() => machine.powerButton()).toBe(true);
    // PM1_EN allows no event yet: the line stays low until the guest asks for it.
    expect(machine.state.u32(PIC) & (1 << 9)).toBe(0);
    machine.platform.acpiPm.writePort(0x402, 2, 0x100);
    expect(machine.state.u32(PIC) & (1 << 9)).toBe(1 << 9);
    await machine.destroy();
  });
});

describe('what is refused', () => {
  const refusal = async (argv: readonly string[]): Promise<BhyveExit> => {
    const error: unknown = await create(argv).then(
      (machine) => machine,
      (reason: unknown) => reason,
    );
    if (!(error instanceof BhyveExit)) throw new Error('was not refused');
    return error;
  };

  test('nothing to boot', async () => {
    const error = await refusal(['-s', '0,hostbridge', 'vm']);
    expect(error.status).toBe(4);
    expect(error.stderrText).toMatch(/^virtual machine cannot be booted\n/);
  });

  test('a boot ROM that is not there', async () => {
    const error = await refusal(['-s', '31,lpc', '-l', 'bootrom,/none', 'vm']);
    expect(error).toMatchObject({
      status: 4,
      stderrText: 'Error opening bootrom "/none": No such file or directory\n',
    });
  });

  test('a disk image that is not there', async () => {
    const error = await refusal([...BASIC, '-s', '3,virtio-blk,/no/such/disk', 'vm']);
    expect(error.status).toBe(4);
    expect(error.stderrText).toContain('Could not open backing file: /no/such/disk: No such file or directory\n');
  });

  test('more memory than there are addresses for', async () => {
    expect((await refusal([...BASIC, '-m', '1T', 'vm'])).status).toBe(4);
  });
});

describe('guest-physical memory', () => {
  test('24 GiB are there and cost nothing until touched', async () => {
    const machine = await create([...BASIC, '-m', '24G', 'vm']);
    expect(machine.memory.lowBytes).toBe(3 * 2 ** 30);
    expect(machine.memory.highBytes).toBe(21 * 2 ** 30);
    const last = 4 * 2 ** 30 + 21 * 2 ** 30 - 8;
    machine.memory.writeU64(last, 0x1122334455667788n);
    expect(machine.memory.readU64(last)).toBe(0x1122334455667788n);
    expect(machine.memory.contains(last, 9)).toBe(false);
    // The tables of the firmware, and the one chunk of 2 MiB that was written.
    expect(machine.stats()['Resident memory']).toBeLessThan(16n << 20n);
    await machine.destroy();
  });

  test('CMOS tells how much there is', async () => {
    const machine = await create([...BASIC, '-m', '5G', 'vm']);
    const cmos = (index: number): number => machine.state.u8[RTC + index] ?? 0;
    expect(cmos(0x34) | (cmos(0x35) << 8)).toBe((3 * 1024 - 16) * 16);
    expect(cmos(0x5b) | (cmos(0x5c) << 8) | (cmos(0x5d) << 16)).toBe(2 * 1024 * 16);
    await machine.destroy();
  });

  test('the boot ROM ends at 4 GiB and cannot be written', async () => {
    const machine = await create([...BASIC, 'vm']);
    const entry = machine.state.u32(CHUNKS + 2047 * 4);
    expect(entry & (CHUNK_RAM | CHUNK_READONLY)).toBe(CHUNK_RAM | CHUNK_READONLY);
    const chunk = new Uint8Array(machine.state.memory.buffer, entry & ~0x1fffff, 0x200000);
    expect(chunk.subarray(-4096)).toEqual(ROM);
    expect(machine.state.u32(CFG_ROM_BYTES)).toBe(ROM.length);
    expect(machine.memory.contains(0xffff_f000, 1)).toBe(false);
    await machine.destroy();
  });

  test('tables are where guests look for them', async () => {
    const machine = await create([...BASIC, '-A', 'vm']);
    const text = (gpa: number, length: number): string => {
      const bytes = new Uint8Array(length);
      machine.memory.read(gpa, bytes);
      return new TextDecoder('latin1').decode(bytes);
    };
    expect(text(0xf0000, 4)).toBe('_MP_');
    expect(text(0xf1000, 4)).toBe('_SM_');
    expect(text(0xf2400, 8)).toBe('RSD PTR ');
    await machine.destroy();
  });
});

describe('snapshots', () => {
  test('memory, registers, devices and time go on in another machine', async () => {
    const first = await create([...BASIC, 'vm']);
    play(first, 3);
    first.state.setU64(vcpuBlock(0) + R_GPR + 24, 1_000_000n);
    first.memory.writeU32(0x12345678 & ~3 & 0xfffffff, 0xcafe);
    first.memory.writeU32(0x1ff_fffe, 0xbeef);
    first.start();
    await expect.poll(() => first.clock.nowNs()).toBeGreaterThan(30e6);
    first.platform.resetControl.writePort(0xcf9, 1, 2);
    const bytes = await first.snapshot();
    expect(first.running).toBe(true);
    const savedNs = first.clock.nowNs();
    await first.destroy();

    const second = await create([...BASIC, 'vm']);
    await second.restore(bytes);
    expect(second.memory.readU32(0x1ff_fffe)).toBe(0xbeef);
    expect(second.platform.resetControl.readPort(0xcf9, 1)).toBe(2);
    expect(second.state.u64(vcpuBlock(0) + R_GPR)).toBe(3n);
    expect(second.clock.nowNs()).toBeGreaterThan(29e6);
    expect(second.clock.nowNs()).toBeLessThan(savedNs + 5e9);
    const steps = (): number => Number(second.state.u64(vcpuBlock(0) + R_GPR + 8));
    const before = steps();
    second.start();
    await expect.poll(steps).toBeGreaterThan(before + 2);
    await second.destroy();
  });

  test('a command to the variables of a boot ROM is completed in another machine', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'webhyve-assembly-'));
    const path = join(directory, 'vars');
    writeFileSync(path, Buffer.alloc(4096, 0xff));
    try {
      const argv = ['-s', '0,hostbridge', '-l', `bootrom,/rom,${path}`, 'vm'];
      const first = await create(argv);
      first.platform.bootVariables?.writeMmio(0, 1, 0x10);
      const bytes = await first.snapshot();
      await first.destroy();
      const second = await create(argv);
      await second.restore(bytes);
      second.platform.bootVariables?.writeMmio(5, 1, 0xab);
      await second.destroy();
      expect([...readFileSync(path).subarray(4, 7)]).toEqual([0xff, 0xab, 0xff]);
      const other = await create(['-s', '0,hostbridge', '-l', `bootrom,/rom2,${path}`, 'vm']);
      await expect(other.restore(bytes)).rejects.toThrow('romBytes is 4096, not 8192');
      await other.destroy();
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });

  test('what is damaged is called by its name, and nothing has begun by then', async () => {
    const first = await create([...BASIC, 'vm']);
    const bytes = await first.snapshot();
    await first.destroy();
    type Header = SnapshotParts['document']['header'];
    const changed = (change: (header: Header) => void): Uint8Array => {
      const parts = takeApart(bytes);
      change(parts.document.header);
      return putTogether(parts);
    };
    const second = await create([...BASIC, 'vm']);
    const steps: string[] = [];
    const partOf = (change: (header: Header) => void): Promise<unknown> =>
      second
        .restore(changed(change), (step) => steps.push(step))
        .catch((error: unknown) => (error instanceof SnapshotError ? error.part : error));
    expect(await partOf((header) => (header['vcpuPieces'] = [header['chunksPiece']]))).toBe('processors');
    expect(await partOf((header) => (header['pageMapPiece'] = header['chunksPiece']))).toBe('memory');
    expect(await partOf((header) => (header['usedChunks'] = 0))).toBe('memory');
    expect(await partOf((header) => (header['devices'] = {}))).toBe('devices');
    expect(await partOf((header) => delete header['machine'])).toBeUndefined();
    expect(steps).toEqual([]);
    expect(await partOf(() => undefined)).toBeUndefined();
    expect(steps).toEqual(['pausing', 'memory', 'devices', 'processors', 'resuming']);
    await second.destroy();
  });

  test('what does not fit is refused before anything changes', async () => {
    const first = await create([...BASIC, 'vm']);
    const bytes = await first.snapshot();
    await first.destroy();
    const other = await create([...BASIC, '-m', '512M', 'vm']);
    await expect(other.restore(bytes)).rejects.toThrow(SnapshotError);
    await expect(other.restore(bytes.subarray(0, bytes.length - 4096))).rejects.toThrow(SnapshotError);
    await expect(other.restore(new Uint8Array(100))).rejects.toThrow('no snapshot');
    await other.destroy();
  });
});
