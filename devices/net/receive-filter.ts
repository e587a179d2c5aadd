/** Which frames a card hands to its guest: its own address, groups that were asked for, or everything. */
import type { StateFields } from '../platform/state-fields.ts';
import type { StateValue } from '../snapshot.ts';
import { addressKey, type MacAddress } from './addresses.ts';
import { MAC_BYTES } from './ethernet.ts';

/** Addresses of a driver's table; one that wants more gets everything (virtio 1.2, 5.1.6.5.2 allows imperfect filters). */
const MAX_ADDRESSES = 256;
const BROADCAST = '\xff\xff\xff\xff\xff\xff';

export class ReceiveFilter {
  /** Everything, whatever its address. */
  promiscuous = true;
  allMulticast = false;
  #addresses = new Set<string>();
  #overflowed = false;

  reset(): void {
    this.promiscuous = true;
    this.allMulticast = false;
    this.setAddresses(new Uint8Array());
  }

  /** Takes a table of addresses, 6 bytes each, besides the card's own. */
  setAddresses(table: Uint8Array): void {
    this.#addresses = new Set();
    this.#overflowed = table.length > MAX_ADDRESSES * MAC_BYTES;
    if (this.#overflowed) return;
    for (let at = 0; at + MAC_BYTES <= table.length; at += MAC_BYTES) {
      this.#addresses.add(addressKey(table.subarray(at, at + MAC_BYTES)));
    }
  }

  /** True when a frame that begins with `destination` is for the guest whose card has the address `own`. */
  accepts(destination: Uint8Array, own: MacAddress): boolean {
    if (this.promiscuous || this.#overflowed) return true;
    const isGroup = ((destination[0] ?? 0) & 1) !== 0;
    if (isGroup && this.allMulticast) return true;
    const key = addressKey(destination.subarray(0, MAC_BYTES));
    return key === BROADCAST || key === addressKey(own) || this.#addresses.has(key);
  }

  save(): { readonly [field: string]: StateValue } {
    const table = [...this.#addresses].flatMap((key) => [...key].map((letter) => letter.charCodeAt(0)));
    return {
      promiscuous: this.promiscuous,
      allMulticast: this.allMulticast,
      overflowed: this.#overflowed,
      addresses: table,
    };
  }

  prepareRestore(fields: StateFields): () => void {
    const promiscuous = fields.flag('promiscuous');
    const allMulticast = fields.flag('allMulticast');
    const overflowed = fields.flag('overflowed');
    const table = fields.integers('addresses', MAX_ADDRESSES * MAC_BYTES, 0xff);
    return () => {
      this.promiscuous = promiscuous;
      this.allMulticast = allMulticast;
      this.setAddresses(Uint8Array.from(table));
      this.#overflowed = overflowed;
    };
  }
}
