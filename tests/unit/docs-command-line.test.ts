/** docs/command-line.md: its table has every option, and each test that it names exists. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { COMMAND_LINE_OPTIONS } from '../../devices/config/usage.ts';

const ROOT = join(import.meta.dirname, '../..');
const [, table = ''] = readFileSync(join(ROOT, 'docs/command-line.md'), 'utf8').split('| what is seen ');
const rows = [...table.matchAll(/^\| ((?:`-\w`(?:, )?)+) +\| (.+?) +\| (.+?) +\|$/gm)].map(
  ([, options = '', seen = '', tests = '']) => ({
    options: [...options.matchAll(/-(\w)/g)].map(([, o]) => o),
    seen,
    tests,
  }),
);

/** Options of later versions, which the usage text of the manual's does not have. */
const LATER_OPTIONS = ['M', 'n'];

test('every option has a row', () => {
  expect(rows.flatMap(({ options }) => options).toSorted()).toEqual(
    [...COMMAND_LINE_OPTIONS.map(([option]) => option), ...LATER_OPTIONS].toSorted(),
  );
});

test.each(rows)('the tests of -$options exist: $tests', ({ tests }) => {
  const names = [...tests.matchAll(/\b(?:unit|guest|core|browser|system)\/[\w-]*/g)].map(([name]) => name);
  expect(names).not.toEqual([]);
  for (const name of names) {
    const file = join(ROOT, 'tests', name.endsWith('/') ? name : `${name}.test.ts`);
    expect(existsSync(file), file).toBe(true);
  }
});
