/**
 * The backend `channel=NAME`: machines in the tabs of one browser, joined by a BroadcastChannel (HTML standard, 9.5): a cable that everybody
 * hears. The host supplies the channel.
 */
import { NO_OFFLOAD, type NetworkBackend, type NetworkFrame, type NetworkPort } from '../backends/network.ts';
import { ETHERNET_HEADER_BYTES, MAX_FRAME_BYTES } from './ethernet.ts';
import { ReceiveQueue } from './receive-queue.ts';
import { joined } from './wire.ts';

/** What is used of a BroadcastChannel. */
export interface FrameChannel {
  onmessage: ((event: { readonly data: unknown }) => void) | null;
  postMessage(message: unknown): void;
  close(): void;
}

/** The channel's name for a network, apart from whatever else a page says on channels. */
export function channelName(network: string): string {
  return `webhyve-network-${network}`;
}

export class ChannelBackend implements NetworkBackend {
  readonly offload = NO_OFFLOAD;
  readonly #received = new ReceiveQueue();
  #malformed = 0;

  constructor(private readonly channel: FrameChannel) {
    channel.onmessage = ({ data }): void => {
      const isFrame =
        data instanceof Uint8Array && data.length >= ETHERNET_HEADER_BYTES && data.length <= MAX_FRAME_BYTES;
      if (isFrame) this.#received.push({ parts: [data] });
      else this.#malformed++;
    };
  }

  open(port: NetworkPort): void {
    this.#received.attach(port);
  }

  send({ parts }: NetworkFrame): boolean {
    // A private copy: the other tab gets a clone, and shared memory would be shared.
    this.channel.postMessage(joined(parts));
    return true;
  }

  receiveReady(): void {
    this.#received.ready();
  }

  counters(): Record<string, number> {
    return { 'malformed messages': this.#malformed, 'receive queue drops': this.#received.dropped };
  }

  close(): Promise<void> {
    this.channel.close();
    return Promise.resolve();
  }
}
