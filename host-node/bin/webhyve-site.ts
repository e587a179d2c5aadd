/** `webhyve-site FOLDER [options] -- WORDS`: a folder for a static server, with the machine of a bhyve(8) command line. */
import { parseArgs } from 'node:util';
import { BhyveExit } from '../../devices/config/index.ts';
import { ignoreLostReaders } from '../node-host.ts';
import { writeSite } from '../web/site.ts';

const USAGE =
  'usage: webhyve-site FOLDER [--title TEXT] [--start] [--snapshot-at TEXT] [--limit SECONDS] -- words of a bhyve command line';
const DEFAULT_LIMIT_SECONDS = 300;
const USAGE_STATUS = 64;

function say(text: string): void {
  process.stderr.write(`webhyve-site: ${text}\n`);
}

ignoreLostReaders();
try {
  const separator = process.argv.indexOf('--');
  const { values, positionals } = parseArgs({
    args: process.argv.slice(2, separator === -1 ? undefined : separator),
    allowPositionals: true,
    options: {
      title: { type: 'string' },
      start: { type: 'boolean', default: false },
      'snapshot-at': { type: 'string' },
      limit: { type: 'string', default: String(DEFAULT_LIMIT_SECONDS) },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  const [folder, ...surplus] = positionals;
  if (values.help) process.stdout.write(`${USAGE}\n`);
  else {
    if (folder === undefined || surplus.length > 0 || separator === -1)
      throw new TypeError('a folder and a command line are needed');
    const limitSeconds = Number(values.limit);
    if (!(limitSeconds > 0)) throw new TypeError(`--limit ${values.limit}: no number of seconds`);
    const report = await writeSite({
      folder,
      argv: process.argv.slice(separator + 1),
      directory: process.cwd(),
      title: values.title,
      autostart: values.start,
      snapshotAt: values['snapshot-at'],
      bootLimitMs: limitSeconds * 1000,
      progress: say,
    });
    const mib = (report.writtenBytes / 2 ** 20).toFixed(1);
    say(
      `${folder} is ready: ${report.files} files in ${report.chunks} chunks, ${mib} MiB; put it on any static server`,
    );
    process.exit(0);
  }
} catch (error) {
  const text =
    error instanceof BhyveExit ? error.stderrText.trimEnd() : error instanceof Error ? error.message : String(error);
  say(text);
  if (error instanceof TypeError) process.stderr.write(`${USAGE}\n`);
  process.exit(error instanceof TypeError ? USAGE_STATUS : 1);
}
