/** The Debian userland that the jobs run in: a tree made by debootstrap, and disks of it for the guest. */
import { execFileSync, spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { cacheDirectory } from '../../../host-node/setup/fetch-guest.mjs';

const SUITE = 'bookworm';
const PACKAGES = [
  ...['python3', 'libpython3.11-testsuite', 'perl', 'gcc', 'libc6-dev', 'gcc-multilib'],
  ...['openssl', 'xz-utils', 'bzip2', 'gzip'],
];
const NEEDED = ['debootstrap', 'unshare', 'chroot', 'mkfs.ext4', 'debugfs'];
const MIB = 1 << 20;
const WORK_DISK_MIB = 256;
const HERE = import.meta.dirname;

const run = (command: string, ...args: string[]): string =>
  execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], maxBuffer: 64 * MIB });

/** Why the comparison cannot be made on this machine; undefined when it can. */
export function userlandMissing(): string | undefined {
  if (process.getuid?.() !== 0) return 'debootstrap and chroot need root';
  const missing = NEEDED.filter((name) => spawnSync('sh', ['-c', `command -v ${name}`]).status !== 0);
  return missing.length === 0 ? undefined : `not installed: ${missing.join(', ')}`;
}

/** Path of the tree, made when it is not there (some 300 MB are downloaded); USERLAND_TREE names one that exists. */
function userlandTree(): string {
  const given = process.env['USERLAND_TREE'];
  if (given !== undefined) return given;
  const tree = join(cacheDirectory(), '..', 'userland', SUITE);
  if (existsSync(tree)) return tree;
  const work = `${tree}.work`;
  rmSync(work, { recursive: true, force: true });
  mkdirSync(work, { recursive: true });
  run('debootstrap', '--variant=minbase', `--include=${PACKAGES.join()}`, SUITE, work);
  mkdirSync(join(work, 'work'), { recursive: true });
  renameSync(work, tree);
  return tree;
}

/** An ext4 image of a directory. Without a journal: it is mounted read-only, or its machine always ends in order. */
function makeDisk(image: string, directory: string, sizeMib: number): void {
  writeFileSync(image, '');
  truncateSync(image, sizeMib * MIB);
  run('mkfs.ext4', '-q', '-O', '^has_journal', '-d', directory, image);
}

export class Userland {
  readonly rootDisk: string;
  readonly workDisk: string;
  readonly #work: string;
  readonly #tree: string;

  /** Everything that is made lies in `directory`. */
  constructor(readonly directory: string) {
    this.#tree = userlandTree();
    this.#work = join(directory, 'work');
    this.rootDisk = join(directory, 'root.img');
    this.workDisk = join(directory, 'work.img');
    rmSync(this.#work, { recursive: true, force: true });
    mkdirSync(join(this.#tree, 'work'), { recursive: true });
    for (const part of ['run-job', 'jobs', 'programs']) {
      cpSync(join(HERE, part), join(this.#work, part), { recursive: true });
    }
    this.#makeKeys();
    if (!existsSync(this.rootDisk) || statSync(this.rootDisk).mtimeMs < statSync(this.#tree).mtimeMs) {
      const usedMib = Number(run('du', '-sm', '-x', this.#tree).split('\t')[0]);
      makeDisk(this.rootDisk, this.#tree, Math.ceil(usedMib * 1.2) + 128);
    }
    makeDisk(this.workDisk, this.#work, WORK_DISK_MIB);
  }

  /** Keys that both sides sign with: a key is random, a signature by RSA and EdDSA is not. */
  #makeKeys(): void {
    mkdirSync(join(this.#work, 'keys'));
    const make = (name: string, ...options: string[]): void => {
      const made = run('openssl', 'genpkey', ...options);
      writeFileSync(join(this.#work, 'keys', `${name}.pem`), made);
    };
    make('rsa', '-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048');
    make('sm2', '-algorithm', 'SM2');
    for (const kind of ['ed25519', 'ed448']) make(kind, '-algorithm', kind);
    for (const suffix of ['', '-2']) {
      for (const kind of ['x25519', 'x448']) make(`${kind}${suffix}`, '-algorithm', kind);
      for (const curve of ['prime256v1', 'secp384r1', 'secp521r1']) {
        make(`${curve}${suffix}`, '-algorithm', 'EC', '-pkeyopt', `ec_paramgen_curve:${curve}`);
      }
    }
  }

  /** Runs a command in the tree on the host, as the guest sees it: /proc, /dev, an empty /tmp, /work. */
  onHost(words: readonly string[]): string {
    const script = [
      'tree=$1 work=$2; shift 2',
      'mount --bind "$work" "$tree/work" && mount -t proc proc "$tree/proc" && mount --rbind /dev "$tree/dev"',
      'mount -t tmpfs tmpfs "$tree/tmp" && exec chroot "$tree" "$@"',
    ].join(' && ');
    return run('unshare', '-m', 'sh', '-c', script, 'sh', this.#tree, this.#work, ...words);
  }

  /** What a job wrote on the host. */
  hostOutput(label: string): string {
    return readFileSync(join(this.#work, 'out', label), 'utf8');
  }

  /** Takes the outputs off the guest's disk into work/guest; what the guest has synchronized is there while it runs. */
  collectGuestOutputs(): void {
    const to = join(this.#work, 'guest');
    rmSync(to, { recursive: true, force: true });
    mkdirSync(to);
    run('debugfs', '-R', `rdump /out ${to}`, this.workDisk);
  }

  /** What accuracy.py says of a job's outputs; throws when it fails. */
  accuracy(label: string): string {
    return this.onHost(['python3', '/work/programs/accuracy.py', `/work/guest/out/${label}`, `/work/out/${label}`]);
  }
}
