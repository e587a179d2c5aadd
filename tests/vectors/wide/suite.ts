/** The tests of groups of wide vectors. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import { compileCore } from '../../support/compile-core.ts';
import { MINIMUM_VECTORS } from '../forms.ts';
import type { FormResult } from '../replayer.ts';
import { TIERS } from '../tiers.ts';
import type { WideForm } from './form.ts';
import { WideReplayer } from './replayer.ts';
import { SIMD_GROUPS, simdGroups } from './groups.ts';
import { loadDescribe } from './describe.ts';

/** VECTOR_DATA in the environment names another directory, for trials. */
export const VECTOR_DATA = process.env.VECTOR_DATA ?? fileURLToPath(new URL('../data', import.meta.url));

/** Forms whose name contains this are run, and more of their mismatches shown; unset, all. */
const wanted = process.env.VECTORS;

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

/** Declares a test for each group: every form has vectors, and the core does with all of them what the processor did. */
export function testGroups(
  title: string,
  names: readonly string[],
  load: () => Promise<Map<string, WideForm[]>>,
): void {
  describe.each(TIERS)(`${title}, %s`, (tier) => {
    let replayer: WideReplayer;
    let groups: Map<string, WideForm[]>;
    beforeAll(async () => {
      groups = await load();
      replayer = new WideReplayer(await compileCore(), tier === 'compiled');
    }, 300_000);

    it.each(names.map((name) => [name]))(
      '%s: every form behaves as the processor did',
      { timeout: 120_000 },
      (name) => {
        const forms = new Map(groups.get(name)?.map((form) => [form.id, form]));
        expect(forms.size).toBeGreaterThanOrEqual(8);
        const results = replayer.replay(
          readFileSync(join(VECTOR_DATA, `wide-${name}.bin`)),
          (id) => (wanted === undefined || id.includes(wanted) ? forms.get(id)?.rule : undefined),
          wanted === undefined ? 2 : 20,
        );
        if (wanted === undefined) {
          const enough = results.filter((result) => result.vectors >= MINIMUM_VECTORS).map((result) => result.id);
          expect(enough.sort(), 'forms with enough vectors').toEqual([...forms.keys()].sort());
        }
        const text = report(results);
        expect(text, text).toBe('');
      },
    );
  });
}

/** Groups of SIMD forms of one encoding: legacy, vex128 or vex256. */
export function testSimdGroups(encoding: string): void {
  const names = SIMD_GROUPS.filter((name) => name.startsWith(`simd-${encoding}-`));
  testGroups(`SIMD instructions, ${encoding}`, names, async () => simdGroups(await loadDescribe()));
}
