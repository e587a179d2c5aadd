/** The rules of `npm run check` find what they are for: a file that breaks each one is refused. */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';

const ROOT = join(import.meta.dirname, '../..');

/** What the import check says of a repository with these files. */
function importProblems(files: Readonly<Record<string, string>>): string {
  const folder = mkdtempSync(join(tmpdir(), 'webhyve-rules-'));
  try {
    mkdirSync(join(folder, 'tests/lint'), { recursive: true });
    cpSync(join(ROOT, 'tests/lint/imports.mjs'), join(folder, 'tests/lint/imports.mjs'));
    symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(dirname(join(folder, path)), { recursive: true });
      writeFileSync(join(folder, path), text);
    }
    const { stderr } = spawnSync(process.execPath, ['tests/lint/imports.mjs'], { cwd: folder, encoding: 'utf8' });
    return stderr;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test.each([
  ['a node: import in devices/', { 'devices/a.ts': "import 'node:fs';" }, 'devices/a.ts imports node:fs'],
  [
    'a host that devices/ knows',
    { 'devices/a.ts': "export * from '../host-node/b.ts';", 'host-node/b.ts': 'export {};' },
    'devices/a.ts imports host-node/b.ts',
  ],
  [
    'a host in the other host',
    { 'host-browser/a.ts': "await import('../host-node/b.ts');", 'host-node/b.ts': 'export {};' },
    'host-browser/a.ts imports host-node/b.ts',
  ],
  [
    'a cycle',
    { 'core-as/a.ts': "import { b } from './b';", 'core-as/b.ts': "import { a } from './a';" },
    'import cycle: core-as/a.ts, core-as/b.ts',
  ],
])('%s', (_, files, problem) => {
  expect(importProblems(files).trim()).toBe(problem);
});

test('types alone make no cycle', () => {
  const files = { 'devices/a.ts': "import type { B } from './b.ts';", 'devices/b.ts': "import { A } from './a.ts';" };
  expect(importProblems(files)).toBe('');
});
