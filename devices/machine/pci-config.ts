/** What the core knows of PCI configuration (core-as/intc/pci-config.ts): the address register, and which slots are in use. */
import { PCI_CONFIG_ADDRESS, PCI_SLOTS } from '../../core-as/layout.ts';
import type { ConfigRegister } from '../pci/config-register.ts';
import type { CoreState } from './core.ts';

export function coreConfigRegister({ i32 }: CoreState): ConfigRegister {
  return {
    get address() {
      return Atomics.load(i32, PCI_CONFIG_ADDRESS >> 2) >>> 0;
    },
    set address(value) {
      Atomics.store(i32, PCI_CONFIG_ADDRESS >> 2, value | 0);
    },
    slotInUse: (bus, slot) => {
      Atomics.or(i32, (PCI_SLOTS >> 2) + bus, 1 << slot);
    },
  };
}
