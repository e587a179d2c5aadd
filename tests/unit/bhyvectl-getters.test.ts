/** Every option of bhyvectl that looks at a machine, or sets something of it, once; over the core without a processor. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  R_GDT_BASE,
  R_IDT_BASE,
  R_MSR_PAT,
  R_MSR_SYSENTER_CS,
  R_MSR_SYSENTER_EIP,
  R_MSR_SYSENTER_ESP,
  R_SEG,
  R_TSC_OFFSET,
  SEG_ACCESS,
  SEG_BASE,
  SEG_LIMIT,
  SEG_SELECTOR,
  SEG_STRIDE,
} from '../../core-as/layout.ts';
import { SEGMENT_NAMES } from '../../devices/machine/boot.ts';
import { vcpuBlock } from '../../devices/machine/core.ts';
import { Machine } from '../../host-node/index.ts';
import { runBhyvectl } from '../../host-node/registry/bhyvectl.ts';
import { REFUSED_OPTIONS } from '../../host-node/registry/bhyvectl-refused.ts';
import { Registry } from '../../host-node/registry/registry.ts';
import { openRuntimeDir } from '../../host-node/registry/runtime-dir.ts';
import { fakeCoreBytes, scriptRom } from '../support/machine-fake-core.ts';

const SLEEP = 2;
/** The processor that the table looks at: not the one by default. */
const VCPU = 1;
const NAME = `getters-${process.pid}`;

let directory: string;
let machine: Machine;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'webhyve-get-'));
  writeFileSync(join(directory, 'rom'), scriptRom(SLEEP));
  machine = await Machine.fromArgs(
    [
      ...['-c', '2,sockets=1,cores=2', '-m', '4G', '-H', '-x', '-s', '0,hostbridge'],
      ...['-l', `bootrom,${join(directory, 'rom')}`, NAME],
    ],
    { core: await WebAssembly.compile(new Uint8Array(await fakeCoreBytes())), backend: 'inline', register: true },
  );
  const { state } = machine;
  const block = vcpuBlock(VCPU);
  for (const index of SEGMENT_NAMES.keys()) {
    const at = block + R_SEG + index * SEG_STRIDE;
    state.setU64(at + SEG_BASE, BigInt(0x1000 * (index + 1)));
    state.setU32(at + SEG_LIMIT, 0x100 + index);
    state.setU32(at + SEG_ACCESS, 0x90 + index);
    state.data.setUint16(at + SEG_SELECTOR, 8 * (index + 1), true);
  }
  for (const [at, value] of [
    [R_GDT_BASE, 0xabc0],
    [R_IDT_BASE, 0xdef0],
    [R_TSC_OFFSET, 0x1234],
    [R_MSR_PAT, 0x70406],
    [R_MSR_SYSENTER_CS, 0x10],
    [R_MSR_SYSENTER_ESP, 0],
    [R_MSR_SYSENTER_EIP, 0xc0de],
  ] as const) {
    state.setU64(block + at, BigInt(value));
  }
  // Standing still, so that what is set stays: the core without a processor counts in its registers.
  machine.start();
  await machine.pause();
}, 120_000);
afterAll(async () => {
  await machine.destroy();
  rmSync(directory, { recursive: true, force: true });
});

async function ctl(...options: string[]): Promise<{ status: number; stdout: string; stderr: string }> {
  let [stdout, stderr] = ['', ''];
  const status = await runBhyvectl(options, () => new Registry(openRuntimeDir()), {
    stdout: (text) => (stdout += text),
    stderr: (text) => (stderr += text),
  });
  return { status, stdout, stderr };
}

const onMachine = (...options: string[]): ReturnType<typeof ctl> => ctl(`--vm=${NAME}`, `--cpu=${VCPU}`, ...options);

const GENERAL = 'rax rbx rcx rdx rsi rdi rbp rsp r8 r9 r10 r11 r12 r13 r14 r15 rip'.split(' ');
const SYSTEM = 'efer cr0 cr2 cr3 cr4 dr0 dr1 dr2 dr3 dr6 dr7 rflags'.split(' ');

describe('registers', () => {
  test.each([...GENERAL, ...SYSTEM].map((name, index) => [name, 0x1_0000_0002n + BigInt(index) * 0x100n] as const))(
    '--set-%s and --get of it',
    async (name, value) => {
      const label = `${name}[${VCPU}]`;
      expect(await onMachine(`--set-${name}=${value}`, `--get-${name}`)).toEqual({
        status: 0,
        stderr: '',
        stdout: `${label}${label.length < 8 ? '\t\t' : '\t'}0x${value.toString(16).padStart(16, '0')}\n`,
      });
    },
  );

  test.each(SEGMENT_NAMES.map((name, index) => [name, index] as const))(
    '--get-%s and --get-desc of it',
    async (name, index) => {
      const number = (value: number, digits: number): string => `0x${value.toString(16).padStart(digits, '0')}`;
      const tab = (label: string): string => label + (label.length < 8 ? '\t\t' : '\t');
      const parts = [number(0x1000 * (index + 1), 16), number(0x100 + index, 8), number(0x90 + index, 8)];
      expect((await onMachine(`--get-${name}`, `--get-desc-${name}`)).stdout).toBe(
        `${tab(`${name} desc[1]`)}${parts.join('/')}\n${tab(`${name}[1]`)}${number(8 * (index + 1), 4)}\n`,
      );
    },
  );

  test.each(SEGMENT_NAMES)('--set-%s and --set-desc of it', async (name) => {
    const values = ['--desc-base=0x55', '--desc-limit=66', '--desc-access=0x93'];
    const { stdout } = await onMachine(
      ...[`--set-${name}=0x28`, `--set-desc-${name}`, ...values, `--get-${name}`, `--get-desc-${name}`],
    );
    expect(stdout).toMatch(/0x0000000000000055\/0x00000042\/0x00000093\n.*0x0028\n$/);
  });
});

