/** bhyve and bhyvectl as users run them: processes of their own, over the core without a processor. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { fakeCoreBytes, scriptRom } from '../support/machine-fake-core.ts';
import { bundlePrograms } from '../support/program-bundle.ts';

let directory: string;
const children: ChildProcess[] = [];

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'webhyve-ctl-'));
  mkdirSync(join(directory, 'bin'));
  for (const script of [SLEEP, ECHO]) writeFileSync(join(directory, `rom-${script}`), scriptRom(script));
  writeFileSync(join(directory, 'core.wasm'), await fakeCoreBytes());
  await bundlePrograms(directory, ['bhyve', 'bhyvectl']);
}, 120_000);
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  rmSync(runtime(), { recursive: true, force: true });
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** Scripts of the fake core: sleep for ever; echo until a "q", then power off. */
const SLEEP = 2;
const ECHO = 9;

const runtime = (): string => join(directory, 'run');
const environment = (): NodeJS.ProcessEnv => ({ ...process.env, WEBHYVE_RUNTIME_DIR: runtime() });

function machine(script: number): string[] {
  const rom = join(directory, `rom-${script}`);
  return ['-s', '0,hostbridge', '-s', '31,lpc', '-l', `bootrom,${rom}`, '-l', 'com1,stdio'];
}

function ctl(...argv: string[]): { status: number | null; stdout: string; stderr: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(directory, 'bin/bhyvectl.mjs'), ...argv], {
    env: environment(),
    cwd: directory,
    encoding: 'utf8',
    timeout: 20_000,
  });
  return { status, stdout, stderr };
}

interface Running {
  readonly child: ChildProcess;
  readonly stderr: () => string;
  readonly stdout: () => string;
  readonly end: Promise<{ code: number | null; signal: string | null }>;
}

