/** Waiting for the end of a machine, wherever it runs: the library of every host offers it in the same words. */
import type { ExitReason } from './exit-reason.ts';

/** What a wait lasts when nothing is said. */
export const DEFAULT_WAIT_MS = 30_000;

/** What of a machine a wait looks at. */
export interface Awaited {
  readonly name: string;
  readonly exited: Promise<ExitReason>;
  readonly consoles: Readonly<Record<string, { readonly name: string; readonly transcript: string }>>;
}

/** The last lines of every console, for messages. */
export function consoleTail({ consoles }: Pick<Awaited, 'consoles'>, lines = 40): string {
  return Object.values(consoles)
    .map(({ name, transcript }) => `last lines of ${name}:\n${transcript.split('\n').slice(-lines).join('\n')}`)
    .join('\n');
}

/** The machine's end, or undefined when it has not come within `timeoutMs`. */
export async function endWithin(machine: Pick<Awaited, 'exited'>, timeoutMs: number): Promise<ExitReason | undefined> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const expired = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), timeoutMs);
  });
  const reason = await Promise.race([machine.exited, expired]);
  clearTimeout(timer);
  return reason;
}

/** What a wait that was too short says. */
export function lateMessage(machine: Awaited, timeoutMs: number): string {
  return `${machine.name}: the machine had not ended after ${timeoutMs} ms\n${consoleTail(machine)}`;
}
