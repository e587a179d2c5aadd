/**
 * `npm run bench`: boots the same Linux here and on QEMU's TCG, by turns, runs a few commands in it twice (cold: for the first time in that
 * guest; warm: again), and prints seconds, processor seconds of the whole process, ratios and their geometric means; then lets a guest idle. Ends
 * with status 1 when the ratio of the boots or an idle guest's cost is above its limit, or the two machines computed different things.
 */
import { availableParallelism, cpus } from 'node:os';
import { runMain, SetupError } from '../host-node/setup/common.mjs';
import { fetchGuest } from '../host-node/setup/fetch-guest.mjs';
import { qemuTcg, qemuVersion, webhyve } from './contestants.mjs';
import { measureDisks } from './disks.mjs';
import { GuestSession } from './guest-session.mjs';
import { measureIdle } from './idle.mjs';
import { PROCESSOR_KERNELS, SYSTEM_KERNELS, withKernels } from './kernels.mjs';
import { LEASE, NetworkPeer, networkWorkloads } from './network.mjs';
import { measureShare } from './share.mjs';
import { BenchTap, TAP_SETUP } from './tap.mjs';
import { WORKLOADS } from './workloads.mjs';

/** What can be measured alone. */
const PARTS = ['boot', 'cpu', 'kernels', 'network', 'disks', 'share'];
const USAGE = `usage: npm run bench -- [--runs N] [${PARTS.map((part) => `--${part}-only`).join(' | ')}]`;
const DEFAULT_RUNS = 3;
/** What the project promises: a boot takes at most this many times as long as on QEMU's TCG. */
const MAX_BOOT_RATIO = 8;
const BOOT_TIMEOUT_MS = 180_000;
const COMMAND_TIMEOUT_MS = 120_000;
const PROMPT = /\/ # /;
const BOOT = 'boot to the prompt';
/** The first run of a command in a fresh guest, and the second one. */
const TEMPERATURES = ['cold', 'warm'];

function parseArguments(args) {
  const options = { runs: DEFAULT_RUNS, only: undefined };
  const words = [...args];
  for (let word = words.shift(); word !== undefined; word = words.shift()) {
    const part = PARTS.find((name) => word === `--${name}-only`);
    if (part !== undefined && options.only === undefined) options.only = part;
    else if (word === '--runs') {
      options.runs = Number(words.shift());
      if (!Number.isInteger(options.runs) || options.runs < 1 || options.runs > 100) throw new SetupError(USAGE);
    } else throw new SetupError(USAGE);
  }
  return options;
}

/** Runs a command; resolves to its output, the seconds that it took, and the processor seconds of the machine's process. */
async function runMeasured(session, command) {
  const before = session.processorSeconds();
  const result = await session.run(command, COMMAND_TIMEOUT_MS);
  return { ...result, processorSeconds: session.processorSeconds() - before };
}

