/**
 * Work beyond the price of an instruction. A time slice counts instructions (run.ts), and one of them may copy a megabyte or wait for the
 * devices' thread: whoever does such a thing charges it here, in instructions' worth, and the slice ends when enough has come together, so that
 * due timers and interrupts are looked at.
 */
import { PEND_LOOK, R_PENDING } from '../layout';
import { cpu, leaveBlock } from './state';

/** Some 20 microseconds. */
const MOST_WORK: u32 = 5000;

/** A call of the devices' thread: it may take 10 microseconds or, on a busy host, a thousand times that, so each ends the slice. */
export const WORK_HOST_CALL: u32 = MOST_WORK;
/** An in-core device behind INTC_LOCK. */
export const WORK_DEVICE: u32 = 50;
/** A transcendental function of the x87, to the last bit. */
export const WORK_TRANSCENDENTAL: u32 = 1000;
/** Decoded code is dropped and made again. */
export const WORK_DROP_CODE: u32 = 500;
/** Something of a microsecond: CPUID, a task switch, an image of XSAVE, a translation cache that is emptied. */
export const WORK_MICROSECOND: u32 = 250;
/** Bytes that are moved in bulk for one instruction's worth. */
export const BULK_BYTES: u32 = 16;
/** An element of a string instruction that is not. */
export const WORK_ELEMENT: u32 = 8;

let workDone: u32 = 0;

/** Charges work. The slice ends at the next boundary of blocks. */
export function charge(instructions: u32): void {
  workDone += instructions;
  if (workDone >= MOST_WORK) atomic.or<u32>(cpu, PEND_LOOK, R_PENDING);
}

/** Charges the work of an instruction that is complete but for its place in its block: the block ends after it. */
export function chargeInstruction(instructions: u32): void {
  charge(instructions);
  if (workDone >= MOST_WORK) leaveBlock();
}

/** What was charged since the last call, in instructions' worth. */
export function takeWork(): u32 {
  const work = workDone;
  workDone = 0;
  return work;
}
