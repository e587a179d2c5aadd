/** The backend `tapN` and `vmnetN`: a network card's frames go through a tap device of this host. */
import {
  FULL_OFFLOAD,
  type NetworkBackend,
  type NetworkFrame,
  type NetworkPort,
} from '../../devices/backends/network.ts';
import { MAX_FRAME_BYTES } from '../../devices/net/ethernet.ts';
import { PiecewiseDelivery } from '../../devices/net/piecewise-delivery.ts';
import { readVirtioHeader, writeVirtioHeader } from '../../devices/net/virtio-header.ts';
import { lengthOf } from '../../devices/net/wire.ts';
import { TapDevice, type TapEvents } from './tap-device.ts';

/** A 64 KiB packet with Ethernet's and virtio's headers. */
const MAX_RECORD_BYTES = MAX_FRAME_BYTES + TapDevice.headerBytes;

/** What is answered at once is a ping or the like; bulk is answered by the reading thread's frames. */
const SHORT_RECORD_BYTES = 256;

export class TapBackend implements NetworkBackend {
  readonly offload = FULL_OFFLOAD;
  readonly #device: TapDevice;
  #port: NetworkPort | undefined;
  readonly #frame = new Uint8Array(MAX_RECORD_BYTES);
  readonly #pieces = new PiecewiseDelivery();

  private constructor(open: (events: TapEvents) => TapDevice) {
    this.#device = open({
      ready: () => this.receiveReady(),
      failed: () => this.#port?.linkChanged(false),
    });
  }

  /** Throws TapError with a sentence for the user. */
  static open(name: string, create = false): TapBackend {
    return new TapBackend((events) => TapDevice.open(name, events, create));
  }

  open(port: NetworkPort): void {
    this.#port = port;
    this.receiveReady();
  }

  send({ parts, offload }: NetworkFrame): boolean {
    const lengthBytes = TapDevice.headerBytes + lengthOf(parts);
    // The kernel copies what is written before write(2) returns; fresh memory for every 64 KiB frame would cost more than the copy.
    if (lengthBytes > this.#frame.length) return true;
    const bytes = this.#frame.subarray(0, lengthBytes);
    writeVirtioHeader(bytes, offload, parts);
    let at = TapDevice.headerBytes;
    for (const part of parts) {
      bytes.set(part, at);
      at += part.length;
    }
    this.#device.write(bytes);
    if (lengthBytes <= SHORT_RECORD_BYTES && this.#device.look()) this.receiveReady();
    return true;
  }

  receiveReady(): void {
    const port = this.#port;
    if (!port) return;
    // A card may take the rest of a long packet later: losing it would cost the connection its speed.
    for (let record = this.#device.next(); record; record = this.#device.next()) {
      const parts = [record.subarray(TapDevice.headerBytes)];
      if (!this.#pieces.deliver({ parts, offload: readVirtioHeader(record) }, port)) return;
      this.#device.consume();
    }
  }

  counters(): Record<string, number> {
    return { 'frames lost': this.#device.lostFrames };
  }

  close(): Promise<void> {
    return this.#device.close();
  }
}
