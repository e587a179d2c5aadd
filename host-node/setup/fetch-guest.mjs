/**
 * Gets a Linux kernel and builds an initramfs for it, from the packages of the Debian or Ubuntu that this runs on. Needs
 * no root: packages are downloaded and read, never installed. The result is kept in .cache/guests (WEBHYVE_CACHE).
 */
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
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { progress, root, runCaptured, runMain, SetupError } from './common.mjs';
import { packageFiles } from './deb.mjs';
import { buildInitramfs, INIT_SCRIPT } from './initramfs.mjs';
import { GENERIC_MODULES, selectModules, WANTED_MODULES } from './modules.mjs';
import { uncompressedKernel } from './vmlinux.mjs';

/**
 * Kinds of guests: packages that depend on the current kernel, best first, and the modules that /init loads. `small` is Debian's kernel
 * for virtual machines, or Ubuntu's; `generic` has drivers for everything, and is kept uncompressed, since unpacking it takes an emulated
 * processor longer than booting it. `i386` is a 32-bit system, with page tables of two levels; `i386-pae`, with three.
 */
const VARIANTS = {
  small: {
    packages: ['linux-image-cloud-amd64', 'linux-image-virtual', 'linux-image-amd64', 'linux-image-generic'],
    modules: WANTED_MODULES,
    uncompressed: false,
  },
  generic: {
    packages: ['linux-image-amd64', 'linux-image-generic'],
    modules: [...WANTED_MODULES, ...GENERIC_MODULES],
    uncompressed: true,
  },
  i386: { packages: ['linux-image-686'], modules: WANTED_MODULES, uncompressed: false, architecture: 'i386' },
  'i386-pae': { packages: ['linux-image-686-pae'], modules: WANTED_MODULES, uncompressed: false, architecture: 'i386' },
};

const WAY_OUT = 'give your own with --kernel FILE and --initrd FILE';

/** Changes whenever what is built from the same packages would change. */
const recipeOf = ({ modules, packages, architecture }) =>
  createHash('sha256')
    .update(architecture === undefined ? '' : packages.join())
    .update(INIT_SCRIPT)
    .update(modules.join())
    .update(readFileSync(new URL('./initramfs.mjs', import.meta.url)))
    .digest('hex')
    .slice(0, 12);

export function cacheDirectory() {
  return resolve(process.env.WEBHYVE_CACHE ?? join(root, '.cache'), 'guests');
}

/** Where apt-get and apt-cache keep their state: the system's own, or a private one in the given directory. */
function aptOptions(stateDirectory, architecture) {
  const common = ['-o', 'APT::Sandbox::User=', '-o', `APT::Architecture=${architecture}`];
  if (architecture !== 'amd64') common.push('-o', `APT::Architectures=${architecture}`);
  if (stateDirectory === undefined) return common;
  for (const part of ['state/lists/partial', 'cache/archives/partial']) {
    mkdirSync(join(stateDirectory, part), { recursive: true });
  }
  return [
    ...common,
    ...['-o', `Dir::State=${join(stateDirectory, 'state')}`, '-o', 'Dir::State::status=/dev/null'],
    ...['-o', `Dir::Cache=${join(stateDirectory, 'cache')}`, '-o', 'Debug::NoLocking=1'],
  ];
}

function dependencies(name, options) {
  const { status, stdout } = runCaptured('apt-cache', [...options, 'depends', name]);
  if (status !== 0) return [];
  return [...stdout.toString().matchAll(/^\s*\|?Depends: (\S+)$/gm)].map((match) => match[1] ?? '');
}

/** The exact names of the packages that hold the newest kernel and its modules, or undefined. */
function resolveKernelPackages(candidates, options) {
  for (const name of candidates) {
    const names = dependencies(name, options).filter((found) => /^linux-(image|modules)-\d/.test(found));
    const image = names.find((found) => found.startsWith('linux-image-'));
    if (image === undefined) continue;
    // Ubuntu keeps the modules in a package of their own, which the image's package depends on.
    const modules = dependencies(image, options).filter((found) => /^linux-modules-\d/.test(found));
    return [...new Set([image, ...modules])];
  }
  return undefined;
}

/** Downloads packages into the directory and returns their files' paths, or what went wrong. */
function download(names, options, directory) {
  const { status, stderr } = runCaptured('apt-get', [...options, '-q', 'download', ...names], { cwd: directory });
  if (status !== 0) return { problem: stderr.trim().split('\n').at(-1) ?? '' };
  const paths = readdirSync(directory).filter((name) => name.endsWith('.deb'));
  return { paths: paths.map((name) => join(directory, name)) };
}

