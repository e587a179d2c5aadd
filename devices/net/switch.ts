/** A learning Ethernet switch (IEEE 802.1D, 7.8 and 7.9) between cables: machines joined by name, the rooms of a relay. */
import type { NetworkFrame, OffloadCapabilities } from '../backends/network.ts';
import { addressKey } from './addresses.ts';
import { ETHERNET_HEADER_BYTES, FRAME_SOURCE, MAC_BYTES, MAX_FRAME_BYTES } from './ethernet.ts';
import { framesFor } from './offload.ts';
import { joined, lengthOf, sliceParts } from './wire.ts';

export interface SwitchLimits {
  /** Cables at once. */
  readonly ports: number;
  /** Ethernet addresses behind one cable. */
  readonly addressesPerPort: number;
  /** Bytes a second that one cable may send over a few seconds; Infinity: as many as it likes. */
  readonly bytesPerSecond: number;
}

export const DEFAULT_SWITCH_LIMITS: SwitchLimits = { ports: 64, addressesPerPort: 16, bytesPerSecond: Infinity };

/** The far end of a cable, as the switch sees it. */
export interface SwitchMember {
  readonly offload: OffloadCapabilities;
  /** A frame, to be copied or sent before this returns. False: it took nothing, and the frame is lost for it. */
  deliver(frame: NetworkFrame): boolean;
}

/** What a cable may save up of its rate, in seconds. */
const BURST_S = 2;
/** An address that was silent for so long may appear behind another cable (802.1D, table 7-5). */
const AGEING_MS = 300_000;

export class SwitchPort {
  /** Addresses seen behind this cable. */
  readonly addresses = new Set<string>();
  #allowance: number;
  #countedMs: number;

  constructor(
    private readonly owner: VirtualSwitch,
    readonly member: SwitchMember,
    private readonly bytesPerSecond: number,
    nowMs: number,
  ) {
    this.#allowance = bytesPerSecond * BURST_S;
    this.#countedMs = nowMs;
  }

  /** Sends a frame into the switch. */
  send(frame: NetworkFrame): void {
    this.owner.forward(this, frame);
  }

  unplug(): void {
    this.owner.unplug(this);
  }

  /** True when the rate allows so many bytes more. */
  allows(lengthBytes: number, nowMs: number): boolean {
    if (this.bytesPerSecond === Infinity) return true;
    const earned = ((nowMs - this.#countedMs) / 1000) * this.bytesPerSecond;
    this.#countedMs = nowMs;
    this.#allowance = Math.min(this.#allowance + earned, this.bytesPerSecond * BURST_S);
    if (this.#allowance < lengthBytes) return false;
    this.#allowance -= lengthBytes;
    return true;
  }
}

interface Owner {
  port: SwitchPort;
  heardMs: number;
}

export class VirtualSwitch {
  /** Frames whose sender's address belongs to another cable, or is one too many, or a group's. */
  spoofedFrames = 0;
  /** Frames beyond a cable's rate. */
  excessFrames = 0;
  malformedFrames = 0;
  /** Frames that a cable did not take. */
  lostFrames = 0;
  readonly #ports = new Set<SwitchPort>();
  readonly #owners = new Map<string, Owner>();

  constructor(
    private readonly nowMs: () => number,
    private readonly limits: SwitchLimits = DEFAULT_SWITCH_LIMITS,
  ) {}

  get portCount(): number {
    return this.#ports.size;
  }

  /** Plugs a cable in; undefined when all sockets are taken. A member that the operator trusts may be given no rate. */
  plug(member: SwitchMember, bytesPerSecond = this.limits.bytesPerSecond): SwitchPort | undefined {
    if (this.#ports.size >= this.limits.ports) return undefined;
    const port = new SwitchPort(this, member, bytesPerSecond, this.nowMs());
    this.#ports.add(port);
    return port;
  }

  unplug(port: SwitchPort): void {
    this.#ports.delete(port);
    for (const key of port.addresses) if (this.#owners.get(key)?.port === port) this.#owners.delete(key);
  }

  /** A frame from a cable: to the one behind which its receiver is, or to all others. */
  forward(from: SwitchPort, frame: NetworkFrame): void {
    if (!this.#ports.has(from)) return;
    const lengthBytes = lengthOf(frame.parts);
    if (lengthBytes < ETHERNET_HEADER_BYTES || lengthBytes > MAX_FRAME_BYTES) {
      this.malformedFrames++;
      return;
    }
    const now = this.nowMs();
    if (!from.allows(lengthBytes, now)) {
      this.excessFrames++;
      return;
    }
    // The sender may be a guest that changes its memory meanwhile: addresses are read once.
    const addresses = joined(sliceParts(frame.parts, 0, FRAME_SOURCE + MAC_BYTES));
    if (!this.#learn(from, addresses.subarray(FRAME_SOURCE), now)) {
      this.spoofedFrames++;
      return;
    }
    const isGroup = ((addresses[0] ?? 0) & 1) !== 0;
    const target = isGroup ? undefined : this.#owners.get(addressKey(addresses.subarray(0, MAC_BYTES)))?.port;
    if (target === from) return;
    if (target) this.#deliver(target, frame);
    else for (const port of this.#ports) if (port !== from) this.#deliver(port, frame);
  }

  #learn(from: SwitchPort, source: Uint8Array, now: number): boolean {
    if (((source[0] ?? 0) & 1) !== 0) return false;
    const key = addressKey(source);
    const owner = this.#owners.get(key);
    if (owner?.port === from) {
      owner.heardMs = now;
      return true;
    }
    if (owner && now - owner.heardMs < AGEING_MS) return false;
    if (from.addresses.size >= this.limits.addressesPerPort) return false;
    owner?.port.addresses.delete(key);
    from.addresses.add(key);
    this.#owners.set(key, { port: from, heardMs: now });
    return true;
  }

  #deliver(port: SwitchPort, frame: NetworkFrame): void {
    for (const piece of framesFor(port.member.offload, frame)) if (!port.member.deliver(piece)) this.lostFrames++;
  }

  counters(): Record<string, number> {
    const { spoofedFrames, excessFrames, malformedFrames, lostFrames } = this;
    return {
      'spoofed frames': spoofedFrames,
      'frames over the rate': excessFrames,
      'malformed frames': malformedFrames,
      'lost frames': lostFrames,
    };
  }
}
