/** Loops and probes of bhyve's clients as shell scripts with our commands in PATH: vmrun.sh, vm-bhyve, libvirt. Over the core without a processor. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { fakeCoreBytes, scriptRom } from '../support/machine-fake-core.ts';
import { bundlePrograms } from '../support/program-bundle.ts';

let directory: string;
const children: ChildProcess[] = [];
/** Script of the fake core: echo until a "q", then power off. */
const ECHO = 9;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'webhyve-clients-'));
  writeFileSync(join(directory, 'core.wasm'), await fakeCoreBytes());
  writeFileSync(join(directory, 'rom'), scriptRom(ECHO, 1));
  await bundlePrograms(directory, ['bhyve', 'bhyvectl']);
  mkdirSync(join(directory, 'path'));
  for (const name of ['bhyve', 'bhyvectl']) {
    const shim = join(directory, 'path', name);
    writeFileSync(shim, `#!/bin/sh\nexec '${process.execPath}' '${join(directory, 'bin', `${name}.mjs`)}' "$@"\n`);
    chmodSync(shim, 0o755);
  }
}, 120_000);
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const environment = (): NodeJS.ProcessEnv => ({
  ...process.env,
  PATH: `${join(directory, 'path')}:${process.env['PATH']}`,
  WEBHYVE_RUNTIME_DIR: join(directory, 'run'),
  ROM: join(directory, 'rom'),
  WORK: directory,
});
const shell = (line: string) =>
  spawnSync('sh', ['-c', line], { env: environment(), encoding: 'utf8', timeout: 60_000 });
const registered = (name: string): boolean => existsSync(join(directory, 'run', name));

interface Loop {
  readonly output: () => string;
  readonly end: Promise<number | null>;
  readonly child: ChildProcess;
}

function startLoop(script: string): Loop {
  const child = spawn('sh', ['-c', script], { env: environment(), stdio: ['pipe', 'pipe', 'inherit'] });
  children.push(child);
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  return { output: () => output, end: new Promise((resolve) => child.on('close', resolve)), child };
}

const DEVICES = '-s 0,hostbridge -s 31,lpc -l bootrom,$ROM';

/** vmrun.sh of FreeBSD: runs while the status is 0, destroys the machine for 0, 1 and 2. */
const VMRUN = `
bhyvectl --vm=vmrun --destroy > /dev/null 2>&1
while [ 1 ]; do
  bhyve -c 2 -m 512M -A -H -P -g 0 ${DEVICES} -l com1,stdio vmrun
  exit=$?
  echo "exit $exit"
  if [ $exit -eq 0 -o $exit -eq 1 -o $exit -eq 2 ]; then bhyvectl --destroy --vm=vmrun; fi
  if [ $exit -ne 0 ]; then break; fi
done
exit $exit
`;

test('vmrun.sh: reboots go round, a power-off ends it and leaves nothing behind', async () => {
  const loop = startLoop(VMRUN);
  for (let round = 1; round <= 2; round++) {
    loop.child.stdin?.write('#');
    await expect.poll(() => loop.output().split('#').length, { timeout: 20_000 }).toBe(round + 1);
    expect(shell('bhyvectl --vm=vmrun --force-reset').status).toBe(0);
    await expect.poll(() => loop.output().split('exit 0').length, { timeout: 20_000 }).toBe(round + 1);
  }
  loop.child.stdin?.write('q');
  expect(await loop.end).toBe(1);
  expect(loop.output()).toMatch(/^#exit 0\n#exit 0\nqexit 1\n$/);
  expect(registered('vmrun')).toBe(false);
}, 60_000);

/** vm-bhyve's vm-run: a clustered option with an argument, a log of exits, and the machine destroyed at the end. */
const VM_BHYVE = `
while :; do
  echo starting >> $WORK/vm.log
  bhyve -c 1 -m 256M -Hwl bootrom,$ROM -U b34ee350-051a-11e9-b6db-000bab896163 -u -s 0,hostbridge -s 31,lpc -l com1,stdio guest
  code=$?
  echo "bhyve exited with status $code" >> $WORK/vm.log
  [ $code -eq 0 ] || break
  bhyvectl --vm=guest --destroy > /dev/null 2>&1
done
bhyvectl --vm=guest --destroy > /dev/null 2>&1
exit $code
`;

test('vm-bhyve: its statuses, and "vm stop", which sends SIGTERM twice', async () => {
  const loop = startLoop(VM_BHYVE);
  loop.child.stdin?.write('x');
  await expect.poll(loop.output, { timeout: 20_000 }).toContain('x');
  const record = JSON.parse(readFileSync(join(directory, 'run', 'guest'), 'utf8')) as { pid: number };
  // The guest does not listen to the power button: the first ends it, as on FreeBSD before ACPI is on; the second finds nobody.
  process.kill(record.pid, 'SIGTERM');
  try {
    process.kill(record.pid, 'SIGTERM');
  } catch {
    // Gone already.
  }
  expect(await loop.end).toBe(143);
  expect(readFileSync(join(directory, 'vm.log'), 'utf8')).toBe('starting\nbhyve exited with status 143\n');
  expect(registered('guest')).toBe(false);
}, 60_000);

test('libvirt: every probe ends by itself, says what is looked for; a start is seen', async () => {
  const help = shell('bhyve -h');
  expect(help.stderr).toContain('-u:');
  expect(help.stderr).not.toContain('-c vcpus');
  for (const device of ['ahci', 'e1000', 'fbuf', 'xhci', 'hda', 'virtio-rnd', 'virtio-9p']) {
    const { stderr, signal } = shell(`bhyve -s 0,${device}`);
    expect(signal).toBeNull();
    expect(stderr, device).not.toContain(`unknown device "${device}"`);
  }
  expect(shell('bhyve -l bootrom').stderr).not.toContain("invalid lpc device configuration 'bootrom'");
  expect(shell('bhyve -s 0,fbuf,password=').stderr).not.toContain('Invalid fbuf emulation');

  const words = `-c 1 -m 214 -u -H -P -s 0:0,hostbridge -l bootrom,$ROM,fwcfg=qemu -s 1:0,lpc -l com1,stdio bhyve`;
  const loop = startLoop(`exec bhyve ${words}`);
  // libvirt waits 5 seconds for the name; a busy test machine may take longer.
  await expect.poll(() => registered('bhyve'), { timeout: 20_000 }).toBe(true);
  loop.child.stdin?.write('x');
  await expect.poll(loop.output, { timeout: 20_000 }).toContain('x');
  expect(shell('bhyvectl --destroy --vm=bhyve').status).toBe(0);
  expect(await loop.end).toBe(1);
}, 120_000);
