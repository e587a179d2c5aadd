/** The debug server (-G) over the real core, spoken to by a small client of our own and by gdb where it is installed. */
import { execFile, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { DebugTarget } from '../../devices/debug/debug-target.ts';
import { GdbServer } from '../../devices/debug/gdb-server.ts';
import type { CharacterBackend, CharacterPort } from '../../devices/backends/character.ts';
import { freePort } from '../support/free-port.ts';
import { FakeRandom } from '../support/fake-random.ts';
import { packetBytes, PacketReader } from '../../devices/debug/packets.ts';
import { R_ICOUNT } from '../../core-as/layout.ts';
import { vcpuBlock } from '../../devices/machine/core.ts';
import { SerialOpener } from '../../host-node/console/open-serial.ts';
import { BhyveExit, Machine } from '../../host-node/index.ts';
import { compileCore } from '../support/compile-core.ts';
import { vcpuWorkerForTests } from '../support/machine-worker.ts';

let directory: string;
let core: WebAssembly.Module;
let workerUrl: URL;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'webhyve-gdb-'));
  core = await compileCore('core-as/index.ts', 'release');
  workerUrl = await vcpuWorkerForTests();
  const rom = Buffer.alloc(4096, 0xf4);
  // F000: xor ax,ax; F002: inc ax; F003: mov bx,ax; F005: jmp F002
  rom.set([0x31, 0xc0, 0x40, 0x89, 0xc3, 0xeb, 0xfb], 0);
  // FFF0: jmp F000
  rom.set([0xe9, 0x0d, 0xf0], 0xff0);
  writeFileSync(join(directory, 'rom'), rom);
}, 300_000);
afterAll(() => rmSync(directory, { recursive: true, force: true }));

async function machineWith(backend: 'thread' | 'inline', debug: string, vcpus = 1): Promise<Machine> {
  const serial = new SerialOpener(() => undefined);
  const argv = [
    '-c',
    String(vcpus),
    '-m',
    '16M',
    '-s',
    '0,hostbridge',
    '-l',
    `bootrom,${directory}/rom`,
    '-G',
    debug,
    'vm',
  ];
  return Machine.fromArgs(argv, {
    core,
    workerUrl,
    backend,
    backends: { character: (address) => serial.open(address) },
  });
}

class Client {
  readonly #reader = new PacketReader();
  readonly #replies: string[] = [];
  #wake: (() => void) | undefined;
  raw = '';

  private constructor(readonly socket: Socket) {
    socket.on('data', (bytes: Buffer) => {
      this.raw += bytes.toString('latin1');
      for (const received of this.#reader.push(bytes)) {
        if (received.kind === 'packet') this.#replies.push(received.text);
      }
      this.#wake?.();
    });
    socket.on('error', () => undefined);
  }

