import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { parseCommandLine, pciFunctions } from '../../devices/config/index.ts';
import { bhyveArguments, parseStartArguments } from '../../host-node/setup/start.mjs';

describe('npm start', () => {
  it.each([
    [[], { dryRun: false, bhyve: [] }],
    [['--kernel', 'k', '--initrd=i'], { dryRun: false, bhyve: [], kernel: 'k', initrd: 'i' }],
    [['-c', '2', '--append', 'a b', '-S'], { dryRun: false, bhyve: ['-c', '2', '-S'], append: 'a b' }],
    [['--dry-run', '--append=x=y'], { dryRun: true, bhyve: [], append: 'x=y' }],
  ])('reads %j', (args, expected) => {
    expect(parseStartArguments(args)).toEqual(expected);
  });

  it('explains itself', () => {
    expect(() => parseStartArguments(['--kernel'])).toThrow('--kernel needs an argument; usage: npm start -- ');
    expect(() => parseStartArguments(['--help'])).toThrow('usage: npm start -- ');
  });

  it('builds a command line that bhyve takes, to which words can be added', () => {
    const args = bhyveArguments({
      kernel: '/k',
      initrd: '/i',
      append: 'a=b,c',
      extra: ['-c', '2', '-s', '3,virtio-blk,/disk'],
    });
    const { settings, tree, warnings } = parseCommandLine(args, { programName: 'bhyve', readTextFile: () => '' });
    expect(warnings).toEqual([]);
    expect(settings.name).toBe('webhyve-demo');
    expect(settings.topology.cpus).toBe(2);
    expect(settings.memoryBytes).toBe(512 << 20);
    expect(settings.flags).toMatchObject({ acpiTables: true, rtcUseLocalTime: false, vmexitOnHlt: true });
    expect(settings.lpc.com[0]).toBe('stdio');
    expect(settings.loader).toMatchObject({ kernel: '/k', initrd: '/i' });
    expect(settings.loader.cmdline).toMatch(/^console=ttyS0 .* a=b,c$/);
    expect(pciFunctions(tree).map(({ device }) => device)).toEqual(['hostbridge', 'virtio-blk', 'lpc']);
  });

  it('boots a kernel without an initrd', () => {
    const args = bhyveArguments({ kernel: '/k', initrd: undefined, append: undefined, extra: [] });
    const { settings } = parseCommandLine(args, { programName: 'bhyve', readTextFile: () => '' });
    expect(settings.loader.initrd).toBeUndefined();
  });
});

it('an unknown job of bootstrap.mjs ends with one line', () => {
  const script = fileURLToPath(new URL('../../host-node/setup/bootstrap.mjs', import.meta.url));
  const { status, stderr, stdout } = spawnSync(process.execPath, [script, 'constructor']);
  expect(stderr.toString()).toBe('webhyve: usage: bootstrap.mjs start|web|test|bench [arguments]\n');
  expect([status, stdout.toString()]).toEqual([1, '']);
});
