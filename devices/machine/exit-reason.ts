/** How a machine ends, and bhyve(8)'s exit status for it. */
import {
  ERR_POOL_EXHAUSTED,
  SUSPEND_ERROR,
  SUSPEND_HALT,
  SUSPEND_POWEROFF,
  SUSPEND_RESET,
  SUSPEND_TRIPLEFAULT,
} from '../../core-as/layout.ts';
import type { AccessSize } from '../bus/port-bus.ts';
import type { SuspendReason } from '../platform/suspend.ts';

export type ExitKind = 'reset' | 'poweroff' | 'halt' | 'triplefault' | 'error' | 'exit' | 'destroyed';

export interface ExitReason {
  /** Exit status of bhyve(8): 0 reset, 1 power-off, 2 halt, 3 triple fault, 4 error; any for `exit` (pc-testdev). */
  readonly code: number;
  readonly reason: ExitKind;
  /** One line for a person. */
  readonly message: string;
  /** Instruction pointer of vCPU 0 at the end. */
  readonly rip: bigint;
}

/** bhyve aborts (SIGABRT as a shell sees it) at an access that -e forbids. */
export const ABORT_STATUS = 134;

/** bhyve's message for that access. */
export function unhandledPort(port: number, size: AccessSize, write: boolean, rip: bigint): string {
  const width = size === 1 ? 'b' : size === 2 ? 'w' : 'l';
  return `Unhandled ${write ? 'out' : 'in'}${width} 0x${port.toString(16).padStart(4, '0')} at 0x${rip.toString(16)}`;
}

/** SUSPEND_* of the layout for what a device asks for. */
export function suspendCode(reason: SuspendReason): number {
  switch (reason) {
    case 'reset':
      return SUSPEND_RESET;
    case 'poweroff':
      return SUSPEND_POWEROFF;
    case 'halt':
      return SUSPEND_HALT;
    case 'triplefault':
      return SUSPEND_TRIPLEFAULT;
    case 'exit':
      return SUSPEND_ERROR;
  }
}

const KINDS = new Map<number, Omit<ExitReason, 'rip'>>([
  [SUSPEND_RESET, { code: 0, reason: 'reset', message: 'the guest reset the machine' }],
  [SUSPEND_POWEROFF, { code: 1, reason: 'poweroff', message: 'the guest powered the machine off' }],
  [SUSPEND_HALT, { code: 2, reason: 'halt', message: 'every vCPU halted with interrupts disabled' }],
  [SUSPEND_TRIPLEFAULT, { code: 3, reason: 'triplefault', message: 'triple fault' }],
]);

/** The reason behind a SUSPEND_* code; `error` with the given message for all others. */
export function exitReason(code: number, rip: bigint, errorMessage: string): ExitReason {
  const known = KINDS.get(code) ?? { code: 4, reason: 'error' as const, message: errorMessage };
  return { ...known, rip };
}

/** What ERR_* of the core means. */
export function coreErrorMessage(detail: number, poolMib: number): string {
  if (detail === ERR_POOL_EXHAUSTED) {
    return `the guest touched more than the ${poolMib} MiB of memory that one machine can hold at a time`;
  }
  return `internal error ${detail} of the processor core`;
}
