/** `webhyve-web [--port N] [--host ADDRESS] [--start] -- WORDS`: a page with the machine of a bhyve(8) command line. */
import { parseArgs } from 'node:util';
import { ignoreLostReaders } from '../node-host.ts';
import { startDevServer } from '../web/dev-server.ts';

const USAGE = 'usage: webhyve-web [--port PORT] [--host ADDRESS] [--start] [-- words of a bhyve command line]';
const DEFAULT_PORT = 8080;
const USAGE_STATUS = 64;

ignoreLostReaders();
try {
  const separator = process.argv.indexOf('--');
  const own = process.argv.slice(2, separator === -1 ? undefined : separator);
  const argv = separator === -1 ? [] : process.argv.slice(separator + 1);
  const { values } = parseArgs({
    args: own,
    options: {
      port: { type: 'string' },
      host: { type: 'string', default: '127.0.0.1' },
      start: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) process.stdout.write(`${USAGE}\n`);
  else {
    const port = Number(values.port ?? DEFAULT_PORT);
    if (!Number.isInteger(port) || port < 0 || port > 0xffff) throw new TypeError(`--port ${values.port}: no port`);
    const listen = (number: number): ReturnType<typeof startDevServer> =>
      startDevServer({ argv, directory: process.cwd(), host: values.host, port: number, autostart: values.start });
    const server = await listen(port).catch((error: unknown) => {
      const inUse = error instanceof Error && 'code' in error && error.code === 'EADDRINUSE';
      // A port that was asked for by name is meant.
      if (!inUse || values.port !== undefined) throw error;
      return listen(0);
    });
    process.stdout.write(`webhyve is at ${server.origin}/ (Ctrl-C ends it)\n`);
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.once(signal, () => void server.close().then(() => process.exit(0)));
    }
  }
} catch (error) {
  process.stderr.write(`webhyve-web: ${error instanceof Error ? error.message : String(error)}\n`);
  if (error instanceof TypeError) process.stderr.write(`${USAGE}\n`);
  process.exitCode = error instanceof TypeError ? USAGE_STATUS : 1;
}
