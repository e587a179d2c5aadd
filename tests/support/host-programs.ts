/** Programs of this host that tests run beside their machines. */
import { spawn, spawnSync } from 'node:child_process';

const LIMIT_MS = 600_000;

/** Runs a program; resolves to its standard output. Rejects with all that it printed when its status is not 0. */
export function hostRun(command: string, words: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, words, { stdio: ['ignore', 'pipe', 'pipe'], timeout: LIMIT_MS });
    let [output, problems] = ['', ''];
    child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (problems += chunk.toString()));
    child.on('error', reject);
    child.on('close', (status) => {
      if (status === 0) resolve(output);
      else reject(new Error(`${command} ${words.join(' ')}: status ${status}\n${output}${problems}`));
    });
  });
}

export function hostHas(command: string, ...words: string[]): boolean {
  return spawnSync(command, words).error === undefined;
}
