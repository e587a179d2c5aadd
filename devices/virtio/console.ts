/**
 * The console device `virtio-console` (virtio 0.9.5, appendix C; virtio 1.0, 5.3): up to 16 named byte streams, each on a socket of
 * the host. Queues, features and messages are those of bhyve, except for flow control:
 * - Input waits until the guest has opened the port (PORT_OPEN, or output of its own): Linux throws away what comes earlier.
 * - A client that does not read leaves the guest's buffers in the queue.
 *
 * The class is 07/80 (other communication device). With bhyve's 07/00 Linux's driver for PCI serial cards takes the function (one I/O BAR,
 * at most one memory BAR) before the virtio driver sees it.
 *
 * PORT_OPEN tells the guest when a client comes or goes. Output for nobody is the backend's, which keeps it for a moment and then
 * discards it.
 */
import { GuestAddressError } from '../bus/guest-memory.ts';
import type { AccessSize } from '../bus/port-bus.ts';
import type { StateFields } from '../platform/state-fields.ts';
import {
  parseCharacterAddress,
  unplugged,
  type CharacterAddress,
  type CharacterBackend,
} from '../backends/character.ts';
import { SnapshotError, type StateValue } from '../snapshot.ts';
import { errnoText } from '../config/errors.ts';
import { NoBackendError } from '../backends/kinds.ts';
import { DeviceError, type DeviceBuilder } from '../device-context.ts';
import { virtioOptions, VirtioDevice, type VirtioDeviceOptions } from './device.ts';
import type { Chain, VirtQueue } from './queue.ts';

export const MAX_CONSOLE_PORTS = 16;
const QUEUE_SIZE = 64;
/** Receive and transmit queue of port 0, of the control channel, of ports 1, 2, ... (virtio 1.0, 5.3.2). */
const QUEUE_COUNT = 2 * MAX_CONSOLE_PORTS + 2;
export const CONTROL_RECEIVE_QUEUE = 2;
export const CONTROL_TRANSMIT_QUEUE = 3;

/** Feature bits (virtio 1.0, 5.3.3). */
export const VIRTIO_CONSOLE_F_SIZE = 0;
export const VIRTIO_CONSOLE_F_MULTIPORT = 1;
export const VIRTIO_CONSOLE_F_EMERG_WRITE = 2;

/** Control events (virtio 1.0, 5.3.6.2). */
export const VIRTIO_CONSOLE_DEVICE_READY = 0;
export const VIRTIO_CONSOLE_DEVICE_ADD = 1;
export const VIRTIO_CONSOLE_PORT_READY = 3;
export const VIRTIO_CONSOLE_PORT_OPEN = 6;
export const VIRTIO_CONSOLE_PORT_NAME = 7;
const CONTROL_BYTES = 8;

/** PCI subclass "other" of communication devices (PCI code and ID assignment specification, 1.8). */
const SUBCLASS_OTHER = 0x80;

const COLUMNS = 80;
const ROWS = 25;
const CONFIG_BYTES = 12;
const CONFIG_EMERG_WRITE = 8;

/** Input held for a guest that does not take it: beyond this the client waits. */
const INPUT_HIGH_WATER = 64 * 1024;
const INPUT_LOW_WATER = 16 * 1024;
/** No backend reads more at once; what a snapshot may hold is bounded by this as well. */
const MAX_SAVED_INPUT = 16 * 1024 * 1024;
/** Bytes read from the guest's memory at a time. */
const BLOCK_BYTES = 16 * 1024;
/** More messages than all ports need: a guest that asks for more takes none. */
const MAX_CONTROL_MESSAGES = 256;
const MAX_NAME_BYTES = 256;

/** Receive queue of a port; its transmit queue follows. */
export function receiveQueueOf(port: number): number {
  return port === 0 ? 0 : 2 * port + 2;
}

export interface ConsolePortOptions {
  readonly name: string;
  readonly backend: CharacterBackend;
}

/** A transmit request that its client has taken only a part of. */
interface Transmission {
  readonly chain: Chain;
  doneBytes: number;
}