function start(...argv: string[]): Running {
  const child = spawn(process.execPath, [join(directory, 'bin/bhyve.mjs'), ...argv], {
    env: environment(),
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  children.push(child);
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  const end = new Promise<{ code: number | null; signal: string | null }>((resolve) => {
    child.on('close', (code, signal) => resolve({ code, signal }));
  });
  return { child, stdout: () => stdout, stderr: () => stderr, end };
}

/** Starts a machine that echoes, and waits until it does. */
async function startEcho(...argv: string[]): Promise<Running> {
  const running = start(...machine(ECHO), ...argv);
  running.child.stdin?.write('x');
  await expect.poll(running.stdout, { timeout: 15_000 }).toContain('x');
  return running;
}

const exists = (name: string): boolean => existsSync(join(runtime(), name));

describe('the end of a machine', () => {
  test.each([
    ['--force-reset', 0, true],
    ['--force-poweroff', 1, true],
    ['--destroy', 1, false],
  ] as const)('%s: bhyve exits with %i', async (option, code, stays) => {
    const running = await startEcho('vm');
    expect(exists('vm')).toBe(true);
    expect(ctl('--vm=vm', option)).toEqual({ status: 0, stdout: '', stderr: '' });
    expect(await running.end).toEqual({ code, signal: null });
    if (option === '--destroy') expect(running.stderr()).toBe('vm_run error -1, errno 6\n');
    expect(exists('vm')).toBe(stays);
    expect(readdirSync(join(runtime(), '.run'))).toEqual([]);
    // As on FreeBSD the name stays until it is destroyed, once.
    if (stays) expect(ctl('--vm=vm', '--get-rip').stderr).toMatch(/vm has ended \(the guest .*only --destroy is poss/);
    expect(ctl('--vm=vm', '--destroy').status).toBe(stays ? 0 : 1);
    expect(exists('vm')).toBe(false);
  });

  test('-D forgets the machine when it powers off, and only then', async () => {
    const first = await startEcho('-D', 'vm');
    ctl('--vm=vm', '--force-reset');
    await first.end;
    expect(exists('vm')).toBe(true);
    const second = await startEcho('-D', 'vm');
    second.child.stdin?.write('q');
    expect(await second.end).toEqual({ code: 1, signal: null });
    expect(exists('vm')).toBe(false);
  });

  test('a machine that could not be built leaves its name free', async () => {
    const failed = start(...machine(SLEEP), '-s', '4,virtio-blk,/no/such/disk', 'vm');
    expect((await failed.end).code).toBe(4);
    expect(exists('vm')).toBe(false);
  });
});

test('a name in use is refused; that of a killed process is not', async () => {
  const first = await startEcho('vm');
  const second = start(...machine(ECHO), 'vm');
  expect((await second.end).code).toBe(4);
  expect(second.stderr()).toBe(
    `vm_reinit: Device busy\nbhyve: a machine named "vm" is running already (process ${first.child.pid})\n`,
  );
  first.child.kill('SIGKILL');
  await first.end;
  expect(ctl('--vm=vm', '--get-rip')).toMatchObject({
    status: 1,
    stderr: `bhyvectl: vm is gone: its process ${first.child.pid} was killed; only --destroy is possible\n`,
  });
  const third = await startEcho('vm');
  expect(readdirSync(join(runtime(), '.run'))).toHaveLength(1);
  third.child.kill('SIGKILL');
  await third.end;
  expect(ctl('--vm=vm', '--destroy').status).toBe(0);
  expect(readdirSync(runtime())).toEqual(['.run']);
  expect(readdirSync(join(runtime(), '.run'))).toEqual([]);
});

test('a name that cannot be one', async () => {
  const refused = start(...machine(ECHO), '../vm');
  expect((await refused.end).code).toBe(4);
  expect(refused.stderr()).toContain('vm_create: Invalid argument\n');
});

test('without its folder a machine runs unseen, and says so', async () => {
  writeFileSync(runtime(), 'a file in its place');
  const running = start(...machine(ECHO), 'vm');
  running.child.stdin?.write('q');
  expect((await running.end).code).toBe(1);
  expect(running.stderr()).toMatch(/^bhyve: bhyvectl cannot reach this machine: /);
});

test('sets and gets', { timeout: 90_000 }, async () => {
  const running = await startEcho('-c', '2', '-m', '64M', 'vm');
  expect(ctl('--vm=vm', '--get-lowmem', '--get-highmem', '--get-cpu-topology').stdout).toBe(
    'lowmem\t\t0x0000000000000000/67108864\nhighmem\t\t0x0000000100000000/0\n' +
      'cpu_topology:\tsockets=2, cores=1, threads=1, maxcpus=16\n',
  );
  expect(ctl('--vm=vm', '--cpu=1', '--set-rbx=0x1234', '--set-r15=-1', '--get-rbx', '--get-r15').stdout).toBe(
    'rbx[1]\t\t0x0000000000001234\nr15[1]\t\t0xffffffffffffffff\n',
  );
  const segment = ['--set-desc-gs', '--desc-base=0xffff888000000000', '--desc-limit=0xfffff', '--desc-access=0xc093'];
  expect(ctl('--vm=vm', ...segment, '--set-gs=0x2b', '--get-desc-gs', '--get-gs').stdout).toBe(
    'gs desc[0]\t0xffff888000000000/0x000fffff/0x0000c093\ngs[0]\t\t0x002b\n',
  );
  // What is not given is 0, as with FreeBSD's; tables have no access rights.
  expect(ctl('--vm=vm', '--set-desc-idtr', '--desc-limit=0x1ff', '--get-desc-idtr').stdout).toBe(
    'idtr[0]\t\t0x0000000000000000/0x000001ff\n',
  );
  expect(ctl('--vm=vm', '--set-desc-gdtr', '--set-ss=0x10', '--get-desc-gdtr', '--get-ss').stdout).toBe(
    'gdtr[0]\t\t0x0000000000000000/0x00000000\nss[0]\t\t0x0010\n',
  );
  expect(ctl('--vm=vm', '--rtc-nvram-offset=0x50', '--set-rtc-nvram=0xa5', '--get-rtc-nvram')).toMatchObject({
    status: 0,
    stdout: 'rtc nvram[080]: 0xa5\n',
  });
  expect(ctl('--vm=vm', '--rtc-nvram-offset=10', '--set-rtc-nvram=1')).toMatchObject({
    status: 255,
    stdout: 'errno = 22\n',
  });
  expect(ctl('--vm=vm', '--set-rtc-time=86400', '--get-rtc-time').stdout).toBe(
    'rtc time 0x15180: Fri Jan 02 00:00:00 1970\n',
  );
  expect(ctl('--vm=vm', '--set-rtc-time=-5')).toMatchObject({ status: 255 });
  expect(ctl('--vm=vm', '--cpu=2', '--get-rip')).toMatchObject({ status: 255, stdout: 'errno = 22\n' });
  const stats = ctl('--vm=vm', '--get-stats').stdout;
  expect(stats).toMatch(/^vcpu0 stats:\n/);
  expect(stats).toMatch(/^uart0 bytes sent {24}\t1$/m);
  expect(ctl('--vm=vm', '--get-all').stdout.split('\n').length).toBeGreaterThan(40);
  // The machine went on all the while.
  running.child.stdin?.write('yq');
  expect((await running.end).code).toBe(1);
  expect(running.stdout()).toBe('xyq');
});

test('--checkpoint goes on, --suspend ends with 0, -r continues either', { timeout: 90_000 }, async () => {
  const running = await startEcho('-c', '2', '-m', '64M', 'vm');
  expect(ctl('--vm=vm', '--checkpoint=/no/such/folder/ckp')).toMatchObject({ status: 255, stdout: 'errno = 5\n' });
  expect(ctl('--vm=vm', '--suspend=/no/such/folder/ckp')).toMatchObject({ status: 255 });
  expect(ctl('--vm=vm', '--set-rbp=77', '--checkpoint=ckp')).toEqual({ status: 0, stdout: '', stderr: '' });
  // Where the user is, for the user's eyes only, nothing half done beside it.
  expect(statSync(join(directory, 'ckp')).mode & 0o777).toBe(0o600);
  expect(readdirSync(directory).filter((name) => name.endsWith('.tmp'))).toEqual([]);
  expect(JSON.parse(readFileSync(join(directory, 'ckp.meta'), 'utf8'))).toMatchObject({
    'basic metadata': { ncpus: 2, vmname: 'vm', memsize: 67108864 },
  });
  running.child.stdin?.write('y');
  await expect.poll(running.stdout).toBe('xy');
  expect(ctl('--vm=vm', '--suspend=sus').status).toBe(0);
  expect(await running.end).toEqual({ code: 0, signal: null });
  expect(exists('vm')).toBe(false);

  // Name, memory and processors come from the snapshot; a name on the command line wins.
  const progress =
    'Pausing pci devs...\nRestoring vm mem...\nRestoring pci devs...\nRestoring kernel structs...\nResuming pci devs...\n' +
    'spinning up vcpu no 0...\nspinning up vcpu no 1...\n';
  const again = start(...machine(ECHO), '-r', join(directory, 'ckp'));
  const other = start(...machine(ECHO), '-r', join(directory, 'sus'), 'other');
  for (const [name, each] of [
    ['vm', again],
    ['other', other],
  ] as const) {
    each.child.stdin?.write('z');
    await expect.poll(each.stdout, { timeout: 15_000 }).toBe(`${progress}z`);
    expect(ctl(`--vm=${name}`, '--get-rbp', '--get-lowmem').stdout).toBe(
      'lowmem\t\t0x0000000000000000/67108864\nrbp[0]\t\t0x000000000000004d\n',
    );
    each.child.stdin?.write('q');
    expect((await each.end).code).toBe(1);
  }

  const damaged = join(directory, 'damaged');
  writeFileSync(damaged, readFileSync(join(directory, 'sus')).subarray(0, 100_000));
  const failed = start(...machine(ECHO), '-c', '2', '-m', '64M', '-r', damaged, 'vm');
  expect((await failed.end).code).toBe(1);
  expect(failed.stderr()).toMatch(/^Failed to read checkpoint info from file: '.*damaged'\.\nthe snapshot is /);
  expect(exists('vm')).toBe(false);

  // The machine that the command line describes is another one.
  const cpus = start(...machine(ECHO), '-c', '1', '-r', join(directory, 'sus'), 'vm');
  expect((await cpus.end).code).toBe(1);
  expect(cpus.stderr()).toBe('Failed to restore VM memory.\nthe snapshot is of another machine: vcpus is 2, not 1\n');
  const devices = start(...machine(ECHO), '-s', '3,virtio-rnd', '-r', join(directory, 'sus'), 'vm');
  expect((await devices.end).code).toBe(1);
  expect(devices.stderr()).toMatch(/^Failed to restore PCI device state\.\n.+\n$/);
});

describe('rundir and monitor mode', () => {
  test('a folder with the process’s number and the control socket, while the machine runs', async () => {
    const folder = join(directory, 'rundir');
    const running = await startEcho('-o', `rundir=${folder}`, 'vm');
    expect(readFileSync(join(folder, 'vm.pid'), 'utf8')).toBe(`${running.child.pid}\n`);
    const socket = createConnection(join(folder, 'vm.sock'));
    await once(socket, 'connect');
    socket.destroy();
    running.child.stdin?.write('q');
    expect((await running.end).code).toBe(1);
    expect(existsSync(join(folder, 'vm.pid')) || existsSync(join(folder, 'vm.sock'))).toBe(false);
  });

  test('-M starts the machine again after a reboot, and forgets it when it ends', async () => {
    const folder = join(directory, 'monitored');
    const running = await startEcho('-M', '-o', `rundir=${folder}`, 'vm');
    const pid = (): string => readFileSync(join(folder, 'vm.pid'), 'utf8');
    const first = pid();
    expect(first).not.toBe(`${running.child.pid}\n`);
    expect(ctl('--vm=vm', '--force-reset').status).toBe(0);
    await expect.poll(() => (existsSync(join(folder, 'vm.pid')) ? pid() : first), { timeout: 20_000 }).not.toBe(first);
    running.child.stdin?.write('q');
    expect(await running.end).toEqual({ code: 1, signal: null });
    expect(exists('vm')).toBe(false);
  });

  test('-M with -r: the guest goes on where it was, and after a reboot starts from its beginning', async () => {
    const saved = await startEcho('-m', '64M', 'vm');
    expect(ctl('--vm=vm', '--set-rbp=77', '--suspend=sus').status).toBe(0);
    await saved.end;
    const folder = join(directory, 'restored');
    const running = start('-M', '-o', `rundir=${folder}`, ...machine(ECHO), '-r', join(directory, 'sus'), 'vm');
    const pid = (): string => readFileSync(join(folder, 'vm.pid'), 'utf8');
    running.child.stdin?.write('y');
    await expect.poll(running.stdout, { timeout: 20_000 }).toMatch(/spinning up vcpu no 0\.\.\.\ny$/);
    const first = pid();
    expect(ctl('--vm=vm', '--get-rbp').stdout).toBe('rbp[0]\t\t0x000000000000004d\n');
    expect(ctl('--vm=vm', '--force-reset').status).toBe(0);
    await expect.poll(() => (existsSync(join(folder, 'vm.pid')) ? pid() : first), { timeout: 20_000 }).not.toBe(first);
    running.child.stdin?.write('z');
    // No second word of a restore.
    await expect.poll(running.stdout, { timeout: 20_000 }).toMatch(/vcpu no 0\.\.\.\nyz$/);
    expect(ctl('--vm=vm', '--get-rbp').stdout).toBe('rbp[0]\t\t0x0000000000000000\n');
    running.child.stdin?.write('q');
    expect(await running.end).toEqual({ code: 1, signal: null });
  });

  test('-M hands a signal on and ends as its machine does', async () => {
    const running = await startEcho('-M', 'vm');
    running.child.kill('SIGTERM');
    expect(await running.end).toEqual({ code: null, signal: 'SIGTERM' });
  });
});
