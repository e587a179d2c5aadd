/**
 * Linux with drivers and programs for screens, input and sound: the generic guest, and a second archive behind its initramfs with modules of
 * the same kernel and programs of Debian's packages evtest and alsa-utils. Kept in the cache of guests.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { CpioWriter } from '../../host-node/setup/cpio.mjs';
import { packageFiles } from '../../host-node/setup/deb.mjs';
import { cacheDirectory } from '../../host-node/setup/fetch-guest.mjs';
import { selectModules } from '../../host-node/setup/modules.mjs';
import { linuxGuest } from './machine.ts';

const MODULES = [
  ...['atkbd', 'i8042', 'psmouse', 'xhci_pci', 'usbhid', 'hid_generic'],
  // The controller's driver looks for the codec's once, when it is loaded; without modprobe nobody loads that for it.
  ...['snd_hda_codec_generic', 'snd_hda_intel'],
];
/** Not loaded with the others: from then on keys go to the virtio keyboard. */
const LATER = ['virtio_input'];
/** Programs, and the libraries that they load. */
const PACKAGES = ['evtest', 'alsa-utils', 'libasound2', 'libasound2-data', 'libc6'];
const LIBRARIES = 'lib/x86_64-linux-gnu';
const WANTED = [
  /^usr\/bin\/(evtest|aplay|amixer)$/,
  /^(usr\/)?lib\/x86_64-linux-gnu\/(libc\.so\.6|libm\.so\.6|ld-linux-x86-64\.so\.2|libasound\.so\.2\.0\.0)$/,
  /^usr\/share\/alsa\//,
];
const LINKS: readonly (readonly [path: string, target: string])[] = [
  ['lib64/ld-linux-x86-64.so.2', `/${LIBRARIES}/ld-linux-x86-64.so.2`],
  [`${LIBRARIES}/libasound.so.2`, 'libasound.so.2.0.0'],
  ['bin/arecord', 'aplay'],
];

export interface DesktopGuest {
  readonly kernel: string;
  readonly initrd: string;
}

/** Loads the modules; to be run in the guest's shell first. */
export const LOAD_DRIVERS =
  'for m in $(cat /desktop/order); do insmod /desktop/$m.ko || echo "$m failed"; done; sleep 1';

function download(names: readonly string[], directory: string): string[] {
  const words = ['-o', 'APT::Sandbox::User=', '-q', 'download', ...names];
  const { status, stderr } = spawnSync('apt-get', words, { cwd: directory, encoding: 'utf8' });
  if (status !== 0) throw new Error(`packages ${names.join(', ')}: ${stderr.trim().split('\n').at(-1)}`);
  return readdirSync(directory)
    .filter((name) => name.endsWith('.deb'))
    .map((name) => join(directory, name));
}

function buildArchive(release: string, loaded: readonly string[], work: string): Uint8Array {
  const archive = new CpioWriter();
  const made = new Set<string>();
  const parents = (path: string): void => {
    const parent = dirname(path);
    if (parent === '.' || made.has(parent)) return;
    parents(parent);
    archive.directory(parent);
    made.add(parent);
  };
  const add = (path: string, bytes: Uint8Array | string, mode = 0o644): void => {
    parents(path);
    archive.file(path, bytes, mode);
  };
  const files = new Map<string, Buffer>();
  for (const path of download([`linux-image-${release}`, ...PACKAGES], work)) {
    const wanted = (name: string): boolean =>
      name.endsWith('.ko') || name.endsWith('.ko.xz') || WANTED.some((one) => one.test(name));
    for (const [name, bytes] of packageFiles(path, wanted)) files.set(name, bytes);
  }
  const modules = selectModules(files, [...MODULES, ...LATER]).filter(([name]) => !loaded.includes(name));
  const atOnce = modules.map(([name]) => name).filter((name) => !LATER.includes(name));
  add('desktop/order', atOnce.join('\n'));
  for (const [name, bytes] of modules) add(`desktop/${name}.ko`, bytes);
  for (const [name, bytes] of files) {
    if (/\.ko(\.xz)?$/.test(name)) continue;
    const library = /^(?:usr\/)?lib\/x86_64-linux-gnu\/(.+)$/.exec(name);
    if (library) add(`${LIBRARIES}/${library[1]}`, bytes, 0o755);
    else if (name.startsWith('usr/bin/')) add(name.replace('usr/', ''), bytes, 0o755);
    else add(name, bytes);
  }
  for (const [path, target] of LINKS) {
    parents(path);
    archive.symlink(path, target);
  }
  return gzipSync(archive.finish(), { level: 6 });
}

/** Paths of a kernel and an initramfs. Rejects with one sentence. */
export async function desktopGuest(): Promise<DesktopGuest> {
  const { kernel, initrd, release, modules } = await linuxGuest('generic');
  if (release === undefined) throw new Error('the modules of a kernel of your own are not known');
  const recipe = createHash('sha256')
    .update(release)
    .update(initrd)
    .update(readFileSync(new URL(import.meta.url)))
    .digest('hex')
    .slice(0, 12);
  const path = join(cacheDirectory(), `desktop-${recipe}.cpio.gz`);
  if (!existsSync(path)) {
    mkdirSync(cacheDirectory(), { recursive: true });
    const work = mkdtempSync(join(cacheDirectory(), 'desktop-'));
    try {
      const ready = join(work, 'initrd');
      // The kernel unpacks archives that stand one behind the other.
      writeFileSync(ready, Buffer.concat([readFileSync(initrd), buildArchive(release, modules, work)]));
      renameSync(ready, path);
    } finally {
      rmSync(work, { recursive: true, force: true });
    }
  }
  return { kernel, initrd: path };
}
