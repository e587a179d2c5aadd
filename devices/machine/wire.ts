/** -S: guest memory that is there from the start and stays. */
import { CHUNK_SIZE } from '../../core-as/layout.ts';
import { BhyveExit } from '../config/index.ts';
import type { GuestMemory } from '../bus/guest-memory.ts';
import { poolBytes, type MemoryPlan } from './core.ts';
import type { MachineHost } from './host.ts';

const EXIT_ERROR = 4;
const FOUR_GIB = 0x1_0000_0000;
const HOST_PAGE_BYTES = 4096;

const mib = (bytes: number): number => Math.floor(bytes / 2 ** 20);

function refuse(reason: string): never {
  // bhyve's line is that of vm_setup_memory(): ENOMEM.
  throw new BhyveExit(EXIT_ERROR, `-S: ${reason}\nUnable to setup memory (12)\n`);
}

/** Exits with status 4 where not all of guest memory can be kept in the host's. Before the machine's memory is made. */
export function checkWired(plan: MemoryPlan, host: MachineHost): void {
  const guestBytes = plan.lowBytes + plan.highBytes;
  const heldBytes = poolBytes(plan);
  if (guestBytes > heldBytes) {
    refuse(`${mib(guestBytes)} MiB of guest memory cannot be wired: a machine holds ${mib(heldBytes)} MiB at a time`);
  }
  const { refusal, warning } = host.wire?.(guestBytes) ?? { warning: 'nothing here keeps memory from being swapped' };
  if (refusal !== undefined) refuse(refusal);
  if (warning !== undefined) host.message(`-S: ${warning}`);
}

/** Takes all of guest memory from the host, page by page: it is never short later. */
export function populate(memory: GuestMemory): void {
  for (const [start, lengthBytes] of [
    [0, memory.lowBytes],
    [FOUR_GIB, memory.highBytes],
  ] as const) {
    for (let gpa = start; gpa < start + lengthBytes; gpa += CHUNK_SIZE) {
      for (const view of memory.views(gpa, Math.min(CHUNK_SIZE, start + lengthBytes - gpa))) {
        for (let at = 0; at < view.length; at += HOST_PAGE_BYTES) view[at] = 0;
      }
    }
  }
}
