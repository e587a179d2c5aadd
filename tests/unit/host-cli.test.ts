/** The command as users run it: a bundle over the core without a processor, in a process of its own. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { mutatedCommandLine, UNINTENDED } from '../support/command-line-fuzz.ts';
import { FakeRandom } from '../support/fake-random.ts';
import { fakeCoreBytes, scriptRom } from '../support/machine-fake-core.ts';
import { bundlePrograms } from '../support/program-bundle.ts';

let directory: string;
let program: string;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'webhyve-cli-'));
  program = join(directory, 'bin', 'bhyve.mjs');
  mkdirSync(join(directory, 'bin'));
  for (const script of [2, 8, 9]) writeFileSync(join(directory, `rom-${script}`), scriptRom(script, 100_000));
  writeFileSync(join(directory, 'core.wasm'), await fakeCoreBytes());
  await bundlePrograms(directory, ['bhyve']);
}, 120_000);
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function run(args: readonly string[], input = ''): { status: number | null; stdout: string; stderr: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...args], {
    input,
    encoding: 'utf8',
    timeout: 20_000,
  });
  return { status, stdout, stderr };
}

/** Scripts of the fake core: sleep for ever; print 200,000 digits and power off; echo until a "q", then power off. */
const SLEEP = 2;
const PRINT = 8;
const ECHO = 9;

function machine(script = SLEEP): string[] {
  const rom = join(directory, `rom-${script}`);
  return ['-s', '0,hostbridge', '-s', '31,lpc', '-l', `bootrom,${rom}`, '-l', 'com1,stdio'];
}

test('usage and errors: texts and statuses of bhyve, no stack traces', () => {
  expect(run(['-h'])).toMatchObject({ status: 0, stdout: '' });
  expect(run([]).status).toBe(1);
  expect(run(['-s', 'help'])).toMatchObject({ status: 0, stderr: '' });
  expect(run(['-c', 'x=1', 'vm']).status).toBe(64);
  const disk = run([...machine(), '-s', '4,virtio-blk,/no/such/disk', 'vm']);
  expect(disk.status).toBe(4);
  expect(disk.stderr).toContain('Could not open backing file: /no/such/disk: No such file or directory');
  expect(disk.stderr).not.toMatch(/\n\s+at /);
  const tty = run([...machine(), '-l', 'com2,/no/such/tty', 'vm']);
  expect(tty).toMatchObject({ status: 4 });
  expect(tty.stderr).toContain("Unable to initialize backend '/no/such/tty' for LPC device COM2");
  const twice = run([...machine(), '-l', 'com2,stdio', 'vm']);
  expect(twice.status).toBe(4);
  expect(twice.stderr).toContain("Unable to initialize backend 'stdio' for LPC device COM2");
});

test('piped input reaches the guest whole, and its output comes back; the end of input is not the end', () => {
  const text = 'abcdefgh\u0001x\n'.repeat(4000);
  const { status, stdout } = run([...machine(ECHO), 'vm'], `${text}q`);
  expect(stdout).toBe(`${text}q`);
  expect(status).toBe(1);
});

test('all output arrives before the process ends', () => {
  const { status, stdout } = run([...machine(PRINT), 'vm']);
  expect(status).toBe(1);
  expect(stdout).toBe('0123456789'.repeat(10_000));
});

/** Lines through the real program; a hundred take some ten seconds. */
const FUZZ_LINES = Number(process.env['WEBHYVE_COMMAND_LINES'] ?? 60);

