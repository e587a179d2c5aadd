/** Transfer request blocks and the rings that drivers put them in (xHCI 1.2, 4.9). */
import type { GuestMemory } from '../../bus/guest-memory.ts';
import { TRB_BYTES, TRB_CYCLE, TRB_LINK, TRB_TOGGLE_CYCLE } from './registers.ts';

/** Link TRBs in a row: a driver needs one between two others, a ring of nothing else would never end. */
const MAX_LINKS = 8;

/** One TRB, read from guest memory once. */
export interface Trb {
  /** Where it lies. */
  readonly gpa: number;
  readonly low: number;
  readonly high: number;
  readonly status: number;
  readonly control: number;
}

export function trbType(trb: Trb): number {
  return (trb.control >>> 10) & 0x3f;
}

/** Beyond the address space of every processor, and exact as a number. */
const NOWHERE = 2 ** 52;

/** An address of 64 bits as a number. One that no processor could form is replaced by one that is not RAM either. */
export function address(low: number, high: number): number {
  return Math.min(NOWHERE, high * 2 ** 32 + low);
}

/** The TRB's parameter as an address. */
export function parameter(trb: Trb): number {
  return address(trb.low, trb.high);
}

/** Reads a TRB. Throws GuestAddressError. */
export function readTrb(memory: GuestMemory, gpa: number): Trb {
  const bytes = new Uint8Array(TRB_BYTES);
  memory.read(gpa, bytes);
  const view = new DataView(bytes.buffer);
  return {
    gpa,
    low: view.getUint32(0, true),
    high: view.getUint32(4, true),
    status: view.getUint32(8, true),
    control: view.getUint32(12, true),
  };
}

/** The consumer's place in a ring. */
export interface RingPlace {
  /** Of the next TRB. */
  readonly dequeue: number;
  /** Cycle state: 1 or 0. */
  readonly cycle: number;
}

/** A ring that makes no sense: too many links in a row. */
export class RingError extends Error {
  override readonly name = 'RingError';
}

/**
 * The TRB at a place, following links, and the place behind it; `trb` is undefined when the driver has not written one yet, and the place is then
 * that of the TRB to come. Throws GuestAddressError or {@link RingError}.
 */
export function nextTrb(
  memory: GuestMemory,
  place: RingPlace,
): { readonly trb: Trb | undefined; readonly place: RingPlace } {
  let { dequeue, cycle } = place;
  for (let links = 0; links <= MAX_LINKS; links++) {
    const trb = readTrb(memory, dequeue);
    if ((trb.control & TRB_CYCLE) !== cycle) return { trb: undefined, place: { dequeue, cycle } };
    if (trbType(trb) !== TRB_LINK) return { trb, place: { dequeue: dequeue + TRB_BYTES, cycle } };
    dequeue = parameter(trb) - (trb.low & 0xf);
    if (trb.control & TRB_TOGGLE_CYCLE) cycle ^= 1;
  }
  throw new RingError('more link TRBs in a row than any ring has');
}
