import { expect, it } from 'vitest';
import { BhyveExit, parseCommandLine, pciFunctions } from '../../devices/config/index.ts';
import { mutatedCommandLine, UNINTENDED } from '../support/command-line-fuzz.ts';
import { FakeRandom } from '../support/fake-random.ts';

const ROUNDS = 100_000;

it('ends every command line with a machine or with a status and a text', () => {
  const random = new FakeRandom(0x5eed);
  const statuses = new Map<number, number>();
  for (let round = 0; round < ROUNDS; round++) {
    const argv = mutatedCommandLine(random);
    const fail = (what: string, cause?: unknown): Error =>
      new Error(`round ${round}: ${JSON.stringify(argv)} ${what}`, { cause });
    let status = -1;
    let output = '';
    try {
      // A configuration file: words of another line as its lines.
      const readTextFile = (): string => mutatedCommandLine(random).join('\n').replaceAll(',', '=');
      const { tree, warnings } = parseCommandLine(argv, { programName: 'bhyve', readTextFile });
      pciFunctions(tree);
      output = warnings.join('\n');
    } catch (error) {
      if (!(error instanceof BhyveExit)) throw fail(`threw ${String(error)}`, error);
      output = error.stderrText + error.stdoutText;
      if (!output.endsWith('\n')) throw fail(`printed ${JSON.stringify(output)}`);
      status = error.status;
    }
    // The user's own words come back in messages; none of those in the lines is unintended.
    if (UNINTENDED.test(output)) throw fail(`printed ${JSON.stringify(output)}`);
    statuses.set(status, (statuses.get(status) ?? 0) + 1);
  }
  // All ways out were taken, or the lines no longer reach the parser.
  expect([...statuses.keys()].sort((a, b) => a - b)).toEqual([-1, 0, 1, 4, 64]);
  for (const count of statuses.values()) expect(count).toBeGreaterThan(ROUNDS / 200);
}, 120_000);
