/**
 * The shared folder `virtio-9p` (virtio 1.2, 5.9 "reserved" for it; as QEMU and bhyve have it: one queue, the mount tag in the configuration
 * space). Each chain is a 9P message and the room for its answer. Data goes between the host's files and the guest's memory without a copy.
 */
import type { ShareBackend } from '../backends/share.ts';
import { textToName } from '../backends/share.ts';
import { GuestAddressError, type GuestMemory } from '../bus/guest-memory.ts';
import type { AccessSize } from '../bus/port-bus.ts';
import type { Counters } from '../device.ts';
import { DeviceError, type DeviceBuilder } from '../device-context.ts';
import type { StateFields } from '../platform/state-fields.ts';
import { NinePServer } from '../share/server.ts';
import { NO_SESSION, readSession, restoreSession, saveSession, type SavedSession } from '../share/session-state.ts';
import type { NinePExchange } from '../share/session.ts';
import type { StateValue } from '../snapshot.ts';
import { VIRTIO_RING_F_INDIRECT_DESC, VirtioDevice, virtioOptions, type VirtioDeviceOptions } from './device.ts';
import type { Chain, Segment, VirtQueue } from './queue.ts';

const QUEUE_SIZE = 256;
/** The mount tag is in the configuration space. */
export const VIRTIO_9P_MOUNT_TAG = 0;
const TAG_LENGTH_BYTES = 2;

function totalLength(segments: readonly Segment[]): number {
  return segments.reduce((sum, { lengthBytes }) => sum + lengthBytes, 0);
}

/** A chain's message and answer in guest memory. Its methods throw GuestAddressError. */
class ChainExchange implements NinePExchange {
  readonly requestBytes: number;
  readonly replyBytes: number;
  /** What keeps the views that were given out. */
  readonly #holds: (() => void)[] = [];

  constructor(
    private readonly memory: GuestMemory,
    private readonly chain: Chain,
  ) {
    this.requestBytes = totalLength(chain.readable);
    this.replyBytes = totalLength(chain.writable);
  }

  #views(segments: readonly Segment[], start: number, end: number): Uint8Array[] {
    const views = this.#pieces(segments, start, end).flatMap(({ gpa, lengthBytes }) =>
      this.memory.views(gpa, lengthBytes),
    );
    this.#holds.push(this.memory.hold());
    return views;
  }

  #pieces(segments: readonly Segment[], start: number, end: number): Segment[] {
    const pieces: Segment[] = [];
    let at = 0;
    for (const { gpa, lengthBytes } of segments) {
      const from = Math.max(start - at, 0);
      const to = Math.min(end - at, lengthBytes);
      if (from < to) pieces.push({ gpa: gpa + from, lengthBytes: to - from });
      at += lengthBytes;
      if (at >= end) break;
    }
    return pieces;
  }

  copyRequest(start: number, end: number): Uint8Array {
    const bytes = new Uint8Array(Math.max(0, end - start));
    let at = 0;
    for (const { gpa, lengthBytes } of this.#pieces(this.chain.readable, start, end)) {
      this.memory.read(gpa, bytes.subarray(at, at + lengthBytes));
      at += lengthBytes;
    }
    return bytes;
  }

  requestViews(start: number, end: number): Uint8Array[] {
    return this.#views(this.chain.readable, start, end);
  }

  replyViews(start: number, end: number): Uint8Array[] {
    return this.#views(this.chain.writable, start, end);
  }

  writeReply(bytes: Uint8Array): void {
    let at = 0;
    for (const { gpa, lengthBytes } of this.#pieces(this.chain.writable, 0, bytes.length)) {
      this.memory.write(gpa, bytes.subarray(at, at + lengthBytes));
      at += lengthBytes;
    }
  }

  /** Nobody uses the views any more. */
  release(): void {
    for (const release of this.#holds.splice(0)) release();
  }

  /** The answer has this length: code in those pages is no longer what it was. */
  written(lengthBytes: number): void {
    for (const piece of this.#pieces(this.chain.writable, 0, lengthBytes)) {
      this.memory.written(piece.gpa, piece.lengthBytes);
    }
  }
}

export interface VirtioNinePOptions extends VirtioDeviceOptions {
  readonly backend: ShareBackend;
  /** Mount tag, at most 256 bytes in UTF-8. */
  readonly shareName: string;
  readonly readOnly: boolean;
}

