/**
 * The integer instruction set against a real processor: every vector of tests/vectors/data is run on the core, and registers, flags, memory,
 * faults and error codes are compared.
 *
 * VECTORS=text in the environment runs only the forms whose name contains the text, and shows more of their mismatches; TIER=interpreted or
 * TIER=compiled runs them in one tier only.
 */
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import { compileCore } from '../support/compile-core.ts';
import { type Form, MINIMUM_VECTORS, formsByGroup } from '../vectors/forms.ts';
import { TIERS } from '../vectors/tiers.ts';
import { type FormResult, Replayer } from '../vectors/replayer.ts';

const data = fileURLToPath(new URL('../vectors/data', import.meta.url));
const wanted = process.env.VECTORS;
const groups = formsByGroup();

function report(results: readonly FormResult[]): string {
  const failed = results.filter((result) => result.mismatches > 0);
  const lines = failed
    .slice(0, 60)
    .flatMap((result) => [
      `${result.id}: ${result.mismatches} of ${result.vectors} vectors differ`,
      ...result.examples.map(({ ordinal, text }) => `    #${ordinal} ${text}`),
    ]);
  if (failed.length > 60) lines.push(`... and ${failed.length - 60} more forms`);
  return lines.join('\n');
}

describe.each(TIERS)('integer instructions, %s', (tier) => {
  let replayer: Replayer;
  beforeAll(async () => {
    replayer = new Replayer(await compileCore(), tier === 'compiled');
  }, 300_000);

  it('has a file of vectors for each group and no other', () => {
    const files = readdirSync(data).filter((name) => name.startsWith('integer-'));
    expect(files.sort()).toEqual([...groups.keys()].map((group) => `integer-${group}.bin`).sort());
  });

  for (const [group, forms] of groups) {
    it(`${group}: ${forms.length} forms behave as the processor did`, { timeout: 120_000 }, () => {
      const byId = new Map<string, Form>(forms.map((form) => [form.id, form]));
      const file = readFileSync(join(data, `integer-${group}.bin`));
      const results = replayer.replay(
        file,
        (id) => (wanted === undefined || id.includes(wanted) ? byId.get(id) : undefined),
        wanted === undefined ? 2 : 20,
      );
      if (wanted === undefined) {
        const enough = results.filter((result) => result.vectors >= MINIMUM_VECTORS).map((result) => result.id);
        expect(enough.sort(), 'forms with enough vectors').toEqual([...byId.keys()].sort());
      }
      const text = report(results);
      expect(text, text).toBe('');
    });
  }
});
