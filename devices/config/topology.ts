/** The number of vCPUs and how they are grouped: bhyve(8), -c. */
import { parseInteger } from './c-numbers.ts';
import { BhyveExit, EX_USAGE, EXIT_ERROR } from './errors.ts';
import type { ConfigTree } from './tree.ts';

export interface Topology {
  readonly cpus: number;
  readonly sockets: number;
  readonly cores: number;
  readonly threads: number;
}

const KEYS = ['cpus', 'sockets', 'cores', 'threads'] as const;
type Key = (typeof KEYS)[number];

/** Topology values and their product are 16-bit numbers in bhyve. */
const MAX_TOPOLOGY = 0xffff;
/** VM_MAXCPU: bhyve(8), -c, "The current maximum number of guest virtual CPUs is 16." */
export const MAX_VCPUS = 16;

/** Applies one `-c`: `[[cpus=]N][,sockets=N][,cores=N][,threads=N][,model=NAME]`. The values are looked at by {@link readTopology}. */
export function parseTopologyOption(tree: ConfigTree, argument: string): void {
  if (argument === '') {
    for (const key of ['sockets', 'cores', 'threads', 'cpus'] as const) tree.set(key, '1');
    return;
  }
  for (const token of argument.split(',')) {
    const key = KEYS.find((name) => token.startsWith(`${name}=`));
    if (key) tree.set(key, token.slice(key.length + 1));
    else if (token.startsWith('model=')) tree.set('cpu.model', token.slice('model='.length));
    else if (token.includes('=')) throw tree.exit(`invalid cpu topology '${argument}'`, EX_USAGE);
    else tree.set('cpus', token);
  }
}

/** Checks and completes the four variables. Exits with status 4 when they do not fit together. */
export function readTopology(tree: ConfigTree): Topology {
  const read = (key: Key): number | undefined => {
    const text = tree.get(key);
    if (text === undefined) return undefined;
    const value = parseInteger(text, 1, MAX_TOPOLOGY);
    if (value === undefined) throw tree.exit(`Invalid value for ${key}: '${text}'`);
    return value;
  };
  const wanted = read('cpus');
  const cores = read('cores') ?? 1;
  const threads = read('threads') ?? 1;
  const sockets = read('sockets') ?? wanted ?? 1;
  const cpus = sockets * cores * threads;
  if (cpus > MAX_TOPOLOGY) throw tree.exit(`Computed number of vCPUs too high: ${cpus}`);
  if (wanted !== undefined && wanted !== cpus) {
    throw tree.exit(`Topology (${sockets} sockets, ${cores} cores, ${threads} threads) does not match ${wanted} vCPUs`);
  }
  return { cpus, sockets, cores, threads };
}

/** Exits with status 4 for more vCPUs than a machine can have. bhyve finds out when the machine exists, after -p and -m. */
export function checkVcpuCount({ cpus }: Topology): void {
  if (cpus > MAX_VCPUS) {
    throw new BhyveExit(EXIT_ERROR, `${cpus} vCPUs requested but only ${MAX_VCPUS} available\n`);
  }
}
