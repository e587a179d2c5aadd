/** The library over the core without a processor: limits, waits, names, and what webhyve/vitest leaves of a failed test. */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { BhyveExit, ConsoleError, Machine, MachineError, type HostOptions } from '../../host-node/index.ts';
import { MachineControl } from '../../devices/machine/control.ts';
import { fakeCoreBytes, scriptRom } from '../support/machine-fake-core.ts';
import { vcpuWorkerForTests } from '../support/machine-worker.ts';

let directory: string;
let options: HostOptions;
const PRINT = 8;
const ECHO = 9;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'webhyve-lib-'));
  const bytes = new Uint8Array(await fakeCoreBytes());
  writeFileSync(join(directory, 'core.wasm'), bytes);
  writeFileSync(join(directory, 'rom-8'), scriptRom(PRINT, 25));
  writeFileSync(join(directory, 'rom-9'), scriptRom(ECHO));
  options = { core: await WebAssembly.compile(bytes), workerUrl: await vcpuWorkerForTests() };
}, 120_000);
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function argv(script: number, name = 'vm'): string[] {
  return ['-s', '0,hostbridge', '-s', '31,lpc', '-l', `bootrom,${directory}/rom-${script}`, '-l', 'com1,stdio', name];
}

test('waits end in time, with the last lines and the reason', async () => {
  await using machine = await Machine.fromArgs(argv(ECHO), options);
  const com1 = machine.consoles['com1'];
  machine.start();
  com1?.send('hello\n');
  await com1?.expect('hello');
  const late = await machine.waitForExit({ timeout: 20 }).catch((error: unknown) => error);
  expect(late).toBeInstanceOf(MachineError);
  expect(String(late)).toBe('MachineError: vm: the machine had not ended after 20 ms\nlast lines of com1:\nhello\n');
  await expect(com1?.expect('never', { timeout: 20 })).rejects.toThrow(
    /"never" was not printed within 20 ms.*\nhello/s,
  );
  const pending = com1?.expect('never');
  com1?.send('q');
  await expect(pending).rejects.toThrow(ConsoleError);
  await expect(pending).rejects.toThrow(/the machine ended \(poweroff\) before "never" was printed.*hello\nq/s);
  expect(await machine.waitForExit()).toMatchObject({ code: 1, reason: 'poweroff' });
});

test('from variables instead of words', async () => {
  const config = {
    name: 'vm',
    'memory.size': '64M',
    'lpc.bootrom': `${directory}/rom-${ECHO}`,
    'lpc.com1.path': 'stdio',
    'pci.0.0.0.device': 'hostbridge',
    'pci.0.31.0.device': 'lpc',
  };
  await using machine = await Machine.create(config, options);
  expect(machine.settings).toMatchObject({ name: 'vm', memoryBytes: 64 << 20, flags: { strictMsr: true } });
  machine.start();
  machine.consoles['com1']?.send('q');
  expect(await machine.waitForExit()).toMatchObject({ reason: 'poweroff' });
  const wrong = (change: Record<string, string>): Promise<unknown> => Machine.create({ ...config, ...change }, options);
  await expect(wrong({ cpus: 'x' })).rejects.toMatchObject({
    status: 4,
    stderrText: "bhyve: Invalid value for cpus: 'x'\n",
  });
  await expect(wrong({ 'name.x': '1' })).rejects.toThrow('Failed to create configuration node name');
  await expect(wrong({ 'pci.0.3.0.device': 'passthru', 'pci.0.3.0.bus': '1' })).rejects.toThrow(/passthru/);
});

test('a console is streams as well', async () => {
  await using machine = await Machine.fromArgs(argv(ECHO), options);
  const com1 = machine.consoles['com1'];
  if (!com1) throw new Error('no com1');
  const reader = com1.readable.getReader();
  const writer = com1.writable.getWriter();
  machine.start();
  await writer.write(new TextEncoder().encode('abc'));
  let text = '';
  while (text.length < 3) text += new TextDecoder().decode((await reader.read()).value);
  expect(text).toBe('abc');
});