class ConsolePort {
  input: Uint8Array[] = [];
  inputBytes = 0;
  held = false;
  /** A client is connected; a backend that has none at present says so when it is opened. */
  connected = true;
  /** The guest listens. Undefined: it has not said. */
  guestOpen: boolean | undefined;
  /** What the guest was told last. */
  announced = false;
  /** The guest's driver has the port (PORT_READY). */
  ready = false;
  /** The client takes no more before it says so. */
  blocked = false;
  transmission: Transmission | undefined;

  constructor(
    readonly id: number,
    readonly name: string,
    readonly backend: CharacterBackend,
  ) {}

  /** Asks the client to wait, or to go on. */
  regulate(): void {
    const held = this.inputBytes > (this.held ? INPUT_LOW_WATER : INPUT_HIGH_WATER);
    if (held === this.held) return;
    this.held = held;
    this.backend.hold(held);
  }

  /** Removes bytes that the guest has got. */
  consume(count: number): void {
    this.inputBytes -= count;
    for (let left = count; left > 0;) {
      const first = this.input[0];
      if (!first) break;
      if (first.length > left) {
        this.input[0] = first.subarray(left);
        break;
      }
      left -= first.length;
      this.input.shift();
    }
  }

  joinedInput(): Uint8Array {
    const bytes = new Uint8Array(this.inputBytes);
    let at = 0;
    for (const piece of this.input) {
      bytes.set(piece, at);
      at += piece.length;
    }
    return bytes;
  }
}

export class VirtioConsole extends VirtioDevice {
  readonly #ports: readonly ConsolePort[];
  #control: Uint8Array[] = [];
  /** The driver knows control messages (DEVICE_READY). */
  #driverReady = false;
  readonly #block = new Uint8Array(BLOCK_BYTES);

  constructor(options: VirtioDeviceOptions, ports: readonly ConsolePortOptions[]) {
    super('virtio-console', { deviceId: 0x1003, type: 3, classCode: 0x07, subclass: SUBCLASS_OTHER }, options, {
      queueSizes: Array.from({ length: QUEUE_COUNT }, () => QUEUE_SIZE),
      featureBits: [VIRTIO_CONSOLE_F_SIZE, VIRTIO_CONSOLE_F_MULTIPORT, VIRTIO_CONSOLE_F_EMERG_WRITE],
      configBytes: CONFIG_BYTES,
    });
    if (ports.length > MAX_CONSOLE_PORTS) throw new RangeError(`more than ${MAX_CONSOLE_PORTS} ports`);
    this.#ports = ports.map(({ name, backend }, id) => new ConsolePort(id, name, backend));
  }

  protected override startDevice(): void {
    for (const port of this.#ports) {
      port.backend.open({
        receive: (bytes) => this.#received(port, bytes),
        drained: () => {
          port.blocked = false;
          if (!this.paused) this.#transmit(port);
        },
        carrier: (present) => this.#carrier(port, present),
      });
    }
  }

  /** Takes up what clients did meanwhile. */
  protected override resumeDevice(): void {
    for (const port of this.#ports) this.#catchUp(port);
  }

  #catchUp(port: ConsolePort): void {
    this.#announce(port);
    this.#transmit(port);
    this.#deliver(port);
  }

  // -------------------------------------------------------------------------------------------------------------------
  // From the host

