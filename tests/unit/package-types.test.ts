/** The declarations that the package ships, read by the compiler of a program without any DOM or test library. */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { copyFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { spawnSync } from 'node:child_process';
import { afterAll, beforeAll, expect, test } from 'vitest';

const root = new URL('../..', import.meta.url).pathname;
let directory: string;

function compile(...options: string[]): string {
  const tsc = join(root, 'node_modules/typescript/bin/tsc');
  const { stdout } = spawnSync(process.execPath, [tsc, ...options], { cwd: directory, encoding: 'utf8' });
  return stdout;
}

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'webhyve-types-'));
  const installed = join(directory, 'node_modules/webhyve');
  mkdirSync(installed, { recursive: true });
  await copyFile(join(root, 'package.json'), join(installed, 'package.json'));
  for (const name of ['@types', 'undici-types', 'vitest']) {
    symlinkSync(join(root, 'node_modules', name), join(directory, 'node_modules', name));
  }
  const types = ['-p', join(root, 'host-node/tsconfig.types.json'), '--outDir', join(installed, 'dist/types')];
  expect(compile(...types)).toBe('');
}, 120_000);
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const STRICT = ['--strict', '--module', 'nodenext', '--target', 'es2022', '--types', 'node', '--noEmit'];
const WITHOUT_DOM = ['--lib', 'es2022,esnext.disposable'];

test('a program', { timeout: 120_000 }, () => {
  const program = `
    import { BhyveExit, Machine, MachineError, type BhyveConfig, type Console, type HostOptions } from 'webhyve';
    const options: HostOptions = { timeLimit: 1000, deterministic: { seed: 1, insnsPerSecond: 100 } };
    const config: BhyveConfig = { name: 'vm', 'memory.size': '1G' };
    await using other = await Machine.create(config, options);
    await using vm: Machine = await Machine.fromArgs(['-m', '1G', 'vm'], options);
    vm.start();
    const com1: Console | undefined = vm.consoles['com1'];
    const { groups } = (await com1?.expect(/login: (x)/, { timeout: 10 })) ?? { groups: [] };
    const reason: 'reset' | 'poweroff' | 'halt' | 'triplefault' | 'error' | 'exit' | 'destroyed' = (await vm.exited).reason;
    const rip: bigint = vm.registers(0).rip;
    console.log(groups, reason, rip, other.name, BhyveExit, MachineError);
    // @ts-expect-error -- the words are a list
    await Machine.fromArgs('-m 1G vm');
  `;
  writeFileSync(join(directory, 'package.json'), '{ "type": "module" }');
  writeFileSync(join(directory, 'program.ts'), program);
  expect(compile(...STRICT, ...WITHOUT_DOM, 'program.ts')).toBe('');
  expect(compile(...STRICT, '--lib', 'es2022,esnext.disposable,dom', 'program.ts')).toBe('');
});
