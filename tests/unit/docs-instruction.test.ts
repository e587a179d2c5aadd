/** docs/adding-an-instruction.md: every line that it shows stands in the file that it names. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';

const ROOT = join(import.meta.dirname, '../..');
const PAGE = readFileSync(join(ROOT, 'docs/adding-an-instruction.md'), 'utf8');
const SNIPPET = /```ts\n *\/\/ (\S+)\n(.*?)\n *```/gs;

const snippets = [...PAGE.matchAll(SNIPPET)].map(([, file = '', text = '']) => ({ file, text }));

test('the page shows every place', () => {
  expect(snippets.length).toBeGreaterThanOrEqual(6);
});

test.each(snippets)('$file', ({ file, text }) => {
  const lines = readFileSync(join(ROOT, file), 'utf8')
    .split('\n')
    .map((line) => line.trim());
  for (const line of text.split('\n')) expect(lines).toContain(line.trim());
});
