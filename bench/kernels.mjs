/**
 * The kernels of bench/guest/kernels.c for the guest: the program is built with the host's gcc and travels in a second archive behind the guest's
 * initramfs.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root, runCaptured, SetupError } from '../host-node/setup/common.mjs';
import { CpioWriter } from '../host-node/setup/cpio.mjs';

const SOURCE = join(root, 'bench/guest/kernels.c');
const DIRECTORY = join(root, 'build/bench');
/** The kernel looks for a further archive at a multiple of four bytes. */
const ALIGNMENT = 4;

/** In registers and memory of one program. */
const PROCESSOR = [
  ...[
    'alu',
    'divide',
    'sieve',
    'recursion',
    'quicksort',
    'hash',
    'list',
    'crc32',
    'bits',
    'copy',
    'strings',
    'bytecode',
  ],
  ...['matrix', 'mandelbrot', 'bodies', 'vectors', 'queens', 'matches'],
];
/** With the guest's kernel. */
const SYSTEM = ['forks', 'execs', 'pipes', 'syscalls', 'faults'];

const workload = (name) => ({ name, command: `kernels ${name}` });
export const PROCESSOR_KERNELS = PROCESSOR.map(workload);
export const SYSTEM_KERNELS = SYSTEM.map(workload);

/** Builds the program; path of it, or undefined when there is no C compiler. */
export function buildKernels() {
  mkdirSync(DIRECTORY, { recursive: true });
  const program = join(DIRECTORY, 'kernels');
  const { status, stderr } = runCaptured('gcc', ['-O2', '-static', '-o', program, SOURCE, '-lm']);
  // Not to be started: there is none.
  if (status === undefined) return undefined;
  if (status !== 0) throw new SetupError(`${SOURCE} cannot be built: ${stderr}`);
  return program;
}

/** The guest with the program as /bin/kernels; undefined when there is no C compiler. */
export function withKernels(guest) {
  const program = buildKernels();
  if (program === undefined) return undefined;
  const archive = new CpioWriter();
  archive.file('bin/kernels', readFileSync(program), 0o755);
  const first = readFileSync(guest.initrd);
  const padding = Buffer.alloc((ALIGNMENT - (first.length % ALIGNMENT)) % ALIGNMENT);
  const initrd = join(DIRECTORY, 'kernels.cpio');
  writeFileSync(initrd, Buffer.concat([first, padding, archive.finish()]));
  return { ...guest, initrd };
}
