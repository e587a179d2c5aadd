/** The address register of configuration mechanism #1. In a machine it lies in the core's memory, so that accesses to empty slots need no device. */
export interface ConfigRegister {
  address: number;
  /** A function was plugged in there: accesses to the slot go to the devices' thread from now on. */
  slotInUse(bus: number, slot: number): void;
}

/** A register of one's own, for buses without a machine. */
export function plainConfigRegister(): ConfigRegister {
  return { address: 0, slotInUse: () => undefined };
}