export class VirtioNineP extends VirtioDevice {
  readonly #server: NinePServer;
  readonly #config: Uint8Array;
  /** The session as it was when the device was paused last. */
  #saved: { readonly [field: string]: StateValue } = NO_SESSION;
  /** While the fids of a snapshot are looked for, requests wait. */
  #ready: Promise<void> | undefined;

  constructor(options: VirtioNinePOptions) {
    const tag = textToName(options.shareName);
    super('virtio-9p', { deviceId: 0x1009, type: 0x0009, classCode: 0x01 }, options, {
      queueSizes: [QUEUE_SIZE],
      featureBits: [VIRTIO_9P_MOUNT_TAG, VIRTIO_RING_F_INDIRECT_DESC],
      configBytes: TAG_LENGTH_BYTES + tag.length,
    });
    this.#server = new NinePServer({ backend: options.backend, readOnly: options.readOnly });
    this.#config = new Uint8Array(TAG_LENGTH_BYTES + tag.length);
    new DataView(this.#config.buffer).setUint16(0, tag.length, true);
    for (let i = 0; i < tag.length; i++) this.#config[TAG_LENGTH_BYTES + i] = tag.charCodeAt(i);
  }

  protected override readDeviceRegister(offset: number, size: AccessSize): number {
    let value = 0;
    for (let i = 0; i < size; i++) value |= (this.#config[offset + i] ?? 0) << (8 * i);
    return value >>> 0;
  }

  protected override queueNotified(_index: number, queue: VirtQueue): void {
    // At most one round over the ring: a driver that adds while we look notifies again.
    for (let count = 0; count < queue.size; count++) {
      const chain = queue.pop();
      if (!chain) break;
      this.#start(queue, chain);
    }
  }

  #start(queue: VirtQueue, chain: Chain): void {
    const finish = (writtenBytes: number): void => {
      queue.push(chain.head, writtenBytes);
      this.signalQueue(queue);
    };
    this.requests.begin(this.#serve(new ChainExchange(this.memory, chain)), finish, (error) => {
      if (!(error instanceof GuestAddressError)) throw error;
      this.badRequests++;
      finish(0);
    });
  }

  async #serve(exchange: ChainExchange): Promise<number> {
    if (this.#ready) await this.#ready;
    try {
      const lengthBytes = await this.#server.serve(exchange);
      exchange.written(lengthBytes);
      if (lengthBytes === 0) this.badRequests++;
      return lengthBytes;
    } finally {
      exchange.release();
    }
  }

  protected override driverReset(): void {
    this.#saved = NO_SESSION;
    this.#ready = undefined;
    // Files that are open are closed before the reset counts as done.
    this.requests.begin(
      this.#server.reset(),
      () => undefined,
      () => undefined,
    );
  }

  protected override async pauseDevice(): Promise<void> {
    await this.requests.drain();
    await this.#ready;
    this.#saved = await saveSession(this.#server.session);
  }

  protected override closeDevice(): Promise<void> {
    return this.#server.close();
  }

  protected override deviceCounters(): Counters {
    return { ...super.deviceCounters(), ...this.#server.counters() };
  }

  protected override saveDevice(): { readonly [field: string]: StateValue } {
    return { ...super.saveDevice(), session: this.#saved };
  }

  protected override prepareDeviceRestore(fields: StateFields): () => void {
    const session: SavedSession = readSession(fields.group('session'));
    const restoreTransport = super.prepareDeviceRestore(fields);
    return () => {
      restoreTransport();
      const ready = restoreSession(this.#server.session, session)
        .catch((error: unknown) => this.problem(`the session could not be restored: ${String(error)}`))
        .finally(() => {
          if (this.#ready === ready) this.#ready = undefined;
        });
      this.#ready = ready;
    };
  }
}

export const buildVirtioNineP: DeviceBuilder = async (context, _where, variables) => {
  const path = variables.get('path') ?? '';
  const readOnly = /^(true|on|yes|1)$/i.test(variables.get('ro') ?? '');
  let backend: ShareBackend | undefined;
  try {
    backend = await context.open('share', { path, readOnly });
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    throw new DeviceError(`virtio-9p: cannot share ${path}: ${message}`, { cause: error });
  }
  if (!backend) throw new DeviceError(`virtio-9p: nothing here shares ${path}`);
  return new VirtioNineP({ ...virtioOptions(context), backend, shareName: variables.get('sharename') ?? '', readOnly });
};
