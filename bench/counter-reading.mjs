/** Counters of a running webhyve, as bhyvectl prints them. */
import { join } from 'node:path';
import { root, runCaptured, SetupError } from '../host-node/setup/common.mjs';

/** Counters of the machine and its first vCPU by name. */
export function readCounters(vm) {
  const program = join(root, 'dist/bin/bhyvectl.js');
  const { status, stdout, stderr } = runCaptured(process.execPath, [program, `--vm=${vm}`, '--get-stats']);
  if (status !== 0) throw new SetupError(`no counters: ${stderr}`);
  const lines = stdout.toString().matchAll(/^(.*?) *\t(\d+)$/gm);
  return new Map([...lines].map(([, name, value]) => [name, Number(value)]));
}