test('mutated command lines: a status of bhyve, a text, no stack trace, no hanging', async () => {
  const folder = join(directory, 'fuzz');
  mkdirSync(folder);
  writeFileSync(join(folder, 'a.img'), Buffer.alloc(65536));
  writeFileSync(join(folder, 'vm.conf'), 'memory.wired=true\n');
  writeFileSync(join(folder, 'vmlinuz'), Buffer.alloc(4096, 0x90));
  // A machine with this ROM powers off at once.
  writeFileSync(join(folder, 'rom.fd'), scriptRom(PRINT, 1));
  const random = new FakeRandom(0xb47e);
  const lines = Array.from({ length: FUZZ_LINES }, () => mutatedCommandLine(random));
  const statuses = new Set<number | null>();
  const worker = async (): Promise<void> => {
    for (let argv = lines.pop(); argv; argv = lines.pop()) {
      const child = spawn(process.execPath, [program, ...argv], { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
      let output = '';
      for (const stream of [child.stdout, child.stderr])
        stream.on('data', (chunk: Buffer) => (output += String(chunk)));
      const timer = setTimeout(() => child.kill('SIGKILL'), 20_000);
      const [status] = (await once(child, 'close')) as [number | null];
      clearTimeout(timer);
      const wrong = status === null || ![0, 1, 4, 64].includes(status) || UNINTENDED.test(output);
      if (wrong || (output === '' && status !== 1)) {
        throw new Error(`${JSON.stringify(argv)} ended with ${status} and printed ${JSON.stringify(output)}`);
      }
      statuses.add(status);
    }
  };
  await Promise.all([worker(), worker()]);
  expect([...statuses].sort()).toEqual([0, 1, 4, 64]);
}, 300_000);

test('a reader that goes away, and a full disk, are no reason for a stack trace', () => {
  const shell = (line: string): string => spawnSync('/bin/sh', ['-c', line], { encoding: 'utf8' }).stderr;
  const bhyve = `${process.execPath} ${program}`;
  expect(shell(`${bhyve} -s help | true`)).toBe('');
  expect(shell(`${bhyve} -s help | true; ${bhyve} -h 2>&1 | true`)).toBe('');
  expect(shell(`${bhyve} -s help >/dev/full; echo $? >&2`)).toBe('0\n');
  expect(shell(`${bhyve} -o config.dump=1 vm >&-; echo $? >&2`)).toBe('1\n');
});

function start(args: readonly string[]): ChildProcess {
  return spawn(process.execPath, [program, ...args], { stdio: ['pipe', 'pipe', 'pipe'] });
}

function ended(child: ChildProcess): Promise<{ code: number | null; signal: string | null }> {
  return new Promise((resolve) => child.on('exit', (code, signal) => resolve({ code, signal })));
}

test('SIGTERM ends a machine whose guest does not listen, as a signal does', async () => {
  const child = start([...machine(ECHO), 'vm']);
  const end = ended(child);
  const ready = new Promise((resolve) => child.stdout?.once('data', resolve));
  child.stdin?.write('x');
  await ready;
  child.kill('SIGTERM');
  expect(await end).toEqual({ code: null, signal: 'SIGTERM' });
});

/** Processor time of a process or thread so far, from its `stat`. */
function cpuTicks(path: string): number {
  const stat = readFileSync(path, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return Number(fields[11]) + Number(fields[12]);
}

test('a halted machine uses no processor time', async () => {
  const child = start([...machine(SLEEP), 'vm']);
  const end = ended(child);
  const ticksInASecond = async (): Promise<number> => {
    const before = cpuTicks(`/proc/${child.pid}/stat`);
    await new Promise((resolve) => setTimeout(resolve, 1000));
    return cpuTicks(`/proc/${child.pid}/stat`) - before;
  };
  // 100 ticks a second on Linux: idle is a few of them. Starting takes longer on a busy machine.
  await expect.poll(ticksInASecond, { timeout: 20_000 }).toBeLessThan(10);
  child.kill('SIGKILL');
  await end;
});

const hasScript = spawnSync('script', ['--version']).status === 0;
test.skipIf(!hasScript)(
  'on a terminal: raw mode, Ctrl-C for the guest, Ctrl-A x leaves, the mode is restored',
  async () => {
    const log = join(directory, 'typescript');
    // Without a newline translation of its own, `stty` tells of a terminal left in raw mode by a minus before the word.
    const command = `${process.execPath} ${program} ${machine(ECHO).join(' ')} vm; echo "status $?"; stty -a | tr ' ' '\\n' | grep -x -e icanon -e -icanon; echo end`;
    const child = spawn('script', ['-qec', command, log], { stdio: ['pipe', 'pipe', 'inherit'] });
    let screen = '';
    child.stdout.on('data', (chunk: Buffer) => (screen += chunk.toString('latin1')));
    const end = ended(child);
    const until = (text: string): Promise<void> => expect.poll(() => screen, { timeout: 10_000 }).toContain(text);
    // The terminal itself would show this as ^Ah: what answers is the program in raw mode.
    await expect
      .poll(
        () => {
          child.stdin.write('\u0001h');
          return screen;
        },
        { timeout: 20_000, interval: 300 },
      )
      .toContain('Ctrl-A x');
    child.stdin.write('hello\u0003');
    await until('hello\u0003');
    child.stdin.write('\u0001x');
    await until('end\r\n');
    expect(screen.slice(screen.indexOf('status'))).toMatch(/^status 1\r\nicanon\r\nend/);
    child.stdin.end();
    await end;
  },
);

test.skipIf(!hasScript)('a terminal that nobody reads stops the guest, not the process', async () => {
  const socket = join(directory, 'com2');
  const command = `exec ${process.execPath} ${program} ${machine(PRINT).join(' ')} -l com2,unix=${socket} vm`;
  const terminal = spawn('script', ['-qec', command, '/dev/null'], { stdio: ['pipe', 'ignore', 'inherit'] });
  const end = ended(terminal);
  const child = (): number =>
    Number(readFileSync(`/proc/${terminal.pid}/task/${terminal.pid}/children`, 'utf8').trim());
  await expect.poll(child, { timeout: 20_000 }).toBeGreaterThan(0);
  terminal.kill('SIGSTOP');
  const pid = child();
  try {
    await expect.poll(() => existsSync(socket), { timeout: 10_000 }).toBe(true);
    // Until more was printed than the system keeps: the devices' thread has worked for 1.5 s, or for one no more.
    for (let quiet = 0, ticks = 0; quiet < 10 && ticks < 150; quiet++) {
      await new Promise((resolve) => setTimeout(resolve, 100));
      const before = ticks;
      ticks = cpuTicks(`/proc/${pid}/task/${pid}/stat`);
      if (ticks !== before) quiet = 0;
    }
    process.kill(pid, 'SIGTERM');
    const state = (): string | undefined => /^State:\s+(\w)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
    await expect.poll(state, { timeout: 20_000 }).toBe('Z');
  } finally {
    process.kill(pid, 'SIGKILL');
    terminal.kill('SIGCONT');
    await end;
  }
});
