/** The backend `tapN` and `vmnetN`: a network card's frames go through a tap device of this host. */
import {
  FULL_OFFLOAD,
  type FrameOffload,
  type NetworkBackend,
  type NetworkFrame,
  type NetworkPort,
} from '../../devices/backends/network.ts';
import { framesFor } from '../../devices/net/offload.ts';
import { readVirtioHeader, writeVirtioHeader } from '../../devices/net/virtio-header.ts';
import { lengthOf } from '../../devices/net/wire.ts';
import { TapDevice, type TapEvents } from './tap-device.ts';

export class TapBackend implements NetworkBackend {
  readonly offload = FULL_OFFLOAD;
  readonly #device: TapDevice;
  #port: NetworkPort | undefined;
  #receivedDropped = 0;

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
    const bytes = new Uint8Array(TapDevice.headerBytes + lengthOf(parts));
    writeVirtioHeader(bytes, offload, parts);
    let at = TapDevice.headerBytes;
    for (const part of parts) {
      bytes.set(part, at);
      at += part.length;
    }
    this.#device.write(bytes);
    return true;
  }

  receiveReady(): void {
    const port = this.#port;
    if (!port) return;
    for (let record = this.#device.next(); record; record = this.#device.next()) {
      const parts = [record.subarray(TapDevice.headerBytes)];
      const offload: FrameOffload | undefined = readVirtioHeader(record);
      for (const frame of framesFor(port.offload, { parts, offload })) {
        // A part of a long packet may be with the guest already: it sends what is missing again.
        if (port.receive(frame)) continue;
        if (offload?.segmentation === undefined) return;
        this.#receivedDropped++;
        break;
      }
      this.#device.consume();
    }
  }

  counters(): Record<string, number> {
    return { 'frames lost': this.#device.lostFrames, 'receive queue drops': this.#receivedDropped };
  }

  close(): Promise<void> {
    return this.#device.close();
  }
}