  #received(port: ConsolePort, bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    // A copy: the backend may reuse its buffer.
    port.input.push(bytes.slice());
    port.inputBytes += bytes.length;
    if (this.paused) port.regulate();
    else this.#deliver(port);
  }

  #carrier(port: ConsolePort, present: boolean): void {
    port.connected = present;
    if (!this.paused) this.#announce(port);
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Data

  protected override queueNotified(index: number, queue: VirtQueue): void {
    if (index === CONTROL_RECEIVE_QUEUE) this.#sendControl();
    else if (index === CONTROL_TRANSMIT_QUEUE) this.#receiveControl(queue);
    else {
      const port = this.#ports[index < 2 ? 0 : (index >> 1) - 1];
      if (!port) this.#refuse(queue);
      else if (index & 1) this.#transmit(port);
      else this.#deliver(port);
    }
  }

  /** Queues of ports that do not exist are left alone. */
  #refuse(queue: VirtQueue): void {
    this.badRequests++;
    this.problem('notification of a port that does not exist');
    queue.disableNotify();
  }

  /** Puts input into the guest's buffers. */
  #deliver(port: ConsolePort): void {
    const queue = this.queue(receiveQueueOf(port.id));
    const listens = port.guestOpen === true || !this.negotiated(VIRTIO_CONSOLE_F_MULTIPORT);
    // At most one round over the ring, so that a guest that gives buffers back at once cannot keep the thread.
    for (let count = 0; listens && port.inputBytes > 0 && count < queue.size; count++) {
      const chain = queue.pop();
      if (!chain) break;
      queue.push(chain.head, this.#fill(port, chain));
    }
    this.signalQueue(queue);
    port.regulate();
    this.#announce(port);
  }

  #fill(port: ConsolePort, chain: Chain): number {
    let filled = 0;
    try {
      for (const segment of chain.writable) {
        for (let at = 0; at < segment.lengthBytes && port.inputBytes > 0;) {
          const first = port.input[0];
          if (!first) break;
          const piece = first.subarray(0, segment.lengthBytes - at);
          this.memory.write(segment.gpa + at, piece);
          port.consume(piece.length);
          at += piece.length;
          filled += piece.length;
        }
      }
    } catch (error) {
      if (!(error instanceof GuestAddressError)) throw error;
      this.badRequests++;
    }
    return filled;
  }

  /** Sends what the guest wrote, as far as the client takes it. */
  #transmit(port: ConsolePort): void {
    const queue = this.queue(receiveQueueOf(port.id) + 1);
    for (let count = 0; !port.blocked && count < queue.size; count++) {
      if (!port.transmission) {
        const chain = queue.pop();
        if (!chain) break;
        // A guest that writes has opened the port if it never says so. Else what it wrote may outlast its closing.
        if (port.guestOpen === undefined) this.#guestOpened(port, true);
        port.transmission = { chain, doneBytes: 0 };
      }
      if (!this.#send(port, port.transmission)) continue;
      queue.push(port.transmission.chain.head, 0);
      port.transmission = undefined;
    }
    this.signalQueue(queue);
  }

  /** True when the backend has all of a request. */
  #send(port: ConsolePort, transmission: Transmission): boolean {
    let segmentStart = 0;
    try {
      for (const { gpa, lengthBytes } of transmission.chain.readable) {
        while (transmission.doneBytes < segmentStart + lengthBytes) {
          if (port.blocked) return false;
          const at = transmission.doneBytes - segmentStart;
          const block = this.#block.subarray(0, Math.min(BLOCK_BYTES, lengthBytes - at));
          this.memory.read(gpa + at, block);
          transmission.doneBytes += block.length;
          if (!port.backend.write(block)) port.blocked = true;
        }
        segmentStart += lengthBytes;
      }
    } catch (error) {
      if (!(error instanceof GuestAddressError)) throw error;
      this.badRequests++;
    }
    return true;
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Control

  #receiveControl(queue: VirtQueue): void {
    for (let count = 0; count < queue.size; count++) {
      const chain = queue.pop();
      if (!chain) break;
      const message = this.#readControl(chain);
      queue.push(chain.head, 0);
      if (message) this.#controlled(message);
      else this.badRequests++;
    }
    this.signalQueue(queue);
    this.#sendControl();
  }

  #readControl(chain: Chain): DataView | undefined {
    const bytes = new Uint8Array(CONTROL_BYTES);
    let got = 0;
    try {
      for (const { gpa, lengthBytes } of chain.readable) {
        const piece = bytes.subarray(got, Math.min(CONTROL_BYTES, got + lengthBytes));
        this.memory.read(gpa, piece);
        got += piece.length;
        if (got === CONTROL_BYTES) break;
      }
    } catch (error) {
      if (!(error instanceof GuestAddressError)) throw error;
      return undefined;
    }
    return got === CONTROL_BYTES ? new DataView(bytes.buffer) : undefined;
  }

  #controlled(message: DataView): void {
    const id = message.getUint32(0, true);
    const event = message.getUint16(4, true);
    const value = message.getUint16(6, true);
    if (event === VIRTIO_CONSOLE_DEVICE_READY) {
      // Value 0: the driver could not set itself up.
      this.#driverReady = value === 1;
      if (this.#driverReady) for (const port of this.#ports) this.#queueControl(port.id, VIRTIO_CONSOLE_DEVICE_ADD, 1);
      return;
    }
    const port = this.#ports[id];
    if (!port) {
      this.badRequests++;
      this.problem(`control message ${event} for port ${id}, which does not exist`);
      return;
    }
    if (event === VIRTIO_CONSOLE_PORT_READY) {
      port.ready = value === 1;
      port.announced = false;
      if (!port.ready) return;
      this.#queueControl(port.id, VIRTIO_CONSOLE_PORT_NAME, 1, new TextEncoder().encode(port.name));
      this.#announce(port);
    } else if (event === VIRTIO_CONSOLE_PORT_OPEN) {
      this.#guestOpened(port, value !== 0);
    }
  }

  #guestOpened(port: ConsolePort, open: boolean): void {
    port.guestOpen = open;
    if (open) this.#deliver(port);
  }

  /**
   * Tells the guest whether a client is connected, if it does not know. One that went is there until its last byte is delivered: for a
   * guest that reads, its end is the end of the file.
   */
  #announce(port: ConsolePort): void {
    const present = port.connected || port.inputBytes > 0;
    if (!this.#driverReady || !port.ready || port.announced === present) return;
    port.announced = present;
    this.#queueControl(port.id, VIRTIO_CONSOLE_PORT_OPEN, present ? 1 : 0);
    this.#sendControl();
  }

  #queueControl(id: number, event: number, value: number, text: Uint8Array = new Uint8Array()): void {
    if (this.#control.length >= MAX_CONTROL_MESSAGES) {
      this.badRequests++;
      this.problem('the driver does not take control messages');
      return;
    }
    const bytes = new Uint8Array(CONTROL_BYTES + Math.min(text.length, MAX_NAME_BYTES));
    const view = new DataView(bytes.buffer);
    view.setUint32(0, id, true);
    view.setUint16(4, event, true);
    view.setUint16(6, value, true);
    bytes.set(text.subarray(0, MAX_NAME_BYTES), CONTROL_BYTES);
    this.#control.push(bytes);
  }

  #sendControl(): void {
    const queue = this.queue(CONTROL_RECEIVE_QUEUE);
    for (let count = 0; this.#control.length > 0 && count < queue.size; count++) {
      const chain = queue.pop();
      if (!chain) break;
      const message = this.#control.shift();
      if (message) queue.push(chain.head, this.#scatter(chain, message));
    }
    this.signalQueue(queue);
  }

  /** Writes a message into a chain, cut to its length; returns how much of it fitted. */
  #scatter(chain: Chain, message: Uint8Array): number {
    let done = 0;
    try {
      for (const { gpa, lengthBytes } of chain.writable) {
        const piece = message.subarray(done, done + lengthBytes);
        this.memory.write(gpa, piece);
        done += piece.length;
        if (done === message.length) break;
      }
    } catch (error) {
      if (!(error instanceof GuestAddressError)) throw error;
      this.badRequests++;
    }
    return done;
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Configuration, reset, snapshots

  protected override deviceConfig(): Uint8Array {
    const bytes = new Uint8Array(CONFIG_BYTES);
    const view = new DataView(bytes.buffer);
    view.setUint16(0, COLUMNS, true);
    view.setUint16(2, ROWS, true);
    view.setUint32(4, MAX_CONSOLE_PORTS, true);
    return bytes;
  }

  /** Emergency output (virtio 1.0, 5.3.4): one character for port 0, without queues. */
  protected override writeDeviceRegister(offset: number, size: AccessSize, value: number): void {
    if (offset !== CONFIG_EMERG_WRITE) {
      super.writeDeviceRegister(offset, size, value);
      return;
    }
    const port = this.#ports[0];
    // A client that does not read loses it: there is nobody to wait for.
    if (port && !port.blocked && !port.backend.write(Uint8Array.of(value & 0xff))) port.blocked = true;
  }

  protected override driverReset(): void {
    this.#driverReady = false;
    this.#control = [];
    for (const port of this.#ports) {
      port.transmission = undefined;
      port.guestOpen = undefined;
      port.ready = false;
      port.announced = false;
    }
  }

  protected override async closeDevice(): Promise<void> {
    await Promise.all(this.#ports.map((port) => port.backend.close()));
  }

  protected override saveDevice(): { readonly [field: string]: StateValue } {
    return {
      ...super.saveDevice(),
      driverReady: this.#driverReady,
      control: this.#control.map((message) => ({ lengthBytes: message.length, message })),
      controlCount: this.#control.length,
      ports: this.#ports.map((port) => ({
        inputBytes: port.inputBytes,
        input: port.joinedInput(),
        guestOpen: port.guestOpen === true,
        guestSaid: port.guestOpen !== undefined,
        ready: port.ready,
        announced: port.announced,
        transmitting: port.transmission !== undefined,
        transmitHead: port.transmission?.chain.head ?? 0,
        transmittedBytes: port.transmission?.doneBytes ?? 0,
      })),
    };
  }

  protected override prepareDeviceRestore(fields: StateFields): () => void {
    const driverReady = fields.flag('driverReady');
    const control = fields
      .groups('control', fields.integer('controlCount', MAX_CONTROL_MESSAGES))
      .map((group) => group.bytes('message', group.integer('lengthBytes', CONTROL_BYTES + MAX_NAME_BYTES)));
    const ports = fields.groups('ports', this.#ports.length).map((group) => ({
      input: group.bytes('input', group.integer('inputBytes', MAX_SAVED_INPUT)),
      guestOpen: group.flag('guestOpen'),
      guestSaid: group.flag('guestSaid'),
      ready: group.flag('ready'),
      announced: group.flag('announced'),
      transmitting: group.flag('transmitting'),
      transmitHead: group.integer('transmitHead', QUEUE_SIZE - 1),
      transmittedBytes: group.integer('transmittedBytes', Number.MAX_SAFE_INTEGER),
    }));
    if (control.some((message) => message.length < CONTROL_BYTES)) {
      throw new SnapshotError(`${this.kind}: a control message is too short`);
    }
    const restoreTransport = super.prepareDeviceRestore(fields);
    return () => {
      this.#driverReady = driverReady;
      this.#control = control.map((message) => message.slice());
      for (const [index, saved] of ports.entries()) {
        const port = this.#ports[index];
        if (!port) continue;
        port.input = saved.input.length > 0 ? [saved.input.slice()] : [];
        port.inputBytes = saved.input.length;
        port.guestOpen = saved.guestSaid ? saved.guestOpen : undefined;
        port.ready = saved.ready;
        port.announced = saved.announced;
        port.transmission = undefined;
      }
      restoreTransport();
      for (const [index, saved] of ports.entries()) {
        const port = this.#ports[index];
        if (!port || !saved.transmitting) continue;
        const chain = this.queue(receiveQueueOf(port.id) + 1).reread(saved.transmitHead);
        if (chain) port.transmission = { chain, doneBytes: saved.transmittedBytes };
      }
      // Clients of before are not those of now.
      for (const port of this.#ports) this.#catchUp(port);
    };
  }
}

