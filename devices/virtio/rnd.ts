/** The entropy device `virtio-rnd` (virtio 0.9.5, appendix G): fills the driver's buffers with random bytes from the host. */
import { GuestAddressError } from '../bus/guest-memory.ts';
import type { DeviceBuilder } from '../device-context.ts';
import { virtioOptions, VirtioDevice, type VirtioDeviceOptions } from './device.ts';
import type { Chain, VirtQueue } from './queue.ts';

const QUEUE_SIZE = 64;
/**
 * No request gets more. Drivers ask for 64 bytes to a page at a time; the bound keeps a guest from having the devices' thread
 * produce gigabytes in one notification. Filling a part of the buffer is allowed: the used length says how much.
 */
export const MAX_ENTROPY_BYTES = 65_536;
const BLOCK_BYTES = 4096;

export class VirtioRnd extends VirtioDevice {
  readonly #entropy: (into: Uint8Array) => void;
  /** Host sources do not fill shared memory (Web Cryptography, 10.1.1), so bytes come through here. */
  readonly #block = new Uint8Array(BLOCK_BYTES);

  constructor(options: VirtioDeviceOptions, entropy: (into: Uint8Array) => void) {
    super('virtio-rnd', { deviceId: 0x1005, type: 0x0004, classCode: 0x10 }, options, {
      queueSizes: [QUEUE_SIZE],
      featureBits: [],
      configBytes: 0,
    });
    this.#entropy = entropy;
  }

  protected override queueNotified(_index: number, queue: VirtQueue): void {
    // At most one round over the ring: a driver that adds while we answer notifies again.
    for (let count = 0; count < queue.size; count++) {
      const chain = queue.pop();
      if (!chain) break;
      queue.push(chain.head, this.#fill(chain));
    }
    this.signalQueue(queue);
  }

  #fill(chain: Chain): number {
    let filled = 0;
    try {
      for (const segment of chain.writable) {
        const wanted = Math.min(segment.lengthBytes, MAX_ENTROPY_BYTES - filled);
        for (let done = 0; done < wanted;) {
          const block = this.#block.subarray(0, Math.min(BLOCK_BYTES, wanted - done));
          this.#entropy(block);
          this.memory.write(segment.gpa + done, block);
          done += block.length;
          filled += block.length;
        }
      }
    } catch (error) {
      if (!(error instanceof GuestAddressError)) throw error;
      this.badRequests++;
    }
    return filled;
  }
}

export const buildVirtioRnd: DeviceBuilder = (context) =>
  new VirtioRnd(virtioOptions(context), (into) => context.entropy(into));
