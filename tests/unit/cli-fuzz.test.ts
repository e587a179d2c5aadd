import { expect, it } from 'vitest';
import { BhyveExit, parseCommandLine, PCI_DEVICES, pciFunctions } from '../../devices/config/index.ts';

/** A small generator with a fixed seed (Marsaglia's xorshift32), so that a failure can be repeated. */
function randomNumbers(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % limit;
  };
}

const PIECES = [
  ...PCI_DEVICES.map(({ name }) => name),
  ...[
    'hd:',
    'cd:',
    '/img',
    'path',
    'ro',
    'ram=',
    'port.0',
    'slot',
    'tablet',
    'name',
    'lpc',
    'com1',
    'bootrom',
    'pci.0.3.0',
  ],
  ...[
    'device',
    'memory.size',
    'cpus',
    'domains.0',
    'true',
    '%(name)',
    '%(',
    '%',
    '\\',
    '=',
    ',',
    ',',
    ':',
    '.',
    '/',
    '-',
  ],
  ...['0', '1', '3', '31', '32', '0x10', '99999999999999999999', '-1', 'G', '', ' ', '\n', '\u0000', 'é', '__proto__'],
];
const OPTIONS = ['-A', '-c', '-f', '-G', '-H', '-k', '-l', '-m', '-n', '-o', '-p', '-s', '-U', '-r', '-z', '--', '-'];

it('ends every command line with a machine or with a status and a text', () => {
  const random = randomNumbers(0x5eed);
  const pick = <T>(items: readonly T[]): T => items[random(items.length)] as T;
  const text = (): string => Array.from({ length: random(8) }, () => pick(PIECES)).join('');
  const statuses = new Map<number, number>();
  for (let round = 0; round < 20_000; round++) {
    const argv: string[] = [];
    for (let count = random(4); count > 0; count--) {
      // Half of the slots are well formed, so that what follows them is reached.
      const option = pick(OPTIONS);
      argv.push(option);
      if (option === '-s' && random(2) === 0) argv.push(`${random(32)},${pick(PCI_DEVICES).name},${text()}`);
      else if (option !== '-A' && option !== '-H') argv.push(text());
    }
    argv.push('vm');
    let status = -1;
    try {
      const readTextFile = (): string => `${text()}\n${text()}=${text()}`;
      const { tree } = parseCommandLine(argv, { programName: 'bhyve', readTextFile });
      pciFunctions(tree);
    } catch (error) {
      if (!(error instanceof BhyveExit))
        throw new Error(`${JSON.stringify(argv)} threw ${String(error)}`, { cause: error });
      expect(error.stderrText + error.stdoutText).toMatch(/\n$/);
      status = error.status;
    }
    statuses.set(status, (statuses.get(status) ?? 0) + 1);
  }
  // All ways out were taken, or the pieces no longer reach the parser.
  expect([...statuses.keys()].sort((a, b) => a - b)).toEqual([-1, 0, 1, 4, 64]);
  expect(statuses.get(-1)).toBeGreaterThan(1000);
});
