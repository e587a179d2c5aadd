/**
 * `npm run bench`: boots the same Linux here and on QEMU's TCG, by turns, runs a few commands in it twice (cold: for the first time in that
 * guest; warm: again), and prints seconds, processor seconds of the whole process, ratios and their geometric means; then lets a guest idle. Ends
 * with status 1 when the ratio of the boots or an idle guest's cost is above its limit, or the two machines computed different things.
 */
import { availableParallelism, cpus } from 'node:os';
import { runMain, SetupError } from '../host-node/setup/common.mjs';
import { fetchGuest } from '../host-node/setup/fetch-guest.mjs';
import { compareMachines } from './comparison.mjs';
import { qemuTcg, qemuVersion, webhyve } from './contestants.mjs';
import { printCounters } from './counters.mjs';
import { DEBIAN_PROGRAMS, DEBIAN_SCENE, debianContestants, debianMissing } from './debian.mjs';
import { measureDisks } from './disks.mjs';
import { GuestSession } from './guest-session.mjs';
import { loadForLong } from './hour.mjs';
import { measureIdle } from './idle.mjs';
import { PROCESSOR_KERNELS, SYSTEM_KERNELS, withKernels } from './kernels.mjs';
import { LEASE, NetworkPeer, networkWorkloads } from './network.mjs';
import { measureShare } from './share.mjs';
import { printTable } from './table.mjs';
import { BenchTap, TAP_SETUP } from './tap.mjs';
import { WORKLOADS } from './workloads.mjs';

/** What can be measured alone. */
const PARTS = ['boot', 'cpu', 'kernels', 'debian', 'network', 'disks', 'share'];
const USAGE = `usage: npm run bench -- [--runs N] [${PARTS.map((part) => `--${part}-only`).join(' | ')} | --counters | --hour [MINUTES]]`;
const DEFAULT_RUNS = 3;
const HOUR_MINUTES = 60;
/** What the project promises: a boot takes at most this many times as long as on QEMU's TCG. */
const MAX_BOOT_RATIO = 8;
const BOOT_TIMEOUT_MS = 180_000;
const COMMAND_TIMEOUT_MS = 120_000;
const PROMPT = /\/ # /;
const BOOT = 'boot to the prompt';

function parseArguments(args) {
  const options = { runs: DEFAULT_RUNS, only: undefined };
  const words = [...args];
  for (let word = words.shift(); word !== undefined; word = words.shift()) {
    const part = PARTS.find((name) => word === `--${name}-only`);
    if (part !== undefined && options.only === undefined) options.only = part;
    else if (word === '--counters' && options.only === undefined) options.only = 'counters';
    else if (word === '--hour' && options.only === undefined) {
      options.only = 'hour';
      options.minutes = words.length > 0 ? Number(words.shift()) : HOUR_MINUTES;
      if (!(options.minutes > 0)) throw new SetupError(USAGE);
    } else if (word === '--runs') {
      options.runs = Number(words.shift());
      if (!Number.isInteger(options.runs) || options.runs < 1 || options.runs > 100) throw new SetupError(USAGE);
    } else throw new SetupError(USAGE);
  }
  return options;
}

/** Waits for the prompt of the small guest, and makes its shell quiet. */
async function login(session) {
  const { atMs } = await session.expect(PROMPT, BOOT_TIMEOUT_MS);
  const processorSeconds = session.processorSeconds();
  // No echo, and no message of the kernel in the middle of an output.
  await session.run('stty -echo; dmesg -n 1', COMMAND_TIMEOUT_MS);
  return { atMs, processorSeconds };
}

/** Boots once more and lets the guest do nothing. True when its budgets were kept. */
async function idle(contestant) {
  const session = new GuestSession(contestant);
  try {
    await login(session);
    const { kept, lines } = await measureIdle(session);
    process.stdout.write(`${lines.join('\n')}\n`);
    return kept;
  } finally {
    await session.kill();
  }
}

function printVersions(release, qemu) {
  const processor = `${availableParallelism()} x ${cpus()[0]?.model ?? 'unknown processor'}`;
  process.stdout.write(`Linux ${release}; Node ${process.versions.node}; ${qemu ?? 'no QEMU'}; ${processor}\n`);
  if (qemu !== undefined) return;
  process.stdout.write(
    'SKIPPED: qemu-system-x86_64 is not installed (package qemu-system-x86): nothing to compare with\n',
  );
}

/** Runs everything in the small guest and prints the table. Resolves to the status of this command. */
async function compareSmall(guest, groups, tap, runs) {
  const version = qemuVersion();
  const contestants = [webhyve(guest, tap?.name), ...(version === undefined ? [] : [qemuTcg(guest, tap?.name)])];
  printVersions(guest.release ?? '(of your own)', version);
  const { bootRatio, same } = await compareMachines(contestants, { boot: BOOT, login }, groups, runs);
  const kept = process.platform !== 'linux' || (await idle(contestants[0]));
  if (bootRatio === undefined) return same && kept ? 0 : 1;
  const verdict = bootRatio <= MAX_BOOT_RATIO ? 'ok' : 'FAILED';
  process.stdout.write(`${verdict}: boot ratio ${bootRatio.toFixed(2)}, limit ${MAX_BOOT_RATIO}\n`);
  return same && kept && bootRatio <= MAX_BOOT_RATIO ? 0 : 1;
}

/** True, after saying why, when no Debian can be made here. */
function withoutDebian() {
  const missing = debianMissing();
  if (missing !== undefined) process.stdout.write(`SKIPPED: Debian with systemd: ${missing}\n`);
  return missing !== undefined;
}

/** The same with a whole Debian. */
async function compareDebian(runs) {
  if (withoutDebian()) return 0;
  const version = qemuVersion();
  const contestants = debianContestants(version !== undefined);
  printVersions("Debian 12's", version);
  const { same } = await compareMachines(contestants, DEBIAN_SCENE, { debian: DEBIAN_PROGRAMS }, runs);
  return same ? 0 : 1;
}

await runMain(async (args) => {
  const { runs, only, minutes } = parseArguments(args);
  if (only === 'debian') return compareDebian(runs);
  if (only === 'counters' || only === 'hour') {
    if (withoutDebian()) return 0;
    const [contestant] = debianContestants(false);
    if (only === 'hour') return (await loadForLong(contestant, DEBIAN_SCENE, DEBIAN_PROGRAMS, minutes)) ? 0 : 1;
    await printCounters(contestant, DEBIAN_SCENE, DEBIAN_PROGRAMS);
    return 0;
  }
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
    const status = await compareSmall(withProgram ?? plain, groups, tap, runs);
    if (only !== undefined) return status;
    process.stdout.write('\n');
    const debianStatus = await compareDebian(runs);
    process.stdout.write('\n');
    printTable(await measureDisks());
    process.stdout.write('\n');
    printTable(await measureShare());
    return Math.max(status, debianStatus);
  } finally {
    for (const peer of peers) peer.close();
    tap?.close();
  }
});
