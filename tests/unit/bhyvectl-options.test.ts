/** bhyvectl's words and lines. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { runBhyvectl } from '../../host-node/registry/bhyvectl.ts';
import {
  cpusLine,
  descriptorLine,
  highmemLine,
  lowmemLine,
  nvramLine,
  registerLine,
  rtcTimeLine,
  selectorLine,
  statisticsText,
  topologyLine,
} from '../../host-node/registry/bhyvectl-format.ts';
import { BhyvectlUsage, parseBhyvectl, parseNumber } from '../../host-node/registry/bhyvectl-options.ts';
import { Registry } from '../../host-node/registry/registry.ts';
import { openRuntimeDir } from '../../host-node/registry/runtime-dir.ts';

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'webhyve-ctl-'));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

async function run(...argv: string[]): Promise<{ status: number; stdout: string; stderr: string }> {
  let [stdout, stderr] = ['', ''];
  const status = await runBhyvectl(argv, () => new Registry(openRuntimeDir(join(directory, 'run'))), {
    stdout: (text) => (stdout += text),
    stderr: (text) => (stderr += text),
  });
  return { status, stdout, stderr };
}

describe('options', () => {
  test('in any order, attached or not, and by their beginnings', () => {
    const expected = { vm: 'a', vcpu: 2, options: new Map([['get-rip', '']]) };
    expect(parseBhyvectl(['--vm=a', '--cpu=2', '--get-rip'])).toEqual(expected);
    expect(parseBhyvectl(['--get-rip', '--vcpu', '0x2', '--vm', 'a'])).toEqual(expected);
    expect(parseBhyvectl(['--vm=a', '--destr']).options).toEqual(new Map([['destroy', '']]));
    expect(parseBhyvectl(['--vm=a', '--set-rtc-t=7']).options).toEqual(new Map([['set-rtc-time', '7']]));
  });

  test.each([
    [['--get-rip'], ''],
    [[], ''],
    [['--vm=a', '--nonsense'], "unrecognized option `--nonsense'"],
    [['--vm=a', '--get-r'], 'ambiguous option -- get-r'],
    [['--vm'], 'option requires an argument -- vm'],
    [['--vm=a', '--destroy=yes'], "option doesn't take an argument -- destroy"],
    [['--vm=a', '-d'], 'invalid option -- d'],
    [['--vm=a', '--cpu=x'], "invalid vcpu number 'x'"],
    [['--vm=a', '--cpu=-1'], "invalid vcpu number '-1'"],
    [['--vm=a', '--set-rax=1', '--set-rtc-time=x'], "invalid value 'x' of --set-rtc-time"],
    [['--vm=a', '--set-desc-cs', '--desc-base=x'], "invalid value 'x' of --desc-base"],
    [['--vm=a', '--set-desc-cs=1'], "option doesn't take an argument -- set-desc-cs"],
    [['--vm=a', '--set-cs=0x'], "invalid value '0x' of --set-cs"],
    [['--vm=a', '--set-rip='], "invalid value '' of --set-rip"],
    [['--vm=a', '--get-rtc-nvram'], '--rtc-nvram-offset is needed'],
  ])('%j: %s', async (argv, message) => {
    expect(() => parseBhyvectl(argv)).toThrow(BhyvectlUsage);
    const { status, stdout, stderr } = await run(...argv);
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
    expect(stderr).toContain(message);
    expect(stderr).toContain('Usage: bhyvectl --vm=<vmname>\n       [--cpu=<vcpu_number>]\n');
  });

  test('numbers as strtoul(3) reads them', () => {
    expect(['10', '0x1f', '010', '0', '-1'].map(parseNumber)).toEqual([10n, 31n, 8n, 0n, -1n]);
    expect(['', 'x', '08', '1a', '0x', '--1'].map(parseNumber)).toEqual(Array(6).fill(undefined));
  });
});

test('lines that scripts read', () => {
  const segment = { selector: 0x10, base: '0xffff800000000000', limit: 0xffffffff, access: 0xa09b };
  expect(registerLine('rip', 0, 0xffffffff8ee17a0bn)).toBe('rip[0]\t\t0xffffffff8ee17a0b\n');
  expect(registerLine('rflags', 11, 2n)).toBe('rflags[11]\t0x0000000000000002\n');
  expect(selectorLine('cs', 1, segment)).toBe('cs[1]\t\t0x0010\n');
  expect(descriptorLine('cs', 1, segment)).toBe('cs desc[1]\t0xffff800000000000/0xffffffff/0x0000a09b\n');
  expect(descriptorLine('gdtr', 1, { ...segment, limit: 0x7f })).toBe('gdtr[1]\t\t0xffff800000000000/0x0000007f\n');
  expect(lowmemLine(536870912)).toBe('lowmem\t\t0x0000000000000000/536870912\n');
  expect(highmemLine(0)).toBe('highmem\t\t0x0000000100000000/0\n');
  expect(rtcTimeLine(86_400)).toBe('rtc time 0x15180: Fri Jan 02 00:00:00 1970\n');
  expect(rtcTimeLine(0)).toBe('rtc time 0: Thu Jan 01 00:00:00 1970\n');
  expect(nvramLine(9, 5)).toBe('rtc nvram[009]: 0x05\n');
  expect(cpusLine('active cpus', [0, 3])).toBe('active cpus:\t 0, 3\n');
  expect(cpusLine('suspended cpus', [])).toBe('suspended cpus:\t (none)\n');
  expect(topologyLine({ sockets: 1, cores: 2, threads: 1, maxcpus: 16 })).toBe(
    'cpu_topology:\tsockets=1, cores=2, threads=1, maxcpus=16\n',
  );
  expect(statisticsText(0, [['x', '5']])).toBe(`vcpu0 stats:\n${'x'.padEnd(40)}\t5\n`);
});

test('a machine that is not there, and one that has only been created', async () => {
  const missing = 'vm_open: vm could not be opened: No such file or directory\n';
  expect(await run('--vm=vm', '--destroy')).toEqual({ status: 1, stdout: '', stderr: missing });
  expect(await run('--vm=../vm', '--destroy')).toMatchObject({ status: 1 });
  expect(await run('--vm=vm', '--create')).toEqual({ status: 0, stdout: '', stderr: '' });
  expect(await run('--vm=vm', '--create')).toMatchObject({ status: 255, stdout: 'errno = 17\n' });
  expect(await run('--vm=vm', '--get-rip')).toMatchObject({
    status: 1,
    stderr: 'bhyvectl: vm has not been started; only --destroy is possible\n',
  });
  expect(await run('--vm=vm', '--destroy')).toEqual({ status: 0, stdout: '', stderr: '' });
  expect(await run('--vm=vm', '--create', '--destroy')).toEqual({ status: 0, stdout: '', stderr: '' });
  expect(await run('--vm=vm', '--destroy')).toMatchObject({ status: 1 });
});
