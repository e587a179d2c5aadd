/** The I/O port space of the user half: 64 Ki ports, each claimed by at most one handler. */
import { PostedRanges, type PostedListener, type PostedRange } from './posted-ranges.ts';

export type AccessSize = 1 | 2 | 4;

export interface PortHandler {
  /** A guest IN. The value is masked to the size by the bus. */
  readPort(port: number, size: AccessSize): number;
  /** A guest OUT. */
  writePort(port: number, size: AccessSize, value: number): void;
}

/** A range is wanted that another claim has. */
export class RangeTakenError extends Error {
  override readonly name = 'RangeTakenError';
}

/** Value that a read of `size` bytes returns where nothing answers. */
export function allOnes(size: AccessSize): number {
  return size === 4 ? 0xffffffff : size === 2 ? 0xffff : 0xff;
}

interface Claim {
  readonly name: string;
  readonly first: number;
  readonly count: number;
  readonly handler: PortHandler;
}

export class PortBus {
  readonly #claims = new Map<number, Claim>();
  /** Reads and writes that no device claimed (default behaviour: all-ones, ignored). */
  unclaimedReads = 0;
  unclaimedWrites = 0;
  /** Called for an unclaimed access of a vCPU, which stands still meanwhile (-e makes the machine stop here). */
  onUnclaimed: ((port: number, size: AccessSize, write: boolean, vcpu: number) => void) | undefined;

  readonly #posted = new PostedRanges();

  /** Claims ports [first, first + count). Throws {@link RangeTakenError} when one of them is taken. Returns a function that releases them. */
  claim(name: string, first: number, count: number, handler: PortHandler): () => void {
    const claim: Claim = { name, first, count, handler };
    for (let port = first; port < first + count; port++) {
      const taken = this.#claims.get(port);
      if (taken) throw new RangeTakenError(`port 0x${port.toString(16)} wanted by ${name} belongs to ${taken.name}`);
    }
    for (let port = first; port < first + count; port++) this.#claims.set(port, claim);
    return () => {
      for (let port = first; port < first + count; port++) {
        if (this.#claims.get(port) === claim) this.#claims.delete(port);
      }
    };
  }

  /** Writes within these parts of a claim that begins at `first` need no answer. Returns a function that ends that. Ports know no quiet ones. */
  post(first: number, parts: readonly PostedRange[]): () => void {
    return this.#posted.add(first, parts);
  }

  /** Tells a listener of every posted range, now and whenever they change. */
  watchPosted(listener: PostedListener): void {
    this.#posted.watch(listener);
  }

  /** True when some device answers at the port. */
  claimed(port: number): boolean {
    return this.#claims.has(port);
  }

  /** The port after the claim that has a port of [first, first + count); undefined when all of them are free. */
  takenUntil(first: number, count: number): number | undefined {
    for (let port = first; port < first + count; port++) {
      const claim = this.#claims.get(port);
      if (claim) return claim.first + claim.count;
    }
    return undefined;
  }

  read(port: number, size: AccessSize, vcpu = 0): number {
    const claim = this.#claims.get(port);
    if (!claim) {
      this.unclaimedReads++;
      this.onUnclaimed?.(port, size, false, vcpu);
      return allOnes(size);
    }
    return (claim.handler.readPort(port, size) & allOnes(size)) >>> 0;
  }

  write(port: number, size: AccessSize, value: number, vcpu = 0): void {
    const claim = this.#claims.get(port);
    if (!claim) {
      this.unclaimedWrites++;
      this.onUnclaimed?.(port, size, true, vcpu);
      return;
    }
    claim.handler.writePort(port, size, (value & allOnes(size)) >>> 0);
  }
}
