/**
 * `npm start`, `npm run web`, `npm test` and `npm run bench` on a fresh clone: installs and builds what is missing or out of date, then
 * runs the job. Words after `--` are handed to it.
 */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { newestMs, progress, root, runInherited, runMain, SetupError } from './common.mjs';

const MINIMUM_NODE = [20, 11];

function checkNodeVersion() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major < MINIMUM_NODE[0] || (major === MINIMUM_NODE[0] && minor < MINIMUM_NODE[1])) {
    throw new SetupError(`Node ${MINIMUM_NODE.join('.')} or later is needed; this is ${process.versions.node}`);
  }
}

/** True when node_modules holds exactly the versions of the lock file; looked at only when the lock file is newer. */
function installedVersionsMatch(lockFile, installedFile) {
  const wanted = JSON.parse(readFileSync(lockFile, 'utf8')).packages ?? {};
  const installed = JSON.parse(readFileSync(installedFile, 'utf8')).packages ?? {};
  return Object.entries(wanted).every(
    ([path, { version, optional, peer }]) =>
      path === '' || installed[path]?.version === version || ((optional || peer) && installed[path] === undefined),
  );
}

async function install() {
  const lockFile = join(root, 'package-lock.json');
  const installedFile = join(root, 'node_modules/.package-lock.json');
  if (
    existsSync(installedFile) &&
    (statSync(installedFile).mtimeMs >= statSync(lockFile).mtimeMs || installedVersionsMatch(lockFile, installedFile))
  ) {
    return;
  }
  progress('installing development packages (npm ci)');
  const args = ['ci', '--include=dev', '--no-audit', '--no-fund', '--loglevel=error'];
  // npm tells its scripts where it lies itself, which is surer than the search path.
  const npm = process.env.npm_execpath;
  const useNode = npm !== undefined && /\.[cm]?js$/.test(npm);
  // What is piped into us is for the guest.
  const stdio = ['ignore', 2, 2];
  const status = useNode
    ? await runInherited(process.execPath, [npm, ...args], { stdio })
    : await runInherited('npm', args, { stdio, shell: process.platform === 'win32' });
  if (status !== 0) throw new SetupError('npm ci failed; its message is above');
}

const isSource = (path) => /\.(ts|mjs|json|css|html|svg)$/.test(path);

function newestOf(...paths) {
  return Math.max(...paths.map((path) => newestMs(join(root, path), isSource)));
}

async function build() {
  const core = join(root, 'build/core.wasm');
  if (newestMs(core) < newestOf('core-as', 'asconfig.json', 'package-lock.json')) {
    progress('compiling the core (about half a minute)');
    const compiler = join(root, 'node_modules/assemblyscript/bin/asc.js');
    const status = await runInherited(process.execPath, [compiler, '--target', 'release', '--disableWarning', '112'], {
      stdio: ['ignore', 2, 2],
    });
    if (status !== 0) throw new SetupError('the core does not compile; the message is above');
  }
  const program = newestMs(join(root, 'dist/bin/bhyve.js'));
  const sources = newestOf('devices', 'host-node', 'host-browser', 'core-as', 'package-lock.json');
  if (program < sources || newestMs(join(root, 'dist/core.wasm')) < newestMs(core)) {
    progress('bundling the programs');
    const { bundle } = await import('./bundle.mjs');
    await bundle();
  }
}

const JOBS = {
  async start(args) {
    const { start } = await import('./start.mjs');
    return start(args);
  },
  async web(args) {
    const { web } = await import('./web.mjs');
    return web(args);
  },
  test: (args) =>
    runInherited(process.execPath, [
      join(root, 'node_modules/vitest/vitest.mjs'),
      'run',
      '--config',
      join(root, 'tests/vitest.config.ts'),
      ...args,
    ]),
  async bench(args) {
    const script = join(root, 'bench/run.mjs');
    if (!existsSync(script)) throw new SetupError('there are no benchmarks yet: bench/run.mjs is missing');
    return runInherited(process.execPath, [script, ...args]);
  },
};

await runMain(async ([name, ...args]) => {
  const job = Object.hasOwn(JOBS, name ?? '') ? JOBS[name] : undefined;
  if (!job) throw new SetupError(`usage: bootstrap.mjs ${Object.keys(JOBS).join('|')} [arguments]`);
  checkNodeVersion();
  await install();
  await build();
  return job(args);
});
