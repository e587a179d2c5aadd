/**
 * A teletype: a byte written to DATA goes to the host, a byte from the host waits in DATA and asserts the interrupt line until the guest
 * reads it.
 */
import { parseCharacterAddress, unplugged, type CharacterBackend } from '../../../devices/backends/character.ts';
import type { AccessSize } from '../../../devices/bus/port-bus.ts';
import { RegisterMap } from '../../../devices/bus/register-map.ts';
import type { Counters } from '../../../devices/device.ts';
import type { DeviceBuilder } from '../../../devices/device-context.ts';
import { PciFunction } from '../../../devices/pci/function.ts';
import type { StateFields } from '../../../devices/platform/state-fields.ts';
import type { StateValue } from '../../../devices/snapshot.ts';

const BAR_BYTES = 8;
/** Bytes held for a guest that does not read; beyond this the far end waits. */
const MAX_WAITING = 256;

export class Teletype extends PciFunction {
  #waiting: number[] = [];
  #lost = 0;
  readonly #backend: CharacterBackend;
  readonly #registers = new RegisterMap(
    [
      { name: 'DATA', offset: 0, bytes: 4, read: () => this.#take(), write: (value) => this.#send(value) },
      { name: 'STATUS', offset: 4, bytes: 4, read: () => (this.#waiting.length > 0 ? 1 : 0) },
    ],
    () => this.badAccesses++,
  );

  constructor(backend: CharacterBackend) {
    super('teletype', { vendorId: 0x1234, deviceId: 0x7e1e, classCode: 0x07, subclass: 0x80 });
    this.#backend = backend;
    this.requestIntx();
    this.addBar(0, 'mem32', BAR_BYTES);
  }

  protected override startDevice(): void {
    this.#backend.open({ receive: (bytes) => this.#received(bytes), drained: () => undefined });
  }

  /** Input that came meanwhile interrupts now. */
  protected override resumeDevice(): void {
    this.setIntx(this.#waiting.length > 0);
  }

  #received(bytes: Uint8Array): void {
    this.#waiting.push(...bytes.subarray(0, MAX_WAITING - this.#waiting.length));
    this.#backend.hold(this.#waiting.length === MAX_WAITING);
    if (!this.paused) this.setIntx(this.#waiting.length > 0);
  }

  #take(): number {
    const byte = this.#waiting.shift() ?? 0;
    this.#backend.hold(false);
    this.setIntx(this.#waiting.length > 0);
    return byte;
  }

  #send(value: number): void {
    if (!this.#backend.write(Uint8Array.of(value & 0xff))) this.#lost++;
  }

  protected override readBar(_index: number, offset: number, size: AccessSize): number {
    return this.#registers.read(offset, size);
  }

  protected override writeBar(_index: number, offset: number, size: AccessSize, value: number): void {
    this.#registers.write(offset, size, value);
  }

  protected override resetDevice(): void {
    this.#waiting = [];
  }

  protected override closeDevice(): Promise<void> {
    return this.#backend.close();
  }

  protected override deviceCounters(): Counters {
    return { 'bytes sent to a full line': this.#lost };
  }

  protected override saveDevice(): { readonly [field: string]: StateValue } {
    return { waiting: [...this.#waiting] };
  }

  protected override prepareDeviceRestore(fields: StateFields): () => void {
    const waiting = fields.integers('waiting', MAX_WAITING, 0xff);
    return () => {
      this.#waiting = waiting;
    };
  }
}

export const buildTeletype: DeviceBuilder = async (context, _where, variables) => {
  const path = variables.get('path');
  const address = path === undefined ? undefined : parseCharacterAddress(path);
  return new Teletype((address && (await context.open('character', address))) ?? unplugged);
};
