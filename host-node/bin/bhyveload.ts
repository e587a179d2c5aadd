/** bhyveload(8). */
import { basename } from 'node:path';
import { runBhyveload } from '../bhyveload.ts';
import { ignoreLostReaders } from '../node-host.ts';

ignoreLostReaders();
const programName = basename(process.argv[1] ?? 'bhyveload').replace(/\.[cm]?js$/, '');
process.exitCode = await runBhyveload(process.argv.slice(2), programName, (text) => process.stderr.write(text));