test.each<[string[], string]>([
  [['--get-desc-gdtr'], 'gdtr[1]\t\t0x000000000000abc0/0x00000000\n'],
  [['--get-desc-idtr'], 'idtr[1]\t\t0x000000000000def0/0x00000000\n'],
  [['--get-lowmem'], 'lowmem\t\t0x0000000000000000/3221225472\n'],
  [['--get-highmem'], 'highmem\t\t0x0000000100000000/1073741824\n'],
  [['--get-memseg'], 'ID  Length      Name\n0   4096MB      sysmem\n1   16384KB     bootrom\n'],
  [
    ['--get-memmap'],
    'Address     Length      Segment     Offset      Prot  Flags\n' +
      '0           3072MB      sysmem      0           RWX   \n' +
      'FFFFF000    4096B       bootrom     FFF000      R-X   \n' +
      '100000000   1024MB      sysmem      C0000000    RWX   \n',
  ],
  [['--get-x2apic-state'], 'x2apic_state[1]\t1\n'],
  [['--get-tsc-offset'], 'tsc_offset[1]\t0x0000000000001234\n'],
  [['--get-guest-pat'], 'guest_pat[1]\t\t0x0000000000070406\n'],
  [['--get-guest-sysenter'], 'guest_sysenter_cs[1]\t0x10\nguest_sysenter_sp[1]\t0\nguest_sysenter_ip[1]\t0xc0de\n'],
  [['--capname=hlt_exit', '--getcap'], 'Capability "hlt_exit" is set on vcpu 1\n'],
  [['--capname=pause_exit', '--getcap'], 'Capability "pause_exit" is not set on vcpu 1\n'],
  [
    ['--getcap'],
    ['hlt_exit" is set', 'mtrap_exit" is not set', 'pause_exit" is not set', 'unrestricted_guest" is set']
      .concat('enable_invpcid" is set')
      .map((line) => `Capability "${line} on vcpu 1\n`)
      .join(''),
  ],
  [['--set-rtc-time=86400', '--get-rtc-time'], 'rtc time 0x15180: Fri Jan 02 00:00:00 1970\n'],
  [['--rtc-nvram-offset=0x50', '--set-rtc-nvram=7', '--get-rtc-nvram'], 'rtc nvram[080]: 0x07\n'],
  [['--get-suspended-cpus'], 'suspended cpus:\t (none)\n'],
  [['--get-cpu-topology'], 'cpu_topology:\tsockets=1, cores=2, threads=1, maxcpus=16\n'],
  [['--inject-nmi'], ''],
])('%j', async (options, stdout) => {
  expect(await onMachine(...options)).toEqual({ status: 0, stdout, stderr: '' });
});

test('--get-active-cpus, --get-stats and --get-all', async () => {
  expect((await onMachine('--get-active-cpus')).stdout).toMatch(/^active cpus:\t .+\n$/);
  expect((await onMachine('--get-stats')).stdout).toMatch(/^vcpu1 stats:\ninstructions retired {20}\s+\d+\n/);
  const all = (await onMachine('--get-all')).stdout;
  for (const text of [
    'rip[1]\t',
    'cs desc[1]\t',
    'idtr[1]\t',
    'lowmem\t',
    'Segment',
    'x2apic_state[1]',
    'Capability "',
  ]) {
    expect(all).toContain(text);
  }
  for (const text of ['guest_pat[1]', 'tsc_offset[1]', 'rtc time ', 'active cpus:', 'cpu_topology:']) {
    expect(all).toContain(text);
  }
});

test.each([...REFUSED_OPTIONS])('--%s is refused in one sentence', async (name, reason) => {
  expect(await onMachine('--inject-nmi', `--${name}=1`)).toEqual({
    status: 1,
    stdout: '',
    stderr: `bhyvectl: --${name}: ${reason}\n`,
  });
});

test('without arguments: the usage, and nothing else', async () => {
  const { status, stdout, stderr } = await ctl();
  expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
  expect(stderr).toMatch(/^Usage: bhyvectl --vm=<vmname>\n( {7}\[--[a-z0-9-]+(=<\w+>)?\]\n)+$/);
  const named = [...stderr.matchAll(/\[--([a-z0-9-]+)/g)].map(([, name]) => name);
  for (const name of ['create', 'destroy', 'get-all', 'get-memmap', 'getcap', 'capname', 'set-rflags', 'suspend']) {
    expect(named).toContain(name);
  }
  expect(named.filter((name) => REFUSED_OPTIONS.has(name ?? ''))).toEqual([]);
});