  static async connect(port: number): Promise<Client> {
    const socket = connect(port, '127.0.0.1');
    await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject));
    return new Client(socket);
  }

  async reply(): Promise<string> {
    for (;;) {
      const reply = this.#replies.shift();
      if (reply !== undefined) return reply;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  ask(packet: string): Promise<string> {
    this.socket.write(packetBytes(packet));
    return this.reply();
  }

  /** A register of eight bytes by GDB's number. */
  async register(number: number): Promise<bigint> {
    return Buffer.from(await this.ask(`p${number.toString(16)}`), 'hex').readBigUInt64LE();
  }
}

const RAX = 0;
const RBX = 1;
const RIP = 16;

describe.each(['thread', 'inline'] as const)('%s', (backend) => {
  test('waits, steps, stops at breakpoints, goes on, is interrupted, and says how the machine ended', async () => {
    const port = await freePort();
    await using machine = await machineWith(backend, `w127.0.0.1:${port}`);
    machine.start();
    const client = await Client.connect(port);
    expect(await client.ask('?')).toBe('T05thread:1;');
    expect(await client.register(RIP)).toBe(0xfff0n);
    expect(machine.registers().instructions).toBe(0n);
    const rips: bigint[] = [];
    for (let i = 0; i < 6; i++) {
      expect(await client.ask('s')).toBe('T05thread:1;');
      rips.push(await client.register(RIP));
    }
    expect(rips).toEqual([0xf000n, 0xf002n, 0xf003n, 0xf005n, 0xf002n, 0xf003n]);

    expect(await client.ask(`Z0,f002,1`)).toBe('OK');
    for (let round = 3n; round < 6n; round++) {
      expect(await client.ask('c')).toBe('T05thread:1;swbreak:;');
      expect([await client.register(RIP), await client.register(RAX), await client.register(RBX)]).toEqual([
        0xf002n,
        round - 1n,
        round - 1n,
      ]);
    }
    expect(await client.ask('P0=3412000000000000')).toBe('OK');
    expect(await client.ask('c')).toBe('T05thread:1;swbreak:;');
    expect(await client.register(RBX)).toBe(0x1235n);
    expect(await client.ask(`z0,f002,1`)).toBe('OK');

    // A breakpoint that is never reached: the machine runs, by steps, until it is interrupted.
    expect(await client.ask('Z1,ffff8000,1')).toBe('OK');
    for (const remove of [true, false]) {
      const retired = (): bigint => machine.state.u64(vcpuBlock(0) + R_ICOUNT);
      const before = retired();
      client.socket.write(packetBytes('c'));
      await expect.poll(retired, { timeout: 10_000 }).toBeGreaterThan(before + 1000n);
      client.socket.write(Buffer.of(3));
      expect(await client.reply()).toBe('T02thread:1;');
      if (remove) expect(await client.ask('z1,ffff8000,1')).toBe('OK');
    }
    client.socket.write(packetBytes('c'));
    await expect.poll(() => machine.running).toBe(true);
    machine.powerOff();
    expect(await client.reply()).toBe('W01');
    expect(await machine.exited).toMatchObject({ reason: 'poweroff' });
    expect(machine.deviceErrors).toBe(0);
  });

  test('a debugger that comes stops the machine, one that goes lets it go on', async () => {
    const port = await freePort();
    await using machine = await machineWith(backend, `127.0.0.1:${port}`, 2);
    machine.start();
    await expect.poll(() => machine.running).toBe(true);
    const client = await Client.connect(port);
    expect(await client.ask('?')).toBe('T05thread:1;');
    expect(machine.running).toBe(false);
    expect(await client.ask('qfThreadInfo')).toBe('m1,2');
    expect(await client.ask('qsThreadInfo')).toBe('l');
    expect(await client.ask('Hg2')).toBe('OK');
    expect(await client.ask('qC')).toBe('QC2');
    expect(Buffer.from(await client.ask('qThreadExtraInfo,2'), 'hex').toString()).toBe('vCPU 1');
    // It waits for its SIPI at the reset vector.
    expect(await client.register(RIP)).toBe(0xfff0n);
    expect(await client.ask('D')).toBe('OK');
    await expect.poll(() => machine.running).toBe(true);
    client.socket.destroy();
    const next = await Client.connect(port);
    expect(await next.ask('qC')).toBe('QC1');
    expect(await next.ask('Z0,ffffffff,1')).toBe('OK');
    next.socket.write(packetBytes('c'));
    await new Promise((resolve) => setTimeout(resolve, 50));
    next.socket.destroy();
    // Its breakpoint is gone with it.
    await expect.poll(() => machine.running).toBe(true);
    expect(machine.deviceErrors).toBe(0);
  });
});

test('memory, registers, and packets that make no sense', async () => {
  const port = await freePort();
  await using machine = await machineWith('inline', `w127.0.0.1:${port}`);
  machine.start();
  const client = await Client.connect(port);
  expect(await client.ask('M1ffe,4:deadbeef')).toBe('OK');
  expect(await client.ask('m1ffe,4')).toBe('deadbeef');
  expect([...machine.memory.views(0x1ffe, 4)].flatMap((view) => [...view])).toEqual([0xde, 0xad, 0xbe, 0xef]);
  // The last bytes of memory, and what lies behind them.
  expect(await client.ask('mfffffe,10')).toBe('0000');
  expect(await client.ask('m1000000,1')).toBe('E0e');
  expect(await client.ask('Mffffff,2:0000')).toBe('E0e');
  const registers = await client.ask('g');
  expect(registers).toHaveLength(2 * (17 * 8 + 7 * 4));
  expect(await client.ask(`G${'11'.repeat(8)}${registers.slice(16)}`)).toBe('OK');
  expect(await client.register(RAX)).toBe(0x1111111111111111n);
  expect(await client.ask('p30')).toBe('xxxxxxxx');
  for (const wrong of [
    'm',
    'mx,1',
    'M0,1:0',
    'M0,2:00',
    'G00',
    'P0=00',
    'P99=00',
    'Hg9',
    'T0',
    'Txyz',
    'Z0,x,1',
    'c123',
  ]) {
    expect([wrong, await client.ask(wrong)]).toEqual([wrong, 'E16']);
  }
  for (const unknown of [
    '',
    'vCont?',
    'vMustReplyEmpty',
    'Z2,0,1',
    'qNothing',
    '!',
    'qXfer:features:read:x.xml:0,10',
  ]) {
    expect([unknown, await client.ask(unknown)]).toEqual([unknown, '']);
  }
  expect(await client.ask('qSupported:swbreak+')).toMatch(/^PacketSize=4096;/);
  expect(await client.ask('qXfer:features:read:target.xml:0,1000')).toMatch(/^l<\?xml.*i386:x86-64/);
  client.raw = '';
  client.socket.write('$g#00');
  await expect.poll(() => client.raw).toBe('-');
  // The answer is sent again when it did not arrive.
  client.raw = '';
  client.socket.write('-');
  expect(await client.reply()).toContain('i386:x86-64');
  client.socket.write(`$${'x'.repeat(100_000)}`);
  await expect.poll(() => client.raw).toMatch(/-$/);
  expect(await client.ask('qAttached')).toBe('1');
  expect(machine.deviceErrors).toBe(0);
});

test('a hundred thousand packets, good and bad, never make it throw', async () => {
  const random = new FakeRandom(0x6db);
  let port: CharacterPort | undefined;
  const backend: CharacterBackend = {
    open: (opened) => (port = opened),
    write: () => true,
    hold: () => undefined,
    close: () => Promise.resolve(),
  };
  const memory = new Uint8Array(64);
  let resumed = 0;
  const target: DebugTarget = {
    vcpus: 2,
    onStopped: undefined,
    stop: () => Promise.resolve(),
    resume: () => void resumed++,
    step: () => Promise.resolve(),
    readRegister: () => 0x1234n,
    writeRegister: (vcpu) => {
      if (vcpu !== 0 && vcpu !== 1) throw new RangeError(`vCPU ${vcpu}`);
    },
    readMemory: (_vcpu, address, lengthBytes) => (address < 64n ? memory.slice(0, lengthBytes) : undefined),
    writeMemory: (_vcpu, address) => address < 64n,
  };
  const errors: unknown[] = [];
  const server = new GdbServer(target, backend, false, (error) => errors.push(error));
  server.open();
  const models = [
    '?',
    'g',
    `G${'00'.repeat(164)}`,
    'p1',
    'P1=0000000000000000',
    'm0,10',
    'M0,2:beef',
    'Hg1',
    'T2',
    'c',
    's',
  ];
  models.push(
    'Z0,f000,1',
    'z0,f000,1',
    'qSupported',
    'qC',
    'qThreadExtraInfo,1',
    'qXfer:features:read:target.xml:0,40',
    'D',
  );
  for (let round = 0; round < 100_000; round++) {
    let text = models[random.below(models.length)] ?? '';
    for (let left = random.below(4); left > 0; left--) {
      const at = random.below(text.length + 1);
      const piece = random.pick(['', ',', ':', '=', '-', 'f', '0', 'ffffffffffffffff', 'Z', '\x00', '\xff', ' ']);
      text = text.slice(0, at) + piece + text.slice(at + random.below(3));
    }
    const bytes = packetBytes(text);
    if (random.below(20) === 0) bytes[random.below(bytes.length)] = random.below(256);
    port?.receive(bytes);
    if (random.below(4) === 0) port?.receive(Uint8Array.of(3));
    if (random.below(50) === 0) port?.carrier?.(random.below(2) === 0);
    if (round % 100 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  await server.close(0);
  expect(errors).toEqual([]);
  expect(resumed).toBeGreaterThan(1000);
});

test('a port that is taken', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const address = server.address();
  const port = typeof address === 'object' ? address?.port : 0;
  const error: unknown = await machineWith('inline', `127.0.0.1:${port}`).catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(BhyveExit);
  expect(error).toMatchObject({ status: 4, stderrText: 'Failed to bind gdb socket: Address already in use\n' });
  server.close();
});

const hasGdb = spawnSync('gdb', ['--version']).status === 0;
test.skipIf(!hasGdb)('gdb itself', { timeout: 60_000 }, async () => {
  const port = await freePort();
  await using machine = await machineWith('thread', `w127.0.0.1:${port}`, 2);
  machine.start();
  const commands = [
    ...[
      'set confirm off',
      `target remote 127.0.0.1:${port}`,
      'info threads',
      'print/x $rip',
      'stepi',
      'stepi',
      'stepi',
    ],
    ...['print/x $rip', 'print $ax', 'set var *(int*)0x2000 = 0x12345678', 'x/1wx 0x2000', `break *0xf005`],
    ...['continue', 'print $ax', 'continue', 'print $ax', 'info registers', 'delete', 'detach'],
  ];
  const argv = ['-nx', '-batch', ...commands.flatMap((command) => ['-ex', command])];
  const { stdout, stderr } = await promisify(execFile)('gdb', argv, { timeout: 20_000 });
  const output = stdout + stderr;
  expect(output).toMatch(/Thread 1 \(vCPU 0\)/);
  expect(output).toMatch(/Thread 2 \(vCPU 1\)/);
  expect(output).toContain('$1 = 0xfff0');
  expect(output).toContain('$2 = 0xf003');
  expect(output).toContain('$3 = 1');
  expect(output).toContain('0x2000:\t0x12345678');
  expect(output).toContain('$4 = 1');
  expect(output).toContain('$5 = 2');
  expect(output).toMatch(/rip +0xf005 /);
  expect(output).toContain('detached');
  await expect.poll(() => machine.running).toBe(true);
});
