/** Submission queue entries (NVM Express 1.4, 4.2) and the memory that their PRP entries name (4.3). */
import { GuestRegions } from '../block/guest-regions.ts';
import type { GuestMemory } from '../bus/guest-memory.ts';
import {
  MAX_TRANSFER_BYTES,
  PAGE_BYTES,
  SC_INVALID_FIELD,
  SC_INVALID_PRP_OFFSET,
  SQ_ENTRY_BYTES,
} from './registers.ts';

/** A command's status other than success; ends the command, never leaves the controller. */
export class NvmeError extends Error {
  override readonly name = 'NvmeError';
  constructor(readonly status: number) {
    super(`NVMe status 0x${status.toString(16)}`);
  }
}

/** A submission queue entry: a copy, since the host may reuse the entry at any time. */
export class NvmeCommand {
  readonly #view: DataView;

  constructor(readonly bytes: Uint8Array) {
    if (bytes.length !== SQ_ENTRY_BYTES) throw new RangeError(`command of ${bytes.length} bytes`);
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get opcode(): number {
    return this.#view.getUint8(0);
  }
  /** FUSE in bits 1:0, PSDT in bits 7:6. */
  get flags(): number {
    return this.#view.getUint8(1);
  }
  get id(): number {
    return this.#view.getUint16(2, true);
  }
  get namespaceId(): number {
    return this.#view.getUint32(4, true);
  }
  get prp1(): number {
    return this.#u64(24);
  }
  get prp2(): number {
    return this.#u64(32);
  }

  /** Command dword `n`, 10 to 15. */
  dword(n: number): number {
    return this.#view.getUint32(4 * n, true);
  }

  /** First logical block of an I/O command. Exact below 2^53; anything above is beyond every namespace. */
  get startBlock(): number {
    return this.#u64(40);
  }

  /** Addresses from 2^53 up come out inexact, but never as something that is RAM. */
  #u64(offset: number): number {
    return this.#view.getUint32(offset + 4, true) * 2 ** 32 + this.#view.getUint32(offset, true);
  }
}

/**
 * The memory of a command's data. Throws NvmeError for entries that make no sense, GuestAddressError for a list that is not in RAM; the
 * pages themselves are checked when their views are made.
 */
export function dataRegions(memory: GuestMemory, command: NvmeCommand, lengthBytes: number): GuestRegions {
  if (lengthBytes > MAX_TRANSFER_BYTES || (command.flags & 0xc0) !== 0) throw new NvmeError(SC_INVALID_FIELD);
  const regions = new GuestRegions(memory);
  const { prp1, prp2 } = command;
  const first = Math.min(lengthBytes, PAGE_BYTES - (prp1 % PAGE_BYTES));
  if (first > 0) regions.add(prp1, first);
  let left = lengthBytes - first;
  if (left === 0) return regions;
  if (left <= PAGE_BYTES) {
    if (prp2 % PAGE_BYTES !== 0) throw new NvmeError(SC_INVALID_PRP_OFFSET);
    regions.add(prp2, left);
    return regions;
  }
  for (let list = prp2; left > 0;) {
    if (list % 8 !== 0) throw new NvmeError(SC_INVALID_PRP_OFFSET);
    // A list ends at its page's end; when more is left, its last entry names the next list.
    const room = (PAGE_BYTES - (list % PAGE_BYTES)) / 8;
    const wanted = Math.ceil(left / PAGE_BYTES);
    const entries = new Uint8Array(8 * Math.min(room, wanted));
    memory.read(list, entries);
    const view = new DataView(entries.buffer);
    const count = wanted > room ? room - 1 : wanted;
    for (let i = 0; i < count; i++) {
      const page = view.getUint32(8 * i + 4, true) * 2 ** 32 + view.getUint32(8 * i, true);
      if (page % PAGE_BYTES !== 0) throw new NvmeError(SC_INVALID_PRP_OFFSET);
      const part = Math.min(left, PAGE_BYTES);
      regions.add(page, part);
      left -= part;
    }
    // A page of one entry that only leads on would let a host build a circle that never gets anywhere.
    if (count === 0) throw new NvmeError(SC_INVALID_PRP_OFFSET);
    if (left > 0) list = view.getUint32(8 * count + 4, true) * 2 ** 32 + view.getUint32(8 * count, true);
  }
  return regions;
}