/** Boots to the prompt, runs the workloads cold and warm, ends the machine. Resolves to seconds and outputs by name. */
async function measure(contestant, workloads) {
  const session = new GuestSession(contestant);
  try {
    const { atMs } = await session.expect(PROMPT, BOOT_TIMEOUT_MS);
    const seconds = (atMs - session.startedMs) / 1000;
    const results = new Map([[BOOT, { seconds, processorSeconds: session.processorSeconds(), output: '' }]]);
    // No echo, and no message of the kernel in the middle of an output.
    await session.run('stty -echo; dmesg -n 1', COMMAND_TIMEOUT_MS);
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

/** Boots once more and lets the guest do nothing. True when its budgets were kept. */
async function idle(contestant) {
  const session = new GuestSession(contestant);
  try {
    await session.expect(PROMPT, BOOT_TIMEOUT_MS);
    await session.run('stty -echo; dmesg -n 1', COMMAND_TIMEOUT_MS);
    const { kept, lines } = await measureIdle(session);
    process.stdout.write(`${lines.join('\n')}\n`);
    return kept;
  } finally {
    await session.kill();
  }
}

const geometricMean = (values) => Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);

const median = (values) => {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
};

function printTable(rows) {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  for (const [number, row] of rows.entries()) {
    const cells = row.map((cell, column) => (column === 0 ? cell.padEnd(widths[0]) : cell.padStart(widths[column])));
    process.stdout.write(`| ${cells.join(' | ')} |\n`);
    if (number > 0) continue;
    const rules = widths.map((width, column) => (column === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`));
    process.stdout.write(`| ${rules.join(' | ')} |\n`);
  }
}

/** Every contestant's results, run by run. */
async function measureAll(contestants, workloads, runs) {
  const collected = new Map(contestants.map(({ name }) => [name, []]));
  for (let run = 1; run <= runs; run++) {
    for (const contestant of contestants) {
      const results = await measure(contestant, workloads);
      collected.get(contestant.name).push(results);
      const boot = results.get(BOOT).seconds;
      process.stderr.write(`run ${run} of ${runs}, ${contestant.name}: prompt after ${boot.toFixed(2)} s\n`);
    }
  }
  return collected;
}

/** Runs everything and prints the table. Resolves to the status of this command. */
async function compare(guest, groups, tap, runs) {
  const workloads = Object.values(groups).flat();
  const version = qemuVersion();
  const contestants = [webhyve(guest, tap?.name), ...(version === undefined ? [] : [qemuTcg(guest, tap?.name)])];
  process.stdout.write(`Linux ${guest.release ?? '(of your own)'}; Node ${process.versions.node}; `);
  process.stdout.write(
    `${version ?? 'no QEMU'}; ${availableParallelism()} x ${cpus()[0]?.model ?? 'unknown processor'}\n`,
  );

  const collected = await measureAll(contestants, workloads, runs);
  const value = (name, what, key) => median(collected.get(name).map((results) => results.get(what)[key]));
  const names = [
    BOOT,
    ...workloads.flatMap(({ name }) => TEMPERATURES.map((temperature) => `${name}, ${temperature}`)),
  ];
  const keys = ['seconds', 'processorSeconds'];
  const header = [
    'median seconds',
    ...contestants.flatMap(({ name }) => [name, 'processor']),
    ...(version === undefined ? [] : ['ratio', 'processor']),
  ];
  const ratioOf = (what, key) => value(contestants[0].name, what, key) / value(contestants[1].name, what, key);
  const rows = names.map((what) => [
    what,
    ...contestants.flatMap(({ name }) => keys.map((key) => value(name, what, key).toFixed(2))),
    ...(version === undefined ? [] : keys.map((key) => ratioOf(what, key).toFixed(2))),
  ]);
  if (version !== undefined) {
    for (const [group, members] of Object.entries(groups)) {
      for (const temperature of members.length > 0 ? TEMPERATURES : []) {
        const what = members.map(({ name }) => `${name}, ${temperature}`);
        const means = keys.map((key) => geometricMean(what.map((name) => ratioOf(name, key))).toFixed(2));
        rows.push([`geometric mean, ${group}, ${temperature}`, ...contestants.flatMap(() => ['', '']), ...means]);
      }
    }
  }
  process.stdout.write('\n');
  printTable([header, ...rows]);
  process.stdout.write('\n');

  let status = process.platform === 'linux' && !(await idle(contestants[0])) ? 1 : 0;
  for (const name of names.slice(1)) {
    const outputs = new Set([...collected.values()].flat().map((results) => results.get(name).output));
    if (outputs.size === 1) continue;
    process.stdout.write(`FAILED: "${name}" printed different things: ${JSON.stringify([...outputs])}\n`);
    status = 1;
  }
  if (version === undefined) {
    process.stdout.write(
      'SKIPPED: qemu-system-x86_64 is not installed (package qemu-system-x86): nothing to compare with\n',
    );
    return status;
  }
  const ratio = ratioOf(BOOT, 'seconds');
  const verdict = ratio <= MAX_BOOT_RATIO ? 'ok' : 'FAILED';
  process.stdout.write(`${verdict}: boot ratio ${ratio.toFixed(2)}, limit ${MAX_BOOT_RATIO}\n`);
  return ratio <= MAX_BOOT_RATIO ? status : 1;
}

await runMain(async (args) => {
  const { runs, only } = parseArguments(args);
  const wants = (part) => only === undefined || only === part;
  if (only === 'disks') {
    printTable(await measureDisks());
    return 0;
  }
  if (only === 'share') {
    printTable(await measureShare());
    return 0;
  }
  const tap = wants('network') ? BenchTap.open() : undefined;
  const peers = [];
  const workloads = async (network, address, guestAddress) => {
    const peer = await NetworkPeer.listen(address);
    peers.push(peer);
    return networkWorkloads(peer, network, guestAddress);
  };
  // The servers would keep this process alive after an error.
  try {
    const plain = await fetchGuest();
    const withProgram = wants('kernels') ? withKernels(plain) : undefined;
    if (wants('kernels') && !withProgram) {
      process.stdout.write('SKIPPED: the kernels: gcc is not installed (packages gcc and libc6-dev)\n');
    }
    const groups = {
      programs: wants('cpu') ? WORKLOADS : [],
      kernels: withProgram ? PROCESSOR_KERNELS : [],
      system: withProgram ? SYSTEM_KERNELS : [],
      network: [
        ...(wants('network') ? [LEASE, ...(await workloads('slirp', '127.0.0.1', '10.0.2.2'))] : []),
        ...(tap ? [TAP_SETUP, ...(await workloads('tap', tap.hostAddress, tap.hostAddress))] : []),
      ],
    };
    const status = await compare(withProgram ?? plain, groups, tap, runs);
    if (only !== undefined) return status;
    process.stdout.write('\n');
    printTable(await measureDisks());
    process.stdout.write('\n');
    printTable(await measureShare());
    return status;
  } finally {
    for (const peer of peers) peer.close();
    tap?.close();
  }
});
