/**
 * The same guest on several machines, by turns: how long its boot takes, and how long commands take in it, each cold (for the first time in that
 * guest) and warm (again). Seconds, processor seconds of the whole process, ratios of the first two machines and their geometric means.
 */
import { GuestSession } from './guest-session.mjs';
import { geometricMean, median, printTable } from './table.mjs';

const COMMAND_TIMEOUT_MS = 240_000;
const TEMPERATURES = ['cold', 'warm'];
const KEYS = ['seconds', 'processorSeconds'];

/** Runs a command; resolves to its output, the seconds that it took, and the processor seconds of the machine's process. */
async function runMeasured(session, command) {
  const before = session.processorSeconds();
  const result = await session.run(command, COMMAND_TIMEOUT_MS);
  return { ...result, processorSeconds: session.processorSeconds() - before };
}

/**
 * Boots, runs the workloads cold and warm, ends the machine. Resolves to seconds and outputs by name. `scene.login` waits until the guest is up and gets
 * a shell that neither echoes nor prompts; it resolves to the time at which the boot was over and the processor seconds of the process until then.
 */
async function measure(contestant, scene, workloads) {
  const session = new GuestSession(contestant);
  try {
    const { atMs, processorSeconds } = await scene.login(session);
    const boot = { seconds: (atMs - session.startedMs) / 1000, processorSeconds, output: '' };
    const results = new Map([[scene.boot, boot]]);
    for (const { name, command } of workloads) {
      for (const temperature of TEMPERATURES) {
        results.set(`${name}, ${temperature}`, await runMeasured(session, command));
      }
    }
    return results;
  } finally {
    await session.kill();
  }
}

/** Every contestant's results, run by run. */
async function measureAll(contestants, scene, workloads, runs) {
  const collected = new Map(contestants.map(({ name }) => [name, []]));
  for (let run = 1; run <= runs; run++) {
    for (const contestant of contestants) {
      const results = await measure(contestant, scene, workloads);
      collected.get(contestant.name).push(results);
      const boot = results.get(scene.boot).seconds;
      process.stderr.write(`run ${run} of ${runs}, ${contestant.name}: ${scene.boot} ${boot.toFixed(2)} s\n`);
    }
  }
  return collected;
}

/**
 * Measures and prints the table. `scene.boot` is what the boot is called, `groups` are workloads by the group's name; each group has means of its
 * own. Resolves to the ratio of the boots (undefined with one contestant) and whether all printed the same.
 */
export async function compareMachines(contestants, scene, groups, runs) {
  const workloads = Object.values(groups).flat();
  const collected = await measureAll(contestants, scene, workloads, runs);
  const compared = contestants.length > 1;
  const value = (name, what, key) => median(collected.get(name).map((results) => results.get(what)[key]));
  const ratioOf = (what, key) => value(contestants[0].name, what, key) / value(contestants[1].name, what, key);
  const named = (members, temperature) => members.map(({ name }) => `${name}, ${temperature}`);
  const names = workloads.flatMap((workload) => TEMPERATURES.flatMap((temperature) => named([workload], temperature)));
  const header = [
    'median seconds',
    ...contestants.flatMap(({ name }) => [name, 'processor']),
    ...(compared ? ['ratio', 'processor'] : []),
  ];
  const rows = [scene.boot, ...names].map((what) => [
    what,
    ...contestants.flatMap(({ name }) => KEYS.map((key) => value(name, what, key).toFixed(2))),
    ...(compared ? KEYS.map((key) => ratioOf(what, key).toFixed(2)) : []),
  ]);
  for (const [group, members] of Object.entries(compared ? groups : {})) {
    for (const temperature of members.length > 0 ? TEMPERATURES : []) {
      const ratios = KEYS.map((key) => named(members, temperature).map((what) => ratioOf(what, key)));
      const means = ratios.map((values) => geometricMean(values).toFixed(2));
      rows.push([`geometric mean, ${group}, ${temperature}`, ...contestants.flatMap(() => ['', '']), ...means]);
    }
  }
  process.stdout.write('\n');
  printTable([header, ...rows]);
  process.stdout.write('\n');
  let same = true;
  for (const name of names) {
    const outputs = new Set([...collected.values()].flat().map((results) => results.get(name).output));
    if (outputs.size === 1) continue;
    process.stdout.write(`FAILED: "${name}" printed different things: ${JSON.stringify([...outputs])}\n`);
    same = false;
  }
  return { bootRatio: compared ? ratioOf(scene.boot, 'seconds') : undefined, same };
}
