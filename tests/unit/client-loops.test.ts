/** Loops and probes of bhyve's clients as shell scripts with our commands in PATH: vmrun.sh, vm-bhyve, libvirt. Over the core without a processor. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { freePort } from '../support/free-port.ts';
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

/**
 * libvirt's argument vectors (bhyvexml2argv of its tests), as one command line each. Files and ports are of this test; what stands for a boot
 * loader that has run before is a boot ROM. `expected` is the status where the machine must not run.
 */
const HEAD = '-c 1 -m 214 -u -H -P -s 0:0,hostbridge';
const DISK = '-s 2:0,ahci,hd:$WORK/disk.img';
const NET = '-s 3:0,virtio-net,slirp,mac=52:54:00:b9:94:02';
const VECTORS: readonly { readonly title: string; readonly line: string; readonly expected?: number }[] = [
  { title: 'base', line: `${HEAD} ${DISK} ${NET}` },
  { title: 'base of 2014', line: '-c 1 -m 214 -H -P -s 0:0,hostbridge -s 2:0,ahci-hd,$WORK/disk.img' },
  { title: 'acpi and apic', line: `-c 1 -m 214 -A -I -u -H -P -s 0:0,hostbridge ${DISK} ${NET}` },
  { title: 'serial', line: `${HEAD} ${DISK} ${NET} -s 1,lpc -l com1,/dev/nmdm0A` },
  {
    title: 'four consoles',
    line: `${HEAD} ${DISK} -s 1,lpc -l com1,/dev/nmdmUUIDA -l com2,tcp=127.0.0.1:$PORT -l com3,tcp=0.0.0.0:$PORT2 -l com4,/dev/nmdm0A`,
  },
  { title: 'topology', line: `-c cpus=2,sockets=1,cores=2,threads=1 -m 214 -u -H -P -s 0:0,hostbridge ${DISK}` },
  { title: 'cdrom', line: `${HEAD} -s 2:0,ahci,cd:$WORK/disk.img` },
  { title: '9p', line: `${HEAD} ${DISK} -s 4:0,virtio-9p,shared_dir=$WORK,ro` },
  { title: 'tablet', line: `${HEAD} -s 2:0,xhci,tablet -s 3:0,ahci-hd,$WORK/disk.img` },
  { title: 'ignored MSRs', line: `-c 1 -m 214 -w -u -H -P -s 0:0,hostbridge ${DISK} ${NET}` },
  { title: 'e1000', line: `${HEAD} ${DISK} -s 3:0,e1000,slirp,mac=52:54:00:00:00:00` },
  { title: 'slirp behind the address', line: `${HEAD} ${DISK} -s 3:0,e1000,mac=52:54:00:00:00:00,slirp,open` },
  { title: 'nvme', line: `${HEAD} -s 2:0,nvme,$WORK/disk.img,maxq=2,qsz=256 -s 3:0,nvme,$WORK/other.img` },
  { title: 'firmware and fwcfg', line: `${HEAD} ${DISK} -l bootrom,$ROM,fwcfg=qemu -s 1:0,lpc` },
  { title: 'firmware and its variables', line: `${HEAD} ${DISK} -l bootrom,$ROM,$WORK/vars.fd -s 1:0,lpc` },
  { title: 'rng', line: `${HEAD} ${DISK} -s 4:0,virtio-rnd` },
  { title: 'vnc', line: `${HEAD} -s 4:0,fbuf,tcp=127.0.0.1:$PORT,password=s3cr3t,w=1920,h=1080 -s 1:0,lpc` },
  { title: 'vnc without vga', line: `${HEAD} -s 4:0,fbuf,tcp=127.0.0.1:$PORT,vga=off -s 1:0,lpc` },
  { title: 'wired memory', line: `-c 1 -m 214 -S -u -H -P -s 0:0,hostbridge ${DISK}` },
  {
    title: 'numa',
    line: '-c 8 -n id=0,size=107,cpus=0-3 -n id=1,size=107,cpus=4-7 -m 214 -u -H -P -s 0:0,hostbridge -l bootrom,$ROM,$WORK/vars.fd -s 1:0,lpc',
  },
  { title: 'pinning', line: `-c 2 -m 214 -p 0:0 -p 0:1 -p 1:0 -u -H -P -s 0:0,hostbridge ${DISK}` },
  { title: 'guest agent', line: `${HEAD} ${DISK} -s 5:0,virtio-console,org.qemu.guest_agent.0=$WORK/agent` },
  {
    title: 'serial numbers and rotation rates',
    line: `${HEAD} -s 2:0,ahci,hd:$WORK/disk.img,nmrr=7200,ser=BHYVE-SER01-0001,hd:$WORK/other.img,nmrr=1,ser=BHYVE-SER02-0004`,
  },
  {
    title: 'smbios',
    line: `${HEAD} -o bios.vendor=LENOVO -o bios.version=14.1 -o system.sku=0000 -o 'board.version=0B98401 Pro' -o 'chassis.manufacturer=Dell Inc.'`,
  },
  {
    title: 'boot order',
    line: `${HEAD} -l bootrom,$ROM,fwcfg=qemu -s 1:0,lpc -s 2:0,ahci,hd:$WORK/disk.img,bootindex=2 -s 4:0,virtio-blk,$WORK/other.img,bootindex=1`,
  },
  { title: 'passthru', line: `-c 1 -m 214 -u -S -H -P -s 0:0,hostbridge ${DISK} -s 7:0,passthru,3/0/0`, expected: 4 },
  { title: 'operands in front of the name', line: `${HEAD} ${DISK} ARGUMENT1 ARGUMENT2`, expected: 1 },
  { title: 'a disk that is not there', line: `${HEAD} -s 2:0,ahci,hd:$WORK/none.img`, expected: 4 },
];

