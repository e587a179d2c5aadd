/**
 * Single instructions with any prefixes, legal and illegal, REX and VEX bits, ModRM and place at the end of a page, as a real processor took them
 * (tests/vectors/decorated): whether they are #UD, how long they are and what they do. DECORATED=number in the environment replays so many.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { compileCore } from '../support/compile-core.ts';
import { DecoratedMachine } from '../vectors/decorated/case.ts';
import { decorate } from '../vectors/decorated/generate.ts';
import { NOT_COMPARED, RECORDED_SEED, decodeRecorded } from '../vectors/decorated/recorded.ts';
import { isPeculiar } from '../vectors/decorated/rules.ts';
import { TIERS } from '../vectors/tiers.ts';

/** Compiling each instruction takes longer than running it. */
const COMPILED_COUNT = 6000;

describe.each(TIERS)('decorated instructions, %s', (tier) => {
  let machine: DecoratedMachine;
  beforeAll(async () => {
    machine = new DecoratedMachine(await compileCore(), tier === 'compiled');
  }, 300_000);

  test('are what a processor took them for', { timeout: 300_000 }, () => {
    const file = readFileSync(join(import.meta.dirname, '../vectors/decorated/recorded.bin'));
    const { outcomes, digests } = decodeRecorded(file);
    const most = tier === 'compiled' ? COMPILED_COUNT : outcomes.length;
    const count = Math.min(Number(process.env.DECORATED ?? most), outcomes.length);
    const wrong: string[] = [];
    let compared = 0;
    for (let number = 0; number < count; number++) {
      const instruction = decorate(RECORDED_SEED, number);
      if (outcomes[number] === NOT_COMPARED || isPeculiar(instruction)) continue;
      compared++;
      const { code } = machine.run(RECORDED_SEED, number, instruction);
      const { results } = machine;
      if (results.outcome === outcomes[number] && results.digest() === digests[number]) continue;
      wrong.push(`${number} ${Buffer.from(code).toString('hex')}: ${results.outcome} instead of ${outcomes[number]}`);
    }
    expect(wrong.slice(0, 20)).toEqual([]);
    expect(compared).toBeGreaterThan(count * 0.95);
  });
});
