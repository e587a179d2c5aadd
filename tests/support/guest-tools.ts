/**
 * Debian's programs for the guest: an ext4 image with a few packages and all that they need, unpacked without installing
 * anything, made once and kept in the cache. The guest mounts it and runs programs by `chroot`.
 */
import { spawnSync } from 'node:child_process';
import {
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

/** What an image holds. */
export interface ToolSet {
  /** The image's file name in the cache; another one whenever what it holds changes. */
  readonly image: string;
  readonly packages: readonly string[];
  /** MiB that the guest may write, besides what the packages take. */
  readonly roomMib: number;
  /** Adds to the unpacked tree. The packages' files lie in the other folder. */
  readonly finish?: (tree: string, packages: string) => void;
}

const DISK_PACKAGES = [
  ...['fio', 'smartmontools', 'nvme-cli', 'sg3-utils', 'hdparm', 'sdparm', 'e2fsprogs', 'util-linux', 'eject', 'fdisk'],
  ...['coreutils', 'mount', 'bash', 'dash'],
];
const MIB = 1 << 20;
const DISK_TOOLS: ToolSet = { image: 'disk-tools-3.img', packages: DISK_PACKAGES, roomMib: 32 };
/** What a chroot needs none of. */
const LEFT_OUT = ['usr/share/doc', 'usr/share/man', 'usr/share/locale', 'usr/share/info', 'usr/share/fio'];

function run(command: string, args: readonly string[], cwd?: string): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, { encoding: 'utf8', cwd, maxBuffer: 64 * MIB });
  if (error || status !== 0) throw new Error(`${command} ${args[0] ?? ''}: ${error?.message ?? stderr.trim()}`);
  return stdout;
}

/** Every package that the wanted ones need, themselves included. */
function closure(wanted: readonly string[]): string[] {
  const options = ['recommends', 'suggests', 'conflicts', 'breaks', 'replaces', 'enhances'].map(
    (kind) => `--no-${kind}`,
  );
  const list = run('apt-cache', ['depends', '--recurse', ...options, ...wanted]);
  return [...new Set([...list.matchAll(/^[a-z0-9][\w.+-]+$/gm)].map(([name]) => name))];
}

/** Path of the disk tools' image. Throws with the reason when it cannot be made here. */
export function diskTools(): string {
  return toolsImage(DISK_TOOLS);
}

/** Path of a set's image. Throws with the reason when it cannot be made here. */
export function toolsImage(set: ToolSet): string {
  const image = join(cacheDirectory(), set.image);
  if (existsSync(image)) return image;
  mkdirSync(cacheDirectory(), { recursive: true });
  const work = mkdtempSync(join(cacheDirectory(), 'tools-'));
  try {
    const packages = join(work, 'packages');
    const tree = join(work, 'tree');
    mkdirSync(packages);
    run('apt-get', ['-q', '-o', 'APT::Sandbox::User=', 'download', ...closure(set.packages)], packages);
    for (const directory of ['bin', 'sbin', 'lib', 'lib64']) {
      // Debian's merged /usr: packages still name the old places.
      mkdirSync(join(tree, 'usr', directory), { recursive: true });
      run('ln', ['-s', `usr/${directory}`, join(tree, directory)]);
    }
    for (const name of readdirSync(packages)) {
      const tar = spawnSync('sh', [
        '-c',
        `dpkg-deb --fsys-tarfile "$1" | tar -x --keep-directory-symlink -C "$2"`,
        'sh',
        join(packages, name),
        tree,
      ]);
      if (tar.status !== 0) throw new Error(`${name} cannot be unpacked`);
    }
    for (const path of LEFT_OUT) rmSync(join(tree, path), { recursive: true, force: true });
    for (const path of ['proc', 'sys', 'dev', 'tmp', 'mnt', 'run']) mkdirSync(join(tree, path), { recursive: true });
    set.finish?.(tree, packages);
    const usedMib = Number(run('du', ['-sm', tree]).split('\t')[0]);
    const made = join(work, set.image);
    writeFileSync(made, '');
    truncateSync(made, Math.ceil(usedMib * 1.15 + set.roomMib) * MIB);
    run('mke2fs', ['-q', '-t', 'ext4', '-O', '^has_journal', '-d', tree, made]);
    renameSync(made, image);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return image;
}

/** Why there are no tools here; undefined when there are. */
export function diskToolsMissing(): string | undefined {
  try {
    diskTools();
    return undefined;
  } catch (error) {
    return `disk tools for the guest: ${error instanceof Error ? error.message : String(error)}`;
  }
}

/** Shell lines that make the tools usable in the guest, from a disk that it calls `device`; `t PROGRAM...` then runs one. */
export function mountTools(device: string): string {
  return [
    `mkdir -p /tools && mount -t ext4 -o ro ${device} /tools`,
    'mount -t proc proc /tools/proc && mount -t sysfs sysfs /tools/sys && mount --bind /dev /tools/dev',
    'mount -t tmpfs tmpfs /tools/tmp && mount -t tmpfs tmpfs /tools/mnt && mount -t tmpfs tmpfs /tools/run',
    `t() { PATH=/usr/sbin:/usr/bin chroot /tools "$@"; }`,
  ].join('; ');
}
