/**
 * A Debian with systemd here and on QEMU's TCG: the boot to the login prompt, and programs that people run. Every program weighs the same in the
 * means. Sources, scripts and kernels.c travel on a disk of their own.
 */
import { cpSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { root, runCaptured, SetupError } from '../host-node/setup/common.mjs';
import { debianQemuTcg, debianWebhyve } from './contestants.mjs';
import { benchSystem, debianSystemMissing } from './debian-system.mjs';
import { buildKernels } from './kernels.mjs';

const SCRIPTS = join(root, 'bench/guest/debian');
const DIRECTORY = join(root, 'build/bench/debian');
const DISK_MIB = 16;
const BOOT_TIMEOUT_MS = 300_000;
const COMMAND_TIMEOUT_MS = 120_000;
const LOGIN = /debian login: /;
const MOUNT = '/mnt';

const times = (count, command) => `i=0; while [ $i -lt ${count} ]; do ${command}; i=$((i+1)); done; echo $i`;

/** The set. Each prints the same on every machine, whatever its processor offers. */
export const DEBIAN_PROGRAMS = [
  {
    name: 'gcc -O2 of 1,800 lines',
    command: `gcc -O2 -c -o /tmp/library.o ${MOUNT}/library.c && md5sum < /tmp/library.o; rm -f /tmp/library.o`,
  },
  { name: 'python3, start', command: `python3 -c 'import json, re; print(json.dumps([1]))'` },
  { name: 'python3, a script', command: `python3 -B ${MOUNT}/compute.py` },
  { name: 'lua, a script', command: `lua5.4 ${MOUNT}/compute.lua` },
  { name: 'perl, a script', command: `perl ${MOUNT}/words.pl` },
  { name: 'sqlite3 in memory', command: `sqlite3 :memory: < ${MOUNT}/queries.sql` },
  { name: 'openssl, SHA-256 of 16 MiB', command: 'head -c 16777216 /dev/zero | openssl dgst -sha256' },
  {
    name: 'openssl, AES-128 of 8 MiB',
    command: `head -c 8388608 /dev/zero | openssl enc -aes-128-ctr -K ${'5a'.repeat(16)} -iv ${'00'.repeat(16)} | cksum`,
  },
  // 2^768 - 825, by 64 rounds of Miller and Rabin.
  { name: 'openssl, a prime number', command: "openssl prime -hex $(printf '%0189d' 0 | tr 0 F)CC7" },
  { name: 'xz of 200 KB', command: 'xz -c /usr/include/stb/stb_vorbis.h | md5sum' },
  { name: 'shell, 200 processes', command: times(200, '/bin/true') },
  ...['forks', 'execs', 'pipes'].map((name) => ({ name: `kernels.c, ${name}`, command: `${MOUNT}/kernels ${name}` })),
];

/** Boots to the prompt of a shell of root, with nothing left to do for systemd. */
async function login(session) {
  const { atMs } = await session.expect(LOGIN, BOOT_TIMEOUT_MS);
  const processorSeconds = session.processorSeconds();
  session.type('root\n');
  await session.expect(/# /, COMMAND_TIMEOUT_MS);
  // A shell that neither edits lines nor prompts.
  session.type('exec env PS1= dash\n');
  await session.run(
    `stty -echo; dmesg -n 1; systemctl is-system-running --wait; systemctl stop '*.timer'; mount -o ro /dev/vdb ${MOUNT}`,
    COMMAND_TIMEOUT_MS,
  );
  return { atMs, processorSeconds };
}

export const DEBIAN_SCENE = { boot: 'systemd to the login prompt', login };

/** A disk with the set's files. */
function programsDisk() {
  const tree = join(DIRECTORY, 'tree');
  const disk = join(DIRECTORY, 'programs.img');
  rmSync(DIRECTORY, { recursive: true, force: true });
  mkdirSync(DIRECTORY, { recursive: true });
  cpSync(SCRIPTS, tree, { recursive: true });
  const kernels = buildKernels();
  if (kernels === undefined) throw new SetupError('gcc is not installed (packages gcc and libc6-dev)');
  cpSync(kernels, join(tree, 'kernels'));
  const { status, stderr } = runCaptured('mkfs.ext4', ['-q', '-O', '^has_journal', '-d', tree, disk, `${DISK_MIB}M`]);
  if (status !== 0) throw new SetupError(`the disk of programs cannot be made: ${stderr ?? 'no mkfs.ext4'}`);
  return disk;
}

/** Why this cannot be measured here; undefined when it can. */
export { debianSystemMissing as debianMissing };

/** The machines to compare; `stats` adds words to webhyve's command line. */
export function debianContestants(hasQemu, words = []) {
  const system = { ...benchSystem(), programs: programsDisk() };
  return [debianWebhyve(system, words), ...(hasQemu ? [debianQemuTcg(system)] : [])];
}
