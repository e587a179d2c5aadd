/**
 * Routing of INTx pins: to I/O APIC pins 16-23, and through the eight PIRQ links of the LPC bridge to the 8259 pair
 * (Intel ICH10 datasheet, 13.1.13: PIRQx_ROUT, configuration registers 0x60-0x63 and 0x68-0x6B).
 */
import type { InterruptLines, LineSource } from '../platform/interrupt-lines.ts';
import { StateFields } from '../platform/state-fields.ts';
import type { DeviceState, Stateful } from '../snapshot.ts';

export const PIRQ_LINK_COUNT = 8;
/** PIRQx_ROUT bit 7: the link does not reach the 8259. */
export const PIRQ_DISABLE = 0x80;
const PIRQ_IRQ = 0x0f;
const FIRST_IOAPIC_PIN = 16;
const IOAPIC_PCI_PINS = 8;

/** IRQs that a link may use. */
const PERMITTED = new Set([3, 4, 5, 6, 7, 9, 10, 11, 12, 14, 15]);

/** Where an interrupt pin of a slot goes. */
export interface PinRoute {
  /** I/O APIC pin, 16-23. */
  readonly ioApicPin: number;
  /** PIRQ link, 1-8 for A-H. */
  readonly pirqLink: number;
}

export interface PirqRouterOptions {
  readonly lines: InterruptLines;
  /** A boot ROM's own tables expect the fixed formula; without one pins are handed out evenly. */
  readonly fixedRouting: boolean;
  /** IRQs that belong to ISA devices (keyboard 1, mouse 12, configured COM ports); no link gets one at first. */
  readonly reservedIrqs: readonly number[];
  /** Sets the 8259's edge/level control for an IRQ; called for the IRQs that links use at first. */
  readonly setLevelTriggered?: ((irq: number) => void) | undefined;
}

interface Link {
  /** PIRQx_ROUT. */
  register: number;
  useCount: number;
  /** Devices asserting the link. */
  asserting: number;
  /** Hear that the link leads elsewhere. */
  readonly followers: (() => void)[];
}

const STATE_KIND = 'pirq-router';
const STATE_VERSION = 1;
/** ACPI's SCI is a user of IRQ 9. */
const SCI_IRQ = 9;

export class PirqRouter implements Stateful {
  readonly #options: PirqRouterOptions;
  readonly #links: Link[] = Array.from({ length: PIRQ_LINK_COUNT }, () => ({
    register: PIRQ_DISABLE,
    useCount: 0,
    asserting: 0,
    followers: [],
  }));
  /** One source of each permitted ISA line, shared by the links that are routed to it. */
  readonly #isaSources: LineSource[][];
  /** How often an IRQ is in use; IRQs that must not be handed out are absent. */
  readonly #irqUse = new Map<number, number>();
  #nextIoApicPin = 0;
  #resetRegisters: number[] = [];

  constructor(options: PirqRouterOptions) {
    this.#options = options;
    for (const irq of PERMITTED) this.#irqUse.set(irq, irq === SCI_IRQ ? 1 : 0);
    for (const irq of options.reservedIrqs) this.#irqUse.delete(irq);
    this.#isaSources = this.#links.map(() => Array.from({ length: 16 }, (_, irq) => options.lines.isaSource(irq)));
  }

  /** Chooses the route of a pin (1-4 for INTA#-INTD#) of a slot. Call once per slot and pin, in slot order. */
  route(slot: number, pin: number): PinRoute {
    const fixed = (4 + slot + pin) % PIRQ_LINK_COUNT;
    const ioApicPin = FIRST_IOAPIC_PIN + (this.#options.fixedRouting ? fixed : this.#nextIoApicPin++ % IOAPIC_PCI_PINS);
    const index = this.#options.fixedRouting ? fixed : this.#leastUsedLink();
    const link = this.#links[index];
    if (link) {
      link.useCount++;
      if (!PirqRouter.#routed(link)) this.#assignIrq(link);
    }
    return { ioApicPin, pirqLink: index + 1 };
  }

  #leastUsedLink(): number {
    let best = 0;
    this.#links.forEach((link, index) => {
      if (link.useCount < (this.#links[best]?.useCount ?? 0)) best = index;
    });
    return best;
  }

  #assignIrq(link: Link): void {
    let best: number | undefined;
    for (const [irq, use] of this.#irqUse) {
      if (best === undefined || use < (this.#irqUse.get(best) ?? 0)) best = irq;
    }
    if (best === undefined) return;
    this.#irqUse.set(best, (this.#irqUse.get(best) ?? 0) + 1);
    link.register = best;
    this.#options.setLevelTriggered?.(best);
  }

  static #routed(link: Link): boolean {
    return !(link.register & PIRQ_DISABLE) && PERMITTED.has(link.register & PIRQ_IRQ);
  }

  /** All pins are routed: the registers as they are now come back at a reset. */
  finish(): void {
    this.#resetRegisters = this.#links.map((link) => link.register);
  }

  /** PIRQx_ROUT of link 1-8. */
  readLink(link: number): number {
    return this.#links[link - 1]?.register ?? PIRQ_DISABLE;
  }

  writeLink(link: number, value: number): void {
    const state = this.#links[link - 1];
    if (!state) return;
    this.#drive(link - 1, false);
    state.register = value & (PIRQ_DISABLE | PIRQ_IRQ);
    this.#drive(link - 1, state.asserting > 0);
    for (const follower of state.followers) follower();
  }

  /** IRQ of link 1-8, or undefined while it is not routed to the 8259. */
  linkIrq(link: number): number | undefined {
    const state = this.#links[link - 1];
    return state && PirqRouter.#routed(state) ? state.register & PIRQ_IRQ : undefined;
  }

  /** A new source for a pin that was routed: drives the I/O APIC pin and the link. */
  source(route: PinRoute): LineSource {
    const ioApic = this.#options.lines.ioApicSource(route.ioApicPin);
    const link = this.#links[route.pirqLink - 1];
    let level = false;
    return (asserted) => {
      if (asserted === level) return;
      level = asserted;
      ioApic(asserted);
      if (!link) return;
      link.asserting += asserted ? 1 : -1;
      this.#drive(route.pirqLink - 1, link.asserting > 0);
    };
  }

  /**
   * For a pin that the core drives: tells now, and whenever that changes, what it leads to. One bit each: ISA lines 0-15, I/O APIC pins
   * 16-23.
   */
  follow(route: PinRoute, leadsTo: (lines: number) => void): void {
    const tell = (): void => {
      const irq = this.linkIrq(route.pirqLink);
      leadsTo((1 << route.ioApicPin) | (irq === undefined ? 0 : 1 << irq));
    };
    this.#links[route.pirqLink - 1]?.followers.push(tell);
    tell();
  }

  #drive(index: number, asserted: boolean): void {
    const link = this.#links[index];
    if (link && PirqRouter.#routed(link)) this.#isaSources[index]?.[link.register & PIRQ_IRQ]?.(asserted);
  }

  reset(): void {
    this.#resetRegisters.forEach((register, index) => this.writeLink(index + 1, register));
  }

  save(): DeviceState {
    return {
      kind: STATE_KIND,
      version: STATE_VERSION,
      fields: { registers: this.#links.map((link) => link.register) },
    };
  }

  restore(state: DeviceState): void {
    this.prepareRestore(state)();
  }

  prepareRestore(state: DeviceState): () => void {
    const registers = StateFields.open(state, STATE_KIND, STATE_VERSION).integers('registers', PIRQ_LINK_COUNT, 0xff);
    return () => registers.forEach((register, index) => this.writeLink(index + 1, register));
  }
}