/** All packages, tried with the machine's own lists first and with freshly fetched private ones after. */
function downloadPackages(candidates, work, architecture = 'amd64') {
  let problem = 'no package lists';
  for (const stateDirectory of [undefined, join(work, 'apt')]) {
    const options = aptOptions(stateDirectory, architecture);
    if (stateDirectory !== undefined) {
      progress('fetching package lists (private copy, nothing is installed)');
      const { status, stderr } = runCaptured('apt-get', [...options, '-q', 'update']);
      if (status === undefined) break;
      // An index that cannot be had is only a warning when the others can.
      if (status !== 0) problem = stderr.trim().split('\n').at(-1) ?? problem;
    }
    const kernel = resolveKernelPackages(candidates, options);
    if (!kernel) {
      problem = 'the package lists name no kernel';
      continue;
    }
    progress(`downloading ${[...kernel, 'busybox-static'].join(', ')}`);
    const directory = mkdtempSync(join(work, 'deb-'));
    const result = download([...kernel, 'busybox-static'], options, directory);
    if (result.paths) return { paths: result.paths, kernelPackage: kernel[0] };
    problem = result.problem;
  }
  throw new SetupError(`the packages of a Linux guest cannot be downloaded (${problem}); ${WAY_OUT}`);
}

const needed = (path) =>
  /^boot\/vmlinuz-/.test(path) ||
  /^(usr\/)?lib\/modules\/.*\.ko(\.\w+)?$/.test(path) ||
  /(^|\/)bin\/busybox$/.test(path);

function buildGuest(variant, work) {
  if (runCaptured('apt-get', ['--version']).status !== 0) {
    throw new SetupError(`there is no apt-get here to fetch a Linux kernel with; ${WAY_OUT}`);
  }
  const { paths, kernelPackage } = downloadPackages(variant.packages, work, variant.architecture);
  const files = new Map(paths.flatMap((path) => [...packageFiles(path, needed)]));
  const only = (pattern, what) => {
    for (const [path, bytes] of files) if (pattern.test(path)) return bytes;
    throw new SetupError(`the downloaded packages hold no ${what}; ${WAY_OUT}`);
  };
  const kernel = only(/^boot\/vmlinuz-/, 'kernel');
  const busybox = only(/bin\/busybox$/, 'busybox');
  const modules = selectModules(files, variant.modules);
  const release = [...files.keys()].find((path) => path.startsWith('boot/vmlinuz-'))?.slice('boot/vmlinuz-'.length);
  return {
    kernel: variant.uncompressed ? uncompressedKernel(kernel) : kernel,
    initrd: buildInitramfs({ busybox, modules }),
    manifest: { recipe: recipeOf(variant), package: kernelPackage, release, modules: modules.map(([name]) => name) },
  };
}

/** The guest that an earlier run left, or undefined. */
function cached(directory) {
  const guest = {
    kernel: join(directory, 'vmlinuz'),
    initrd: join(directory, 'initramfs.cpio.gz'),
    manifest: join(directory, 'manifest.json'),
  };
  if (!Object.values(guest).every((path) => existsSync(path))) return undefined;
  const manifest = JSON.parse(readFileSync(guest.manifest, 'utf8'));
  return { kernel: guest.kernel, initrd: guest.initrd, release: manifest.release, modules: manifest.modules };
}

/**
 * Paths of a kernel and an initramfs. WEBHYVE_KERNEL and WEBHYVE_INITRD name others; without them the cache is used,
 * and filled first when `offline` is not set. `variant` is a name of VARIANTS; a kernel that the environment names takes the place of
 * the small one. Throws SetupError with the reason and the way out.
 */
export async function fetchGuest({ offline = false, variant: variantName = 'small' } = {}) {
  const variant = VARIANTS[variantName];
  const { WEBHYVE_KERNEL: kernel, WEBHYVE_INITRD: initrd } = process.env;
  if (variantName === 'small' && kernel !== undefined && initrd !== undefined) {
    for (const path of [kernel, initrd]) if (!existsSync(path)) throw new SetupError(`${path} does not exist`);
    return { kernel: resolve(kernel), initrd: resolve(initrd), release: undefined, modules: [] };
  }
  const directory = join(cacheDirectory(), `debian-${recipeOf(variant)}`);
  const found = cached(directory);
  if (found) return found;
  if (offline)
    throw new SetupError(`no guest is in the cache; run "node host-node/setup/fetch-guest.mjs", or ${WAY_OUT}`);
  mkdirSync(cacheDirectory(), { recursive: true });
  const work = mkdtempSync(join(cacheDirectory(), 'work-'));
  try {
    const { kernel: kernelBytes, initrd: initrdBytes, manifest } = buildGuest(variant, work);
    const ready = join(work, 'ready');
    mkdirSync(ready);
    writeFileSync(join(ready, 'vmlinuz'), kernelBytes);
    writeFileSync(join(ready, 'initramfs.cpio.gz'), initrdBytes);
    writeFileSync(join(ready, 'manifest.json'), `${JSON.stringify(manifest, undefined, 2)}\n`);
    // Two processes may do this at once: the first to finish wins, and what it left is complete.
    try {
      renameSync(ready, directory);
    } catch (error) {
      if (!cached(directory)) throw error;
    }
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  const guest = cached(directory);
  if (!guest) throw new SetupError(`${directory} is incomplete: remove it and try again`);
  progress(`Linux ${guest.release} is in ${directory}`);
  return guest;
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  await runMain(async () => {
    const { kernel, initrd } = await fetchGuest();
    process.stdout.write(`${kernel}\n${initrd}\n`);
  });
}