/**
 * As libvirt's process code does it: a log of both outputs, the start seen by the name, a graceful stop and another one, `bhyvectl --destroy`. The
 * signals come when the machine answers, so that what is wrong with its devices has been found.
 */
const LIBVIRT_RUN = `
bhyve $LINE bhyve > $WORK/log 2>&1 < /dev/null &
pid=$!
waited=0
until [ -e $WEBHYVE_RUNTIME_DIR/bhyve ] || ! kill -0 $pid 2> /dev/null; do sleep 0.1; waited=$((waited + 1)); done
until bhyvectl --vm=bhyve --get-lowmem > /dev/null 2>&1 || ! kill -0 $pid 2> /dev/null; do sleep 0.1; done
if kill -0 $pid 2> /dev/null; then
  echo "seen after $waited"
  kill -TERM $pid
  sleep 0.2
  kill -TERM $pid 2> /dev/null
fi
wait $pid
echo "status $?"
bhyvectl --destroy --vm=bhyve > /dev/null 2>&1
[ -e $WEBHYVE_RUNTIME_DIR/bhyve ] && echo "a name is left"
`;

test('libvirt: its argument vectors start, are seen, and end at a SIGTERM and another one', async () => {
  const replay = async ({ title, line, expected }: (typeof VECTORS)[number], index: number): Promise<void> => {
    const work = join(directory, `libvirt${index}`);
    mkdirSync(work);
    for (const file of ['disk.img', 'other.img', 'vars.fd']) writeFileSync(join(work, file), Buffer.alloc(1 << 20));
    const [port, second] = [await freePort(), await freePort()];
    const rom = line.includes('bootrom') ? '' : `-l bootrom,$ROM ${line.includes('lpc') ? '' : '-s 1:0,lpc'}`;
    const words = `${rom} ${line}`.replaceAll('$PORT2', String(second)).replaceAll('$PORT', String(port));
    const script = LIBVIRT_RUN.replace('$LINE', words);
    const child = spawn('sh', ['-c', script], {
      env: { ...environment(), WORK: work, WEBHYVE_RUNTIME_DIR: join(work, 'run') },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    children.push(child);
    let output = '';
    child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
    await new Promise((resolve) => child.on('close', resolve));
    const said = `${title}: ${output}${readFileSync(join(work, 'log'), 'utf8')}`;
    if (expected === undefined) {
      const [, tenths] = /^seen after (\d+)\nstatus 143\n$/.exec(output) ?? [];
      expect(tenths, said).toBeDefined();
      slowest = Math.max(slowest, Number(tenths) / 10);
    } else expect(output, said).toBe(`status ${expected}\n`);
  };
  let slowest = 0;
  const left = [...VECTORS.entries()];
  const worker = async (): Promise<void> => {
    for (let next = left.shift(); next; next = left.shift()) await replay(next[1], next[0]);
  };
  await Promise.all([worker(), worker(), worker()]);
  // libvirt gives up after 5 seconds; three at once on a busy test machine may take longer.
  expect(slowest).toBeLessThan(20);
}, 300_000);
