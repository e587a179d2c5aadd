/**
 * `npm start`: boots a small Linux in this terminal. Options of ours are read here; every other word goes to bhyve as it is,
 * in front of the machine's name, so that `npm start -- -c 2 -s 3,virtio-blk,disk.img` adds to the command line below.
 */
import { existsSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { progress, root, runInherited, SetupError } from './common.mjs';
import { fetchGuest } from './fetch-guest.mjs';

const USAGE = `usage: npm start -- [--kernel FILE] [--initrd FILE] [--append WORDS] [--dry-run] [options of bhyve]`;

/** cryptomgr.notests leaves out the kernel's self-tests of its ciphers, more than half of the work of a boot. */
const KERNEL_WORDS = 'console=ttyS0 cryptomgr.notests';

const OPTIONS = new Set(['--kernel', '--initrd', '--append']);

/** Splits the words into ours (by option) and bhyve's. */
export function parseStartArguments(args) {
  const parsed = { dryRun: false, bhyve: [] };
  const words = [...args];
  for (let word = words.shift(); word !== undefined; word = words.shift()) {
    const [, name = word, value] = /^(--\w+)=(.*)$/s.exec(word) ?? [];
    if (word === '--help') throw new SetupError(USAGE);
    if (word === '--dry-run') parsed.dryRun = true;
    else if (OPTIONS.has(name)) {
      const argument = value ?? words.shift();
      if (argument === undefined) throw new SetupError(`${name} needs an argument; ${USAGE}`);
      parsed[name.slice(2)] = argument;
    } else parsed.bhyve.push(word);
  }
  return parsed;
}

/** A file that the user named, as an absolute path: npm runs us in the repository's root, not where the user stands. */
export function userFile(path) {
  const found = resolve(process.env.INIT_CWD ?? process.cwd(), path);
  if (!existsSync(found)) throw new SetupError(`${path} does not exist`);
  return found;
}

/** The words after "bhyve". */
export function bhyveArguments({ kernel, initrd, append, extra }) {
  const words = append === undefined ? KERNEL_WORDS : `${KERNEL_WORDS} ${append}`;
  return [
    ...['-A', '-H', '-u', '-c', '1', '-m', '512M', '-s', '0,hostbridge', '-s', '31,lpc', '-l', 'com1,stdio'],
    ...['-f', `kexec,${kernel},${initrd ?? ''},${words}`],
    ...extra,
    'webhyve-demo',
  ];
}

const quoted = (word) => (/^[\w,./:=-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`);

/** Runs the demonstration; resolves to bhyve's exit status. */
export async function start(args) {
  const options = parseStartArguments(args);
  let kernel = options.kernel === undefined ? undefined : userFile(options.kernel);
  let initrd = options.initrd === undefined ? undefined : userFile(options.initrd);
  // A kernel of the user's own with no initrd is booted without one.
  if (kernel === undefined) {
    const guest = await fetchGuest();
    kernel = guest.kernel;
    initrd ??= guest.initrd;
  }
  for (const path of [kernel, initrd ?? '']) {
    if (path.includes(',')) throw new SetupError(`${path}: -f cannot name a file with a comma in its path`);
  }
  const program = join(root, 'dist/bin/bhyve.js');
  const bhyve = bhyveArguments({ kernel, initrd, append: options.append, extra: options.bhyve });
  progress(`${[relative(process.cwd(), program), ...bhyve].map(quoted).join(' ')}`);
  if (options.dryRun) return 0;
  progress(
    process.stdin.isTTY
      ? 'Ctrl-A x leaves, Ctrl-A h shows more keys'
      : 'the guest reads its console from standard input',
  );
  const status = await runInherited(process.execPath, [program, ...bhyve], {
    cwd: process.env.INIT_CWD ?? process.cwd(),
  });
  const meanings = {
    0: 'the guest asked for a reboot',
    1: 'the guest powered off, or was left with Ctrl-A x',
    2: 'the guest halted',
    3: 'triple fault',
  };
  progress(`bhyve ended with status ${status}${meanings[status] === undefined ? '' : `: ${meanings[status]}`}`);
  return status;
}
