/**
 * `npm run bench -- --counters`: what webhyve's counters say of each program of the Debian set, cold and warm: instructions, how many of them were interpreted, regions that were compiled
 * and the time that took the vCPU's thread, why regions were left, and the instructions that helpers ran most often.
 */
import { readCounters } from './counter-reading.mjs';
import { GuestSession } from './guest-session.mjs';
import { printTable } from './table.mjs';

const COMMAND_TIMEOUT_MS = 240_000;
const HELPERS_SHOWN = 5;
const HELPER = 'jit helper runs: ';
const MILLION = 1e6;

const millions = (count) => (count / MILLION).toFixed(count < 10 * MILLION ? 2 : 0);

/** One line of the table: what was counted between two readings. */
function describe(what, before, after, processorSeconds) {
  const grown = (name) => (after.get(name) ?? 0) - (before.get(name) ?? 0);
  const helpers = [...after.keys()].filter((name) => name.startsWith(HELPER)).map((name) => [name, grown(name)]);
  const runs = helpers.reduce((sum, [, count]) => sum + count, 0);
  const most = helpers.toSorted(([, a], [, b]) => b - a).filter(([, count]) => count * 100 > runs);
  return [
    what,
    processorSeconds.toFixed(2),
    millions(grown('instructions retired')),
    millions(grown('instructions retired') - grown('jit instructions in regions')),
    grown('jit regions').toFixed(0),
    (grown('jit bytes of WebAssembly') / 1000).toFixed(0),
    (grown('jit compile time (ns)') / MILLION).toFixed(0),
    millions(grown('jit regions left to a known address')),
    millions(grown('jit regions left to an address in a register')),
    millions(grown('jit regions left aside')),
    millions(grown('jit regions left with an exception')),
    millions(runs),
    most
      .slice(0, HELPERS_SHOWN)
      .map(([name, count]) => `${name.slice(HELPER.length)} ${millions(count)}`)
      .join(', '),
  ];
}

const HEADER = [
  ...[
    '',
    'processor s',
    'M instr.',
    'interpreted',
    'regions',
    'KB',
    'ms',
    'M known',
    'M register',
    'M aside',
    'M faults',
  ],
  ...['M helpers', 'of them'],
];

/** Boots webhyve alone and prints the table. */
export async function printCounters(contestant, scene, programs) {
  const vm = contestant.args.at(-1);
  const session = new GuestSession(contestant);
  try {
    await scene.login(session);
    let before = readCounters(vm);
    const rows = [describe(scene.boot, new Map(), before, session.processorSeconds())];
    for (const { name, command } of programs) {
      for (const temperature of ['cold', 'warm']) {
        const from = session.processorSeconds();
        await session.run(command, COMMAND_TIMEOUT_MS);
        const used = session.processorSeconds() - from;
        const after = readCounters(vm);
        rows.push(describe(`${name}, ${temperature}`, before, after, used));
        before = after;
      }
    }
    printTable([HEADER, ...rows]);
  } finally {
    await session.kill();
  }
}
