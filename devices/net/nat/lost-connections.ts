/**
 * TCP connections in a snapshot. They cannot go on elsewhere: their other halves are sockets of a process. So a snapshot says which
 * there were, and after a restore the guest hears a reset for each, even one on which it only listens.
 */
import type { StateFields } from '../../platform/state-fields.ts';
import type { StateValue } from '../../snapshot.ts';
import type { MacAddress } from '../addresses.ts';
import { readU16, readU32, writeU16, writeU32 } from '../wire.ts';
import type { TcpEndpoints } from './tcp-connection.ts';

/** A connection as the guest knows it. */
export interface LostConnection {
  readonly ends: TcpEndpoints;
  readonly mac: MacAddress;
  /** What the guest expects next, or, when it had not got all that was under way, a number within its window. */
  readonly sequence: number;
}

const ADDRESS_WORDS = 4;
/** IP version, two addresses, both ports, the MAC address, the sequence number. */
const RECORD_WORDS = 1 + 2 * ADDRESS_WORDS + 1 + 2 + 1;

function wordsOf(address: Uint8Array): number[] {
  return Array.from({ length: ADDRESS_WORDS }, (_, index) =>
    4 * index < address.length ? readU32(address, 4 * index) : 0,
  );
}

function addressOf(words: readonly number[], lengthBytes: number): Uint8Array {
  const address = new Uint8Array(lengthBytes);
  for (let at = 0; at < lengthBytes; at += 4) writeU32(address, at, words[at / 4] ?? 0);
  return address;
}

export function saveConnections(connections: readonly LostConnection[]): StateValue {
  return connections.map(({ ends, mac, sequence }) => [
    ends.guest.length === 4 ? 4 : 6,
    ...wordsOf(ends.guest),
    ...wordsOf(ends.remote),
    ends.guestPort * 0x10000 + ends.remotePort,
    readU16(mac, 0),
    readU32(mac, 2),
    sequence,
  ]);
}

/** Reads what {@link saveConnections} wrote; throws SnapshotError when it is something else. */
export function readConnections(fields: StateFields, name: string, maxCount: number): LostConnection[] {
  return fields.integerLists(name, maxCount, RECORD_WORDS, 0xffff_ffff).map((words) => {
    const addressBytes = words[0] === 4 ? 4 : 16;
    const [ports = 0, macHigh = 0, macLow = 0, sequence = 0] = words.slice(1 + 2 * ADDRESS_WORDS);
    const mac = new Uint8Array(6);
    writeU16(mac, 0, macHigh & 0xffff);
    writeU32(mac, 2, macLow);
    return {
      ends: {
        guest: addressOf(words.slice(1, 1 + ADDRESS_WORDS), addressBytes),
        remote: addressOf(words.slice(1 + ADDRESS_WORDS, 1 + 2 * ADDRESS_WORDS), addressBytes),
        guestPort: Math.floor(ports / 0x10000),
        remotePort: ports & 0xffff,
      },
      mac,
      sequence,
    };
  });
}
