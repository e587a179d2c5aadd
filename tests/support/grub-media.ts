/**
 * Disks and discs from which UEFI firmware boots GRUB, and GRUB a Linux kernel: made by Debian's grub-efi-amd64-bin, mtools and xorriso.
 */
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { cacheDirectory } from '../../host-node/setup/fetch-guest.mjs';
import { hostHas } from './host-programs.ts';
import { scratchDirectory } from './machine.ts';

const MIB = 1 << 20;
const MODULES = 'part_gpt part_msdos fat iso9660 normal linux search echo sleep terminal efi_gop gfxterm all_video';
const BOOT_PATH = '/EFI/BOOT/BOOTX64.EFI';
/** What a file system needs beyond the files, and the largest GRUB. */
const SPARE_MIB = 40;

/** The first of the programs that is not installed; undefined when all are. */
export function grubMediaMissing(): string | undefined {
  for (const [program, option] of [
    ['grub-mkstandalone', '-V'],
    ['mformat', '--version'],
    ['xorriso', '-version'],
  ] as const) {
    if (!hostHas(program, option)) return `${program} is not installed`;
  }
  return existsSync('/usr/lib/grub/x86_64-efi') ? undefined : 'grub-efi-amd64-bin is not installed';
}

function run(program: string, words: readonly string[], cwd?: string): void {
  const { status, stderr, error } = spawnSync(program, words, {
    encoding: 'utf8',
    cwd,
    env: { ...process.env, MTOOLS_SKIP_CHECK: '1' },
  });
  if (error || status !== 0) throw new Error(`${program} ${words.join(' ')}: ${error?.message ?? stderr}`);
}

/**
 * The kernel of a release as Debian's package has it, a bzImage, which is what GRUB's `linux` loads; the generic guest's kernel is unpacked. Kept in
 * the cache. Throws with the reason when it cannot be fetched.
 */
export function debianKernel(release: string): string {
  const kept = join(cacheDirectory(), `bzImage-${release}`);
  if (existsSync(kept)) return kept;
  mkdirSync(cacheDirectory(), { recursive: true });
  const work = scratchDirectory();
  try {
    const script = `apt-get -q -o APT::Sandbox::User= download linux-image-${release} && dpkg-deb -x *.deb .`;
    run('sh', ['-c', script], work.path);
    copyFileSync(join(work.path, 'boot', `vmlinuz-${release}`), `${kept}.new`);
    renameSync(`${kept}.new`, kept);
    return kept;
  } finally {
    work.remove();
  }
}

/** A FAT file system without partitions, as removable media have it, with files by their paths in it and a program where firmware looks for one. */
export function makeFat(path: string, program: string, files: Readonly<Record<string, string>>): void {
  let sizeMib = SPARE_MIB;
  for (const file of Object.values(files)) sizeMib += Math.ceil(statSync(file).size / MIB);
  writeFileSync(path, Buffer.alloc(sizeMib * MIB));
  run('mformat', ['-i', path, '-F', '::']);
  run('mmd', ['-i', path, '::/EFI', '::/EFI/BOOT']);
  for (const [name, file] of Object.entries({ ...files, [BOOT_PATH]: program })) {
    run('mcopy', ['-i', path, file, `::${name}`]);
  }
}

/** What a medium holds. */
export interface BootMedia {
  /** GRUB's commands. */
  readonly config: readonly string[];
  /** Files of the host by the names that they have in the medium's first directory (`/linux`). */
  readonly files: Readonly<Record<string, string>>;
}

/** Makes GRUB, with its configuration inside, and passes its path on. */
function withGrub(config: readonly string[], use: (grub: string, folder: string) => void): void {
  const work = scratchDirectory();
  try {
    const grub = join(work.path, 'grub.efi');
    writeFileSync(join(work.path, 'grub.cfg'), config.join('\n'));
    const format = ['-O', 'x86_64-efi', '-o', grub, `--modules=${MODULES}`, '--install-modules=', '--locales='];
    run('grub-mkstandalone', [...format, '--fonts=', '--themes=', `boot/grub/grub.cfg=${work.path}/grub.cfg`]);
    use(grub, work.path);
  } finally {
    work.remove();
  }
}

/** Makes a disk image at `path`. */
export function makeBootDisk(path: string, { config, files }: BootMedia): void {
  withGrub(config, (grub) => makeFat(path, grub, files));
}

/** Makes an ISO image with an El Torito entry for UEFI at `path`. */
export function makeBootDisc(path: string, { config, files }: BootMedia): void {
  withGrub(config, (grub, folder) => {
    const tree = join(folder, 'disc');
    mkdirSync(tree);
    for (const [name, file] of Object.entries(files)) copyFileSync(file, join(tree, name));
    makeFat(join(tree, 'efi.img'), grub, {});
    run('xorriso', ['-as', 'mkisofs', '-quiet', '-r', '-o', path, '-e', 'efi.img', '-no-emul-boot', tree]);
    rmSync(tree, { recursive: true });
  });
}