/** bhyve makes a listening socket at a port's path; `ws=...` is a WebSocket as COM ports have them. */
function portAddress(path: string): CharacterAddress {
  return path.startsWith('ws=') ? parseCharacterAddress(path) : { kind: 'unix', path };
}

export const buildVirtioConsole: DeviceBuilder = async (context, _where, variables) => {
  const ports: ConsolePortOptions[] = [];
  try {
    for (let index = 0; index < MAX_CONSOLE_PORTS; index++) {
      const name = variables.get(`port.${index}.name`);
      const path = variables.get(`port.${index}.path`);
      if (name === undefined && path === undefined) continue;
      if (!name || !path) throw new DeviceError(`virtio-console: port ${index} needs a name and a path`);
      // Without a host's sockets the port has no other end.
      const backend = await context.open('character', portAddress(path)).catch((error: unknown) => {
        if (error instanceof NoBackendError) return undefined;
        throw new DeviceError(`virtio-console: cannot open ${path} for port ${name}: ${errnoText(error)}`, {
          cause: error,
        });
      });
      if (!backend) context.log(`virtio-console: no sockets here, port ${name} leads nowhere`);
      ports.push({ name, backend: backend ?? unplugged });
    }
  } catch (error) {
    for (const { backend } of ports) await backend.close();
    throw error;
  }
  return new VirtioConsole(virtioOptions(context), ports);
};
