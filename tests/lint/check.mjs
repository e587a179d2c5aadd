/**
 * `npm run check`: every script of package.json whose name begins with "check:", two at a time. Prints the output of those that fail,
 * and ends with status 1 when one did.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';

const AT_A_TIME = 2;

const { scripts } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
// In this order: the longest first.
const names = Object.keys(scripts).filter((name) => name.startsWith('check:'));
const startedMs = performance.now();

async function check(name) {
  const child = spawn('npm', ['run', '--silent', name], {
    stdio: ['ignore', 'pipe', 'pipe'],
    shell: process.platform === 'win32',
  });
  const output = [];
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => output.push(chunk));
  const [status] = await once(child, 'close');
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(0);
  console.log(`${name}: ${status === 0 ? 'passed' : 'FAILED'} (after ${seconds} s)`);
  if (status !== 0) {
    process.stdout.write(Buffer.concat(output));
    process.exitCode = 1;
  }
}

async function worker() {
  for (let name = names.shift(); name !== undefined; name = names.shift()) await check(name);
}
await Promise.all(Array.from({ length: AT_A_TIME }, worker));
