/** Root hub ports (xHCI 1.2, 4.19 and 5.4.8). */
import type { StateFields } from '../../platform/state-fields.ts';
import type { StateValue } from '../../snapshot.ts';
import type { UsbDevice } from '../usb-device.ts';
import * as R from './registers.ts';

/** Bits that a driver sets and clears as it likes. */
const PLAIN = R.PORT_POWER | R.PORT_INDICATOR | R.PORT_WAKE;

export class Port {
  #status = 0;
  #power = 0;
  #linkInformation = 0;
  #hardwareLpm = 0;

  constructor(
    /** Plugged in for good. */
    readonly device: UsbDevice | undefined,
    /** A change bit went from 0 to 1. */
    private readonly onChange: () => void,
  ) {
    this.reset();
  }

  /** The link is up: the device can be talked to. */
  get enabled(): boolean {
    return (this.#status & R.PORT_ENABLED) !== 0;
  }

  /** As after power-on: a device that is there has just been connected. */
  reset(): void {
    this.#status = R.PORT_POWER | R.PORT_LINK_RX_DETECT;
    this.#power = 0;
    this.#linkInformation = 0;
    this.#hardwareLpm = 0;
    const { device } = this;
    if (!device) return;
    device.reset();
    // A SuperSpeed link trains itself (4.19.1.2).
    this.#status = R.PORT_POWER | R.PORT_CONNECTED | R.PORT_ENABLED | R.PORT_LINK_U0 | R.PORT_CONNECT_CHANGE;
    this.#status |= device.speed << R.PORT_SPEED_SHIFT;
  }

  read(register: number): number {
    switch (register) {
      case R.PORTSC:
        return this.#status >>> 0;
      case R.PORTPMSC:
        return this.#power;
      case R.PORTLI:
        return this.#linkInformation;
      default:
        return this.#hardwareLpm;
    }
  }

  write(register: number, value: number): void {
    switch (register) {
      case R.PORTSC:
        this.#writeStatus(value);
        break;
      case R.PORTPMSC:
        this.#power = value;
        break;
      case R.PORTLI:
        break;
      default:
        this.#hardwareLpm = value;
    }
  }

  #writeStatus(value: number): void {
    this.#status &= ~(value & R.PORT_CHANGES);
    this.#status = (this.#status & ~PLAIN) | (value & PLAIN);
    if (!(value & R.PORT_POWER)) {
      this.#status &= R.PORT_INDICATOR | R.PORT_WAKE;
      return;
    }
    if (this.device && !(this.#status & R.PORT_CONNECTED)) {
      // Power came back.
      this.#status |= R.PORT_CONNECTED | (this.device.speed << R.PORT_SPEED_SHIFT);
      this.#change(R.PORT_CONNECT_CHANGE);
    }
    if (value & R.PORT_ENABLED) {
      this.#status &= ~(R.PORT_ENABLED | R.PORT_LINK_STATE);
      this.#status |= R.PORT_LINK_DISABLED;
    }
    if (value & (R.PORT_RESET | R.PORT_WARM_RESET)) this.#resetDevice((value & R.PORT_WARM_RESET) !== 0);
    else if (value & R.PORT_LINK_WRITE) this.#setLink(value & R.PORT_LINK_STATE);
  }

  #resetDevice(warm: boolean): void {
    const { device } = this;
    if (!device) return;
    device.reset();
    this.#status &= ~R.PORT_LINK_STATE;
    this.#status |= R.PORT_ENABLED | R.PORT_LINK_U0;
    this.#change(R.PORT_RESET_CHANGE | (warm ? R.PORT_WARM_RESET_CHANGE : 0));
  }

  #setLink(link: number): void {
    if (!this.device) return;
    const old = this.#status & R.PORT_LINK_STATE;
    switch (link) {
      case R.PORT_LINK_U0:
        if (old === R.PORT_LINK_DISABLED) return;
        this.#status &= ~R.PORT_LINK_STATE;
        // Waking up is announced, going to sleep is not (4.19.2).
        if (old === R.PORT_LINK_U3) this.#change(R.PORT_LINK_CHANGE);
        break;
      case R.PORT_LINK_RX_DETECT:
        if (old !== R.PORT_LINK_DISABLED) return;
        this.#status &= ~R.PORT_LINK_STATE;
        this.#status |= R.PORT_ENABLED | R.PORT_LINK_U0;
        break;
      default:
        this.#status = (this.#status & ~R.PORT_LINK_STATE) | link;
        if (link === R.PORT_LINK_DISABLED) this.#status &= ~R.PORT_ENABLED;
    }
  }

  #change(bits: number): void {
    const isNew = (this.#status & bits) !== bits;
    this.#status |= bits;
    if (isNew) this.onChange();
  }

  save(): { readonly [field: string]: StateValue } {
    return {
      status: this.#status >>> 0,
      power: this.#power,
      linkInformation: this.#linkInformation,
      hardwareLpm: this.#hardwareLpm,
    };
  }

  prepareRestore(fields: StateFields): () => void {
    const [status, power, linkInformation, hardwareLpm] = (
      ['status', 'power', 'linkInformation', 'hardwareLpm'] as const
    ).map((name) => fields.integer(name, 0xffffffff));
    return () => {
      this.#status = (status ?? 0) | 0;
      this.#power = power ?? 0;
      this.#linkInformation = linkInformation ?? 0;
      this.#hardwareLpm = hardwareLpm ?? 0;
    };
  }
}
