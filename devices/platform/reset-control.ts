/** The reset control register at 0xCF9 (Intel ICH10 datasheet, 13.7.5): writing bit 2 resets the machine. */
import { allOnes, type AccessSize, type PortBus, type PortHandler } from '../bus/port-bus.ts';
import { PassiveDevice, type Counters } from '../device.ts';
import type { DeviceState } from '../snapshot.ts';
import { StateFields } from './state-fields.ts';
import type { Suspend } from './suspend.ts';

export const RESET_CONTROL_PORT = 0xcf9;
/** RST_CPU. Hard and soft reset (bit 1) are the same here. */
export const RESET_CPU = 0x04;

const STATE_KIND = 'reset-control';
const STATE_VERSION = 1;

export class ResetControl extends PassiveDevice implements PortHandler {
  badAccesses = 0;
  readonly #suspend: Suspend;
  #value = 0;

  constructor(ports: PortBus, suspend: Suspend) {
    super();
    this.#suspend = suspend;
    ports.claim('reset control', RESET_CONTROL_PORT, 1, this);
  }

  readPort(_port: number, size: AccessSize): number {
    if (size === 1) return this.#value;
    this.badAccesses++;
    return allOnes(size);
  }

  writePort(_port: number, size: AccessSize, value: number): void {
    if (size !== 1) {
      this.badAccesses++;
      return;
    }
    this.#value = value;
    if (value & RESET_CPU) this.#suspend('reset');
  }

  override counters(): Counters {
    return { 'bad accesses': this.badAccesses };
  }

  reset(): void {
    this.#value = 0;
  }

  save(): DeviceState {
    return { kind: STATE_KIND, version: STATE_VERSION, fields: { value: this.#value } };
  }

  restore(state: DeviceState): void {
    this.#value = StateFields.open(state, STATE_KIND, STATE_VERSION).integer('value', 0xff);
  }
}
