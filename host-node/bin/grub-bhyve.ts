/** grub-bhyve(8). */
import { basename } from 'node:path';
import { runGrubBhyve } from '../grub-bhyve.ts';
import { ignoreLostReaders } from '../node-host.ts';

ignoreLostReaders();
const programName = basename(process.argv[1] ?? 'grub-bhyve').replace(/\.[cm]?js$/, '');

/** All of standard input; nothing from a terminal, where nobody is asked. */
async function readInput(maxBytes: number): Promise<string | undefined> {
  if (process.stdin.isTTY) return undefined;
  let text = '';
  for await (const piece of process.stdin.setEncoding('utf8')) {
    text += String(piece);
    if (text.length > maxBytes) return undefined;
  }
  return text;
}

process.exitCode = await runGrubBhyve(process.argv.slice(2), programName, {
  stdout: (text) => process.stdout.write(text),
  stderr: (text) => process.stderr.write(text),
  readInput,
});
