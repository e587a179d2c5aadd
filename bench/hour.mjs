/**
 * `npm run bench -- --hour [MINUTES]`: the Debian set's programs in turn on webhyve, and programs that are made, run and thrown away, so that code dies and
 * is born all the time. Prints once a minute what the process holds and fails when that is too much, or grows in the second half.
 */
import { readFileSync } from 'node:fs';
import { readCounters } from './counter-reading.mjs';
import { GuestSession } from './guest-session.mjs';
import { extraOf, judge } from './held-memory.mjs';
import { printTable } from './table.mjs';

const MIB = 1 << 20;
const KIB = 1 << 10;
const MINUTE_MS = 60_000;
const COMMAND_TIMEOUT_MS = 600_000;
/** A program that nobody has run before, and the cache of the guest's files emptied: their pages become other files' code. */
const passing = (round) =>
  `echo 'int main(void) { unsigned long s = ${round}; for (unsigned long i = 0; i < 20000000; i++) s = s * ${2 * round + 5} + i; return !s; }' > /tmp/${round}.c; ` +
  `gcc -O1 -o /tmp/${round} /tmp/${round}.c && /tmp/${round}; rm /tmp/${round} /tmp/${round}.c; sync; echo 3 > /proc/sys/vm/drop_caches`;

/** What the process holds now. */
function sample(session, vm, startedMs, commands) {
  const status = readFileSync(`/proc/${session.pid}/status`, 'utf8');
  const counters = readCounters(vm);
  return {
    minutes: (performance.now() - startedMs) / MINUTE_MS,
    commands,
    residentMib: (Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)[1]) * KIB) / MIB,
    touchedMib: counters.get('Resident memory') / MIB,
    mappings: readFileSync(`/proc/${session.pid}/maps`, 'latin1').split('\n').length - 1,
    regions: counters.get('jit regions'),
    modules: counters.get('jit modules'),
    processorSeconds: session.processorSeconds(),
  };
}

const HEADER = [
  ...['minute', 'commands', 'processor s', 'RSS MiB', 'touched MiB', 'beyond it', 'mappings'],
  ...['regions so far', 'modules'],
];

const rowOf = (one) => [
  one.minutes.toFixed(1),
  `${one.commands}`,
  one.processorSeconds.toFixed(0),
  one.residentMib.toFixed(0),
  one.touchedMib.toFixed(0),
  extraOf(one).toFixed(0),
  `${one.mappings}`,
  `${one.regions}`,
  `${one.modules}`,
];

/** Runs the load for so many minutes. Resolves to whether the limits were kept. */
export async function loadForLong(contestant, scene, programs, minutes) {
  const vm = contestant.args.at(-1);
  const session = new GuestSession(contestant);
  try {
    await scene.login(session);
    const startedMs = performance.now();
    const samples = [sample(session, vm, startedMs, 0)];
    process.stderr.write(`${HEADER.join('; ')}\n${rowOf(samples[0]).join('; ')}\n`);
    const outputs = new Map();
    for (let command = 0; performance.now() - startedMs < minutes * MINUTE_MS; command++) {
      const turn = command % (programs.length + 1);
      if (turn === programs.length) await session.run(passing(command), COMMAND_TIMEOUT_MS);
      else {
        const { name, command: line } = programs[turn];
        const { output } = await session.run(line, COMMAND_TIMEOUT_MS);
        if (output !== (outputs.get(name) ?? output)) throw new Error(`"${name}" printed ${output}, not as before`);
        outputs.set(name, output);
      }
      if (performance.now() - startedMs < samples.length * MINUTE_MS) continue;
      samples.push(sample(session, vm, startedMs, command + 1));
      process.stderr.write(`${rowOf(samples.at(-1)).join('; ')}\n`);
    }
    printTable([HEADER, ...samples.map(rowOf)]);
    const { kept, lines } = judge(samples);
    process.stdout.write(`${lines.join('\n')}\n`);
    return kept;
  } finally {
    await session.kill();
  }
}
