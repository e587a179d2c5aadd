/** A kernel of our own that FreeBSD's loader would enter says what it was handed, from bhyveload's two commands as users run them. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { programForTests } from '../support/machine-program.ts';
import { scratchDirectory } from '../support/machine.ts';

const hasNasm = spawnSync('nasm', ['-v']).status === 0;
beforeEach((context) => {
  if (!hasNasm) context.skip('nasm is not installed');
});

/** One of the commands, as a user runs it. */
async function runProgram(
  name: string,
  words: readonly string[],
  env: NodeJS.ProcessEnv,
): Promise<{ status: number | null; stdout: string; stderr: string }> {
  const script = join(dirname(await programForTests()), `${name}.js`);
  const { status, stdout, stderr } = spawnSync(process.execPath, [script, ...words], {
    env,
    encoding: 'utf8',
    timeout: 60_000,
  });
  return { status, stdout, stderr };
}

test('bhyveload -h, then bhyve: metadata, modules, environment, registers', { timeout: 120_000 }, async () => {
  const scratch = scratchDirectory();
  try {
    const tree = join(scratch.path, 'tree');
    mkdirSync(join(tree, 'boot', 'kernel'), { recursive: true });
    const source = join(import.meta.dirname, 'asm', 'freebsd-kernel.asm');
    execFileSync('nasm', ['-f', 'bin', '-o', join(tree, 'boot', 'kernel', 'kernel'), source]);
    writeFileSync(join(tree, 'boot', 'loader.conf'), 'blob_load="YES"\nblob_type="md_image"\nblob_name="/boot/blob"\n');
    writeFileSync(join(tree, 'boot', 'blob'), 'x'.repeat(10_000));
    const environment = { ...process.env, WEBHYVE_RUNTIME_DIR: join(scratch.path, 'run') };
    const loadWords = ['-m', '256M', '-h', tree, '-e', 'a=b c%d'];
    expect(await runProgram('bhyveload', [...loadWords, 'fbsd'], environment)).toEqual({
      status: 0,
      stdout: '',
      stderr: '',
    });
    const words = ['-m', '256M', '-A', '-H', '-s', '0,hostbridge', '-s', '31,lpc', '-l', 'com1,stdio'];
    const run = await runProgram('bhyve', [...words, '-l', 'pc-testdev', 'fbsd'], environment);
    expect(run.stderr).toBe('');
    expect(run.status).toBe(1);
    const lines = run.stdout.split('\n');
    expect(lines.slice(0, 2)).toEqual(['/boot/kernel/kernel', 'elf kernel']);
    expect(lines).toContain('a=b c%d');
    expect(lines).toContain('smbios.bios.vendor=BHYVE');
    expect(lines.slice(-3)).toEqual(['/boot/blob', 'md_image', '']);
    // It is used up, as it is on FreeBSD after a run: the loader has to be run again.
    const again = await runProgram('bhyve', [...words, 'fbsd'], environment);
    expect(again.stderr).toContain('virtual machine cannot be booted');
    expect((await runProgram('bhyveload', ['-d', join(tree, 'boot', 'blob'), 'fbsd'], environment)).stderr).toContain(
      'no UFS2 or ISO 9660 file system',
    );
  } finally {
    scratch.remove();
  }
});
