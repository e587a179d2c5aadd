/**
 * Monitor mode (-M): this process stays, runs the machine in another one, starts it again whenever the guest reboots, and removes its
 * name when it has ended. Its status is the last run's.
 */
import { spawn } from 'node:child_process';
import { Registry } from './registry/registry.ts';
import { openRuntimeDir } from './registry/runtime-dir.ts';

/** Set for the process that runs the machine, which is not to watch itself: which run this is. */
const MONITORED = 'WEBHYVE_MONITORED';
const FIRST_RUN = 'first';
const LATER_RUN = 'later';
const FORWARDED = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const;
const REBOOT_MESSAGE = 'reboot';
/** A machine that reboots at once, again and again, must not take the host's processor. */
const SHORTEST_RUN_MS = 1000;

export const isMonitored = (): boolean => process.env[MONITORED] !== undefined;

/** True when the guest has rebooted since the command was given: it starts from its beginning, whatever -r says. */
export const hasRebooted = (): boolean => process.env[MONITORED] === LATER_RUN;

/** Tells the monitor, if there is one, that the guest rebooted. */
export function reportReboot(): void {
  process.send?.(REBOOT_MESSAGE);
}

interface End {
  /** The guest rebooted: not a suspension, whose status is the same. */
  readonly rebooted: boolean;
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

function runOnce(argv: readonly string[], run: string): Promise<End> {
  const child = spawn(process.execPath, [...process.execArgv, process.argv[1] ?? '', ...argv], {
    stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
    env: { ...process.env, [MONITORED]: run },
  });
  let rebooted = false;
  child.on('message', (message) => {
    rebooted = message === REBOOT_MESSAGE;
  });
  const forward = (signal: NodeJS.Signals): void => {
    child.kill(signal);
  };
  for (const signal of FORWARDED) process.on(signal, forward);
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) => {
      for (const each of FORWARDED) process.off(each, forward);
      resolve({ rebooted, code, signal });
    });
  });
}

/** Runs the machine until it ends otherwise than by a reboot. Resolves with the status to end with. */
export async function monitor(argv: readonly string[], name: string): Promise<number> {
  for (let run = FIRST_RUN; ; run = LATER_RUN) {
    const startedMs = performance.now();
    const { rebooted, code, signal } = await runOnce(argv, run);
    if (rebooted && signal === null) {
      const leftMs = SHORTEST_RUN_MS - (performance.now() - startedMs);
      if (leftMs > 0) await new Promise((resolve) => setTimeout(resolve, leftMs));
      continue;
    }
    forget(name);
    // Whoever waits for this process sees the signal that the machine's process died of.
    if (signal !== null) process.kill(process.pid, signal);
    return code ?? 128;
  }
}

function forget(name: string): void {
  try {
    const registry = new Registry(openRuntimeDir());
    const record = registry.read(name);
    if (record && record.state !== 'running') registry.remove(name, record);
  } catch {
    // Nobody could find the machine by its name, so there is nothing to forget.
  }
}
