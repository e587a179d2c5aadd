/** Whole Debians for tests: systemd, udev and the kernel for every PC, as debootstrap installs them, on a disk of their own. */
import { execFileSync, spawnSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { cacheDirectory } from '../../host-node/setup/fetch-guest.mjs';

const SUITE = 'bookworm';
const PACKAGES = [
  ...['systemd-sysv', 'dbus', 'udev', 'kmod', 'procps', 'iproute2', 'ifupdown', 'e2fsprogs'],
  ...['linux-image-amd64', 'initramfs-tools', 'zstd'],
];
const NEEDED = ['debootstrap', 'chroot', 'mkfs.ext4'];
const MIB = 1 << 20;
/** Room for what the guest writes. */
const FREE_MIB = 300;

/** What a system has besides the packages of all. */
export interface DebianRecipe {
  /** Its folder in the cache; another one whenever what it holds changes. */
  readonly name: string;
  readonly packages: readonly string[];
  /** The device in its fstab that is its root. */
  readonly root: string;
  /** Sets up what was installed in the tree. */
  readonly finish: (tree: string, run: (program: string, ...args: string[]) => string) => void;
}
const SERVER: DebianRecipe = { name: `debian-system-${SUITE}`, packages: [], root: '/dev/vda', finish: () => {} };

/** Paths of what was made. The disk's file system is its first sector on, and root has no password. */
export interface DebianSystem {
  readonly disk: string;
  readonly kernel: string;
  readonly initrd: string;
}

function run(command: string, ...args: string[]): string {
  return execFileSync(command, args, {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    maxBuffer: 64 * MIB,
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  });
}

/** Why none can be made on this machine; undefined when one can. */
export function debianSystemMissing(): string | undefined {
  if (process.getuid?.() !== 0) return 'debootstrap needs root';
  const missing = NEEDED.filter((name) => spawnSync('sh', ['-c', `command -v ${name}`]).status !== 0);
  return missing.length === 0 ? undefined : `not installed: ${missing.join(', ')}`;
}

/** Makes it when it is not in the cache; some 200 MB are downloaded then. Throws with the output of the program that failed. */
export function debianSystem(recipe = SERVER): DebianSystem {
  const directory = join(cacheDirectory(), recipe.name);
  const made = (place: string): DebianSystem => ({
    disk: join(place, 'disk.img'),
    kernel: join(place, 'vmlinuz'),
    initrd: join(place, 'initrd.img'),
  });
  if (existsSync(directory)) return made(directory);
  mkdirSync(cacheDirectory(), { recursive: true });
  const work = mkdtempSync(join(cacheDirectory(), 'system-'));
  try {
    const tree = join(work, 'tree');
    const ready = join(work, 'ready');
    const files = made(ready);
    mkdirSync(ready);
    run('debootstrap', '--variant=minbase', `--include=${[...PACKAGES, ...recipe.packages].join()}`, SUITE, tree);
    run('chroot', tree, 'passwd', '-d', 'root');
    writeFileSync(join(tree, 'etc/hostname'), 'debian\n');
    writeFileSync(join(tree, 'etc/fstab'), `${recipe.root} / ext4 defaults,errors=remount-ro 0 1\n`);
    recipe.finish(tree, (program, ...args) => run('chroot', tree, program, ...args));
    const boot = join(tree, 'boot');
    const only = (prefix: string): string => {
      const name = readdirSync(boot).find((candidate) => candidate.startsWith(prefix));
      if (name === undefined) throw new Error(`the installed system has no ${prefix}`);
      return join(boot, name);
    };
    copyFileSync(only('vmlinuz-'), files.kernel);
    copyFileSync(only('initrd.img-'), files.initrd);
    const usedMib = Number(run('du', '-sm', '-x', tree).split('\t')[0]);
    writeFileSync(files.disk, '');
    truncateSync(files.disk, (Math.ceil(usedMib * 1.1) + FREE_MIB) * MIB);
    run('mkfs.ext4', '-q', '-L', 'debian', '-d', tree, files.disk);
    renameSync(ready, directory);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return made(directory);
}
