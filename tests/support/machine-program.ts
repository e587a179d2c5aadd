/** The command as its users run it: bundled from the sources, in a process of its own, on pipes or on a terminal. */
import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Console, type RunResult } from '../../devices/serial/console.ts';
import { compiledCorePath } from './compile-core.ts';
import { BASIC_ARGS, linuxGuest, QUICK_CMDLINE, type GuestVariant } from './machine.ts';
import { bundlePrograms } from './program-bundle.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const BOOT_TIMEOUT_MS = 150_000;
const STDERR_IN_ERRORS = 1000;
/** Linux counts processor time in these units for user space (USER_HZ), whatever the kernel uses. */
const TICKS_PER_SECOND = 100;

let machines = 0;
let bundled: Promise<string> | undefined;

/** Path of the bundled bhyve, with bhyvectl.js, bhyveload.js and grub-bhyve.js beside it; bundled once per test process. */
export function programForTests(): Promise<string> {
  bundled ??= (async () => {
    const directory = join(root, 'build', 'test', `program-${process.pid}`);
    mkdirSync(directory, { recursive: true });
    process.on('exit', () => rmSync(directory, { recursive: true, force: true }));
    copyFileSync(await compiledCorePath('core-as/index.ts', 'release'), join(directory, 'core.wasm'));
    await bundlePrograms(directory, ['bhyve', 'bhyvectl', 'bhyveload', 'grub-bhyve'], '.js');
    return join(directory, 'bin', 'bhyve.js');
  })();
  return bundled;
}

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** Every process that was started and has not ended, for {@link killPrograms}. */
const started = new Set<Program>();

/** For `afterEach`: processes that a failed test left behind. */
export async function killPrograms(): Promise<void> {
  await Promise.all([...started].map((program) => program.kill()));
}

export class Program {
  /** What it prints and what is typed into it, as on a console. */
  readonly console: Console;
  readonly ended: Promise<Ended>;
  stderr = '';
  readonly #child: ChildProcessWithoutNullStreams;

  constructor(command: string, args: readonly string[]) {
    this.#child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'] });
    this.console = new Console(command, (bytes) => this.#child.stdin.write(bytes));
    this.#child.stdout.on('data', (bytes: Buffer) => this.console.deliver(bytes));
    this.#child.stderr.on('data', (bytes: Buffer) => (this.stderr += bytes.toString('latin1')));
    // A process that has ended takes no input; the console says that it has.
    this.#child.stdin.on('error', () => undefined);
    started.add(this);
    this.ended = new Promise((resolve, reject) => {
      this.#child.on('error', reject);
      this.#child.on('close', (code, signal) => {
        started.delete(this);
        this.console.close(`status ${code ?? signal}; standard error: ${this.stderr.slice(-STDERR_IN_ERRORS)}`);
        resolve({ code, signal });
      });
    });
  }

  get pid(): number {
    if (this.#child.pid === undefined) throw new Error('the program could not be started');
    return this.#child.pid;
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  async kill(): Promise<void> {
    this.signal('SIGKILL');
    await this.ended;
  }

  /** Processor time used so far, of user and system. */
  cpuSeconds(): number {
    const stat = readFileSync(`/proc/${this.pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
  }

  /** Memory of the host that it occupies now. */
  residentMib(): number {
    return this.#statusMib('VmRSS');
  }

  /** The most that it has occupied since it started, or since {@link forgetPeak}. */
  peakResidentMib(): number {
    return this.#statusMib('VmHWM');
  }

  forgetPeak(): void {
    // proc(5): 5 resets the peak resident set size.
    writeFileSync(`/proc/${this.pid}/clear_refs`, '5');
  }

  #statusMib(field: string): number {
    const status = readFileSync(`/proc/${this.pid}/status`, 'utf8');
    const [, kib] = new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(status) ?? [];
    return Number(kib) / 1024;
  }

  /** Runs a command in the guest's shell. */
  run(command: string, timeout = 90_000): Promise<RunResult> {
    return this.console.run(command, { timeout });
  }
}

export interface LinuxCommandOptions {
  /** Words before the machine's name: -m, -c, further devices. */
  readonly args?: readonly string[];
  /** Words of the kernel's command line, added to the usual ones. */
  readonly append?: string;
  readonly initrd?: string;
  /** Instead of a name of its own. */
  readonly name?: string;
  readonly variant?: GuestVariant;
}

/** Starts the command with words of its own, and does not wait for anything. */
export async function startProgram(args: readonly string[]): Promise<Program> {
  return new Program(process.execPath, [await programForTests(), ...args]);
}

/** The words of a command line that boots Linux, beginning with the program. */
export async function linuxCommand(options: LinuxCommandOptions = {}): Promise<[string, ...string[]]> {
  const { kernel, initrd } = await linuxGuest(options.variant);
  const words = options.append === undefined ? QUICK_CMDLINE : `${QUICK_CMDLINE} ${options.append}`;
  return [
    process.execPath,
    await programForTests(),
    ...BASIC_ARGS,
    ...(options.args ?? []),
    '-f',
    `kexec,${kernel},${options.initrd ?? initrd},${words}`,
    // Names of running machines are registered: no two may have the same.
    options.name ?? `test-${process.pid}-${++machines}`,
  ];
}

/** Boots Linux in a process of its own; resolves at the shell's first prompt. */
export async function bootLinuxProgram(options: LinuxCommandOptions = {}): Promise<Program> {
  const [command, ...args] = await linuxCommand(options);
  const program = new Program(command, args);
  await program.console.expect('/ # ', { timeout: BOOT_TIMEOUT_MS });
  return program;
}
