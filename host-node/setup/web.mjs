/**
 * `npm run web`: a page that boots the guest of `npm start`. Options of ours are read here (those of npm start, --port, --host); every
 * other word goes into the machine's command line.
 */
import { join } from 'node:path';
import { progress, root, runInherited, SetupError } from './common.mjs';
import { fetchGuest } from './fetch-guest.mjs';
import { bhyveArguments, parseStartArguments, userFile } from './start.mjs';

const USAGE =
  'usage: npm run web -- [--port PORT] [--host ADDRESS] [--kernel FILE] [--initrd FILE] [--append WORDS] [options of bhyve]';

/** Takes the page's own options out of the words. */
function pageOptions(args) {
  const own = [];
  const rest = [];
  const words = [...args];
  for (let word = words.shift(); word !== undefined; word = words.shift()) {
    if (word === '--help') throw new SetupError(USAGE);
    if (/^--(port|host)=/.test(word) || word === '--start') own.push(word);
    else if (word === '--port' || word === '--host') {
      const value = words.shift();
      if (value === undefined) throw new SetupError(`${word} needs an argument; ${USAGE}`);
      own.push(word, value);
    } else rest.push(word);
  }
  return { own, rest };
}

/** Runs the server until it is interrupted; resolves to its exit status. */
export async function web(args) {
  const { own, rest } = pageOptions(args);
  const options = parseStartArguments(rest);
  let kernel = options.kernel === undefined ? undefined : userFile(options.kernel);
  let initrd = options.initrd === undefined ? undefined : userFile(options.initrd);
  if (kernel === undefined) {
    const guest = await fetchGuest();
    kernel = guest.kernel;
    initrd ??= guest.initrd;
  }
  const words = bhyveArguments({ kernel, initrd, append: options.append, extra: options.bhyve });
  progress('the page and the guest are served from this machine; nothing else is fetched');
  return runInherited(process.execPath, [join(root, 'dist/bin/webhyve-web.js'), ...own, '--', ...words], {
    cwd: process.env.INIT_CWD ?? process.cwd(),
  });
}
