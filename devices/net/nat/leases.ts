/** Which guest has which address: handed out by DHCP for as long as the network lives. */
import { addressKey, inPrefix, type IpAddress, type MacAddress } from '../addresses.ts';
import { FIRST_GUEST_IPV4, FIRST_GUEST_IPV6, LAST_GUEST_HOST_NUMBER, NETWORK_IPV4 } from './settings.ts';

const FIRST_HOST_NUMBER = FIRST_GUEST_IPV4[3] ?? 0;

export class Leases {
  /** Last number of the address, by Ethernet address. */
  readonly #byMac = new Map<string, number>();
  readonly #taken = new Set<number>();

  /** The guest's number, given at its first request: the one that it asks for when that is free. Undefined when all are taken. */
  number(mac: MacAddress, wanted?: IpAddress): number | undefined {
    const key = addressKey(mac);
    const known = this.#byMac.get(key);
    if (known !== undefined) return known;
    let number = wanted && inPrefix(wanted, NETWORK_IPV4) ? (wanted[3] ?? 0) : FIRST_HOST_NUMBER;
    if (number < FIRST_HOST_NUMBER || number > LAST_GUEST_HOST_NUMBER) number = FIRST_HOST_NUMBER;
    const count = LAST_GUEST_HOST_NUMBER - FIRST_HOST_NUMBER + 1;
    for (let tries = 0; tries < count; tries++) {
      if (!this.#taken.has(number)) {
        this.#taken.add(number);
        this.#byMac.set(key, number);
        return number;
      }
      number = number === LAST_GUEST_HOST_NUMBER ? FIRST_HOST_NUMBER : number + 1;
    }
    return undefined;
  }

  release(mac: MacAddress): void {
    const key = addressKey(mac);
    const number = this.#byMac.get(key);
    if (number === undefined) return;
    this.#byMac.delete(key);
    this.#taken.delete(number);
  }
}

export function ipv4Of(number: number): IpAddress {
  const address = FIRST_GUEST_IPV4.slice();
  address[3] = number;
  return address;
}

/** The same number behind IPv6's prefix, in the digits that IPv4 shows: 10.0.2.15 and fd00:a098:0:2::15. */
export function ipv6Of(number: number): IpAddress {
  const address = FIRST_GUEST_IPV6.slice();
  address[14] = Math.floor(number / 100);
  address[15] = (Math.floor(number / 10) % 10) * 16 + (number % 10);
  return address;
}