test('a time limit ends the machine whatever it does, started or not', async () => {
  for (const start of [true, false]) {
    await using machine = await Machine.fromArgs(argv(ECHO), { ...options, timeLimit: 200 });
    if (start) machine.start();
    expect(await machine.waitForExit({ timeout: 10_000 })).toMatchObject({
      code: 4,
      reason: 'error',
      message: "the machine's time limit of 200 ms is over",
    });
    await expect(machine.consoles['com1']?.expect('x')).rejects.toThrow(/error: the machine's time limit/);
  }
});

test('an abort signal destroys it', async () => {
  const abort = new AbortController();
  await using machine = await Machine.fromArgs(argv(ECHO), { ...options, signal: abort.signal });
  machine.start();
  abort.abort();
  expect(await machine.waitForExit()).toMatchObject({ reason: 'destroyed' });
  await expect(Machine.fromArgs(argv(ECHO), { ...options, signal: abort.signal })).rejects.toThrow();
});

test('a snapshot goes on in another machine', async () => {
  await using first = await Machine.fromArgs(argv(ECHO), options);
  first.start();
  first.consoles['com1']?.send('a');
  await first.consoles['com1']?.expect('a');
  const bytes = await first.snapshot();
  expect(first.running).toBe(true);
  await using second = await Machine.fromArgs(argv(ECHO), options);
  await second.restore(bytes);
  second.start();
  second.consoles['com1']?.send('bq');
  expect(await second.waitForExit()).toMatchObject({ reason: 'poweroff' });
  expect(second.consoles['com1']?.transcript).toBe('bq');
});

test('names are taken only when asked for, and are free again at the end', async () => {
  const before = process.env['WEBHYVE_RUNTIME_DIR'];
  const runtime = join(directory, 'run');
  process.env['WEBHYVE_RUNTIME_DIR'] = runtime;
  try {
    await using unseen = await Machine.fromArgs(argv(ECHO), options);
    expect(existsSync(runtime)).toBe(false);
    await using seen = await Machine.fromArgs(argv(ECHO), { ...options, register: true });
    expect(existsSync(join(runtime, 'vm'))).toBe(true);
    const refused = await Machine.fromArgs(argv(ECHO), { ...options, register: true }).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(BhyveExit);
    expect(refused).toMatchObject({ status: 4 });
    await seen.destroy();
    await expect.poll(() => existsSync(join(runtime, 'vm'))).toBe(false);
    await unseen.destroy();
  } finally {
    if (before === undefined) delete process.env['WEBHYVE_RUNTIME_DIR'];
    else process.env['WEBHYVE_RUNTIME_DIR'] = before;
  }
});

test('whatever a request holds, the answer is an errno and the machine runs on', async () => {
  await using machine = await Machine.fromArgs(argv(ECHO), options);
  machine.start();
  const control = new MachineControl(machine, {
    writeCheckpoint: () => Promise.reject(new Error('the disk is full')),
    ended: () => undefined,
  });
  const odd = [undefined, null, 0, -1, 1.5, 99, 1e300, NaN, '', 'rip', '0x', [], {}, [5], { rip: 5 }, { rip: '0xzz' }];
  const commands = ['registers', 'set-registers', 'descriptors', 'nmi', 'statistics', 'set-rtc-time', 'nvram'];
  for (const command of [...commands, 'set-nvram', 'checkpoint', 'constructor', '__proto__', 7, undefined]) {
    for (const value of odd) {
      const names = ['names', 'values', 'seconds', 'offset', 'value', 'file', 'suspend', 'vcpu'];
      const request = { ...Object.fromEntries(names.map((name) => [name, value])), command };
      const answer = await control.handle(request).catch((error: unknown) => error);
      if (answer instanceof Error) expect(answer, JSON.stringify(request)).toMatchObject({ name: 'ControlError' });
    }
  }
  for (const request of odd) await expect(control.handle(request)).rejects.toMatchObject({ name: 'ControlError' });
  for (const suspend of [false, true]) {
    const saving = control.handle({ command: 'checkpoint', file: '/f', suspend });
    await expect(saving).rejects.toMatchObject({ errno: 'EIO', message: 'the disk is full' });
  }
  const proto = control.handle({ command: 'registers', vcpu: 0, names: ['constructor'] });
  await expect(proto).rejects.toMatchObject({ errno: 'EINVAL' });
  machine.consoles['com1']?.send('q');
  expect(await machine.waitForExit()).toMatchObject({ reason: 'poweroff' });
  await expect(control.handle({ command: 'nmi', vcpu: 0 })).rejects.toMatchObject({ errno: 'EALREADY' });
});

test('webhyve/vitest: a failed test shows the last lines and leaves its console', { timeout: 60_000 }, async () => {
  const root = new URL('../..', import.meta.url).pathname;
  const source = `
    import { expect, test } from ${JSON.stringify(join(root, 'host-node/vitest.ts'))};
    const options = { core: new URL(${JSON.stringify(`file://${directory}/core.wasm`)}), backend: 'inline' };
    test('prints: digits', async ({ boot }) => {
      const vm = await boot(${JSON.stringify(argv(PRINT))}, options);
      await expect(vm.consoles.com1).toPrint(/45(6)/);
      expect((await vm.exited).reason).toBe('poweroff');
    });
    test('waits: in vain', async ({ boot }) => {
      const vm = await boot(${JSON.stringify(argv(ECHO))}, options);
      vm.consoles.com1.send('first line\\nsecond line\\n');
      await expect(vm.consoles.com1).toPrint('second');
      await expect(vm.consoles.com1).toPrint('third', { timeout: 100 });
    });
    test('is wrong about something else', async ({ boot }) => {
      const vm = await boot(${JSON.stringify(argv(PRINT))}, options);
      await vm.exited;
      expect(1).toBe(2);
    });
  `;
  writeFileSync(join(directory, 'inner.test.mjs'), source);
  const program = join(root, 'node_modules/vitest/vitest.mjs');
  const inner = spawn(process.execPath, [program, 'run', '--root', directory, '--reporter', 'json'], {
    cwd: directory,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let [stdout, stderr] = ['', ''];
  inner.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
  inner.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  expect(await new Promise((resolve) => inner.on('close', resolve)), stdout + stderr).toBe(1);
  const report = JSON.parse(stdout.slice(stdout.indexOf('{'))) as {
    testResults: { assertionResults: { title: string; status: string; failureMessages: string[] }[] }[];
  };
  const results = report.testResults[0]?.assertionResults ?? [];
  expect(results.map(({ title, status }) => [title, status])).toEqual([
    ['prints: digits', 'passed'],
    ['waits: in vain', 'failed'],
    ['is wrong about something else', 'failed'],
  ]);
  expect(results[1]?.failureMessages[0]).toMatch(/"third" was not printed within 100 ms.*first line\nsecond line/s);
  expect(stderr).toMatch(/vm was running; last lines of com1:\nfirst line\nsecond line\n/);
  expect(stderr).toContain(
    'vm ended with status 1, the guest powered the machine off; last lines of com1:\n0123456789',
  );
  const artifacts = join(directory, 'artifacts');
  expect(readFileSync(join(artifacts, 'waits-in-vain/console.log'), 'utf8')).toBe('first line\nsecond line\n');
  expect(readFileSync(join(artifacts, 'is-wrong-about-something-else/registers.txt'), 'utf8')).toMatch(/^vCPU 0\nrip /);
  expect(existsSync(join(artifacts, 'prints-digits'))).toBe(false);
});
