/** docs/command-line.md: its table has every option, and each test that it names exists. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { notBuiltMessage, PCI_DEVICES } from '../../devices/catalog.ts';
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

/** Texts of the sources that hold a test's title: what a quotation mark begins. */
function hasTitle(source: string, title: string): boolean {
  return ["'", '"', '`'].some((mark) => source.includes(`${mark}${title}`));
}

test.each(rows)('the tests of -$options exist: $tests', ({ tests }) => {
  const named = [...tests.matchAll(/\b((?:unit|guest|core|browser|system)\/[\w-]+): "([^"]+)"/g)];
  expect(named.length).toBe(tests.split('"; ').length);
  for (const [, file = '', title = ''] of named) {
    const path = join(ROOT, 'tests', `${file}.test.ts`);
    expect(existsSync(path), path).toBe(true);
    expect(hasTitle(readFileSync(path, 'utf8'), title), `${file} has a test "${title}"`).toBe(true);
  }
});

/** Those of bhyve that end with a sentence, and names that stand for another device. */
const NOT_EMULATED = PCI_DEVICES.filter(({ name }) => notBuiltMessage(name) !== undefined).map(({ name }) => name);
const GUEST_TESTS = readdirSync(join(ROOT, 'tests/guest'))
  .filter((name) => name.endsWith('.test.ts'))
  .map((name) => readFileSync(join(ROOT, 'tests/guest', name), 'utf8'))
  .join('\n');

test.each(PCI_DEVICES.map(({ name }) => name).filter((name) => !NOT_EMULATED.includes(name)))(
  'a test in tests/guest has a machine with %s',
  (device) => {
    expect(GUEST_TESTS).toMatch(new RegExp(`\\d,${device}\\b(?!-)`));
  },
);
