/**
 * Shared folders here and on QEMU's TCG: the same folder of the host, mounted by Linux over virtio-9p with the same options and without a cache
 * of the guest's, so that every read and write is a request. The table has MiB or operations in a second, and how many times QEMU's that is.
 */
import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fetchGuest } from '../host-node/setup/fetch-guest.mjs';
import { qemuTcg, qemuVersion, webhyve } from './contestants.mjs';
import { GuestSession } from './guest-session.mjs';

const BOOT_TIMEOUT_MS = 180_000;
const COMMAND_TIMEOUT_MS = 120_000;
const PROMPT = /\/ # /;
const MIB = 128;
const BLOCKS = 4000;
const FILES = 400;
const ROUNDS = 3;
const MOUNT = 'mount -t 9p -o trans=virtio,version=9p2000.L,msize=500000,cache=none share /mnt';

/** Shell lines, how many MiB or operations each is, and what puts things in order before it, unmeasured. */
const JOBS = [
  { name: 'read 1 MiB', unit: 'MiB/s', amount: MIB, command: 'dd if=/mnt/big of=/dev/null bs=1M 2>/dev/null' },
  {
    name: 'write 1 MiB',
    unit: 'MiB/s',
    amount: MIB,
    before: 'rm -f /mnt/new',
    command: `dd if=/dev/zero of=/mnt/new bs=1M count=${MIB} 2>/dev/null`,
  },
  {
    name: 'read 4 KiB',
    unit: '/s',
    amount: BLOCKS,
    command: `dd if=/mnt/big of=/dev/null bs=4k count=${BLOCKS} 2>/dev/null`,
  },
  {
    name: 'write 4 KiB',
    unit: '/s',
    amount: BLOCKS,
    before: 'rm -f /mnt/new',
    command: `dd if=/dev/zero of=/mnt/new bs=4k count=${BLOCKS} 2>/dev/null`,
  },
  {
    name: 'make files',
    unit: '/s',
    amount: FILES,
    before: 'rm -rf /mnt/d; mkdir /mnt/d; cd /mnt/d',
    command: `for i in $(seq ${FILES}); do echo $i > $i; done`,
  },
  { name: 'list files', unit: '/s', amount: FILES, command: 'ls -l /mnt/d > /dev/null' },
  { name: 'read files', unit: '/s', amount: FILES, command: `cd /mnt/d; cat $(seq ${FILES}) > /dev/null` },
  { name: 'remove files', unit: '/s', amount: FILES, command: `cd /mnt/d; rm $(seq ${FILES})` },
];

function withShare(base, words) {
  return { ...base, args: words };
}

function webhyveWithShare(guest, folder) {
  const base = webhyve(guest);
  return withShare(base, [...base.args.slice(0, -1), '-s', `4,virtio-9p,share=${folder}`, base.args.at(-1)]);
}

function qemuWithShare(guest, folder) {
  const base = qemuTcg(guest);
  const share = ['-fsdev', `local,id=share,path=${folder},security_model=none`];
  return withShare(base, [...base.args, ...share, '-device', 'virtio-9p-pci,fsdev=share,mount_tag=share']);
}

/** Resolves to the best of a few rounds, by job. */
async function measure(contestant) {
  const session = new GuestSession(contestant);
  const run = (command) => session.run(command, COMMAND_TIMEOUT_MS);
  try {
    await session.expect(PROMPT, BOOT_TIMEOUT_MS);
    await run('stty -echo; dmesg -n 1; mkdir -p /mnt');
    const { output } = await run(`${MOUNT} && echo mounted`);
    if (!output.includes('mounted')) throw new Error(`${contestant.name}: the share cannot be mounted: ${output}`);
    const results = new Map();
    for (let round = 0; round < ROUNDS; round++) {
      for (const { name, amount, before, command } of JOBS) {
        if (before !== undefined) await run(before);
        const { seconds, output: said } = await run(`${command} || echo failed`);
        if (said !== '') throw new Error(`${contestant.name}, ${name}: ${said}`);
        results.set(name, Math.max(results.get(name) ?? 0, amount / seconds));
      }
    }
    await run('cd /; umount /mnt');
    process.stderr.write(`${contestant.name}: ${[...results.values()].map((value) => value.toFixed(0)).join(', ')}\n`);
    return results;
  } finally {
    await session.kill();
  }
}

/** A folder with a file without holes, in the host's page cache. */
function makeFolder(folder) {
  mkdirSync(folder);
  const piece = Buffer.alloc(1 << 20, 0x5a);
  const file = openSync(join(folder, 'big'), 'w');
  for (let mib = 0; mib < MIB; mib++) writeSync(file, piece);
  closeSync(file);
  return folder;
}

/** Rows of a table, its header first. */
export async function measureShare() {
  const guest = await fetchGuest({ variant: 'generic' });
  const scratch = mkdtempSync(join(tmpdir(), 'webhyve-bench-'));
  try {
    const ours = await measure(webhyveWithShare(guest, makeFolder(join(scratch, 'ours'))));
    const hasQemu = qemuVersion() !== undefined;
    const theirs = hasQemu ? await measure(qemuWithShare(guest, makeFolder(join(scratch, 'theirs')))) : undefined;
    const rows = JOBS.map(({ name, unit }) => {
      const [value, other] = [ours.get(name), theirs?.get(name)];
      const comparison = other === undefined ? [] : [`${other.toFixed(0)} ${unit}`, (value / other).toFixed(2)];
      return [name, `${value.toFixed(0)} ${unit}`, ...comparison];
    });
    return [['share', 'webhyve', ...(theirs ? ['qemu-tcg', 'times'] : [])], ...rows];
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}
