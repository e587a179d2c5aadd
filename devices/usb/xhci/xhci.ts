/** bhyve's `xhci`: an Intel Panther Point USB 3 controller with a tablet plugged in. */
import { allOnes, type AccessSize } from '../../bus/port-bus.ts';
import type { DeviceBuilder, DeviceContext } from '../../device-context.ts';
import type { Counters } from '../../device.ts';
import { PRIORITY_USB_TABLET } from '../../input/input-router.ts';
import { PciFunction } from '../../pci/function.ts';
import { asStateValue, type StateFields } from '../../platform/state-fields.ts';
import type { StateValue } from '../../snapshot.ts';
import { UsbTablet } from '../tablet.ts';
import { XhciController } from './controller.ts';
import * as R from './registers.ts';

const PCI_IDENTITY = {
  vendorId: 0x8086,
  deviceId: 0x1e31,
  classCode: 0x0c,
  subclass: 0x03,
  progIf: 0x30,
} as const;
/** Serial bus release number: USB 3.0 (xHCI 1.2, 5.2.3). */
const SBRN = 0x60;
const USB_3_0 = 0x30;

export class Xhci extends PciFunction {
  readonly controller: XhciController;
  readonly #tablets: readonly UsbTablet[];
  #interrupt = false;

  /** `ports`: what is plugged in, from port 1. */
  constructor(context: DeviceContext, tablets: number) {
    super('xhci', PCI_IDENTITY);
    this.addBar(0, 'mem32', R.BAR_BYTES, { posted: [{ offset: R.DOORBELLS, lengthBytes: 4 * (1 + R.MAX_SLOTS) }] });
    this.requestIntx();
    // The serial bus release number lies where capabilities would go on, so the message capability alone fits before it.
    this.addMsi(1);
    this.setConfigByte(SBRN, USB_3_0);
    this.setConfigMask(SBRN, 0);
    this.#tablets = Array.from({ length: tablets }, () => new UsbTablet());
    this.controller = new XhciController(
      {
        memory: context.memory,
        nowNs: () => context.clock.nowNs(),
        mayAccess: () => this.busMaster && !this.paused,
        interrupt: (asserted) => this.#setInterrupt(asserted),
      },
      this.#tablets,
    );
    for (const tablet of this.#tablets) {
      context.input.registerPointer(tablet, PRIORITY_USB_TABLET, () => tablet.configured);
    }
  }

  #setInterrupt(asserted: boolean): boolean {
    const rises = asserted && !this.#interrupt;
    this.#interrupt = asserted;
    if (this.msiEnabled) {
      if (rises) {
        // The message acknowledges the interrupt, so the next one rises again.
        this.#interrupt = false;
        this.raiseMsi(0);
      }
      this.setIntx(false);
      return rises;
    }
    this.setIntx(asserted);
    return false;
  }

  protected override readBar(index: number, offset: number, size: AccessSize): number {
    if (index !== 0 || offset % size !== 0) return super.readBar(index, offset, size);
    const word = this.controller.read(offset & ~3);
    if (size === 4) return word >>> 0;
    return (word >>> (8 * (offset & 3))) & allOnes(size);
  }

  protected override writeBar(index: number, offset: number, size: AccessSize, value: number): void {
    // Registers are words; drivers write nothing else (5.1).
    if (index !== 0 || size !== 4 || offset % 4 !== 0) super.writeBar(index, offset, size, value);
    else this.controller.write(offset, value >>> 0);
  }

  protected override busMasterChanged(enabled: boolean): void {
    if (enabled) this.controller.resume();
  }

  protected override resumeDevice(): void {
    this.controller.resume();
  }

  protected override resetDevice(): void {
    this.controller.reset();
  }

  protected override deviceCounters(): Counters {
    return {
      commands: this.controller.commands,
      'bad requests': this.controller.driverErrors,
      'bad register accesses': this.controller.badAccesses,
      'lost events': this.controller.events.lostEvents,
      ...Object.assign({}, ...this.#tablets.map((tablet) => tablet.counters())),
    };
  }

  protected override saveDevice(): { readonly [field: string]: StateValue } {
    return {
      controller: this.controller.save(),
      tablets: this.#tablets.map((tablet) => ({ state: asStateValue(tablet.save()) })),
    };
  }

  protected override prepareDeviceRestore(fields: StateFields): () => void {
    const restoreController = this.controller.prepareRestore(fields.group('controller'));
    const tabletFields = fields.groups('tablets', this.#tablets.length);
    const restoreTablets = this.#tablets.flatMap((tablet, index) => {
      const group = tabletFields[index];
      return group ? [tablet.prepareRestore(group.state('state'))] : [];
    });
    return () => {
      restoreController();
      for (const restore of restoreTablets) restore();
    };
  }
}

/** Builds the controller with the devices in its slots. */
export const buildXhci: DeviceBuilder = (context, _where, variables) => {
  const slots = Array.from({ length: R.USB3_PORTS }, (_, index) => variables.get(`slot.${index + 1}.device`));
  return new Xhci(context, slots.filter((device) => device === 'tablet').length);
};
