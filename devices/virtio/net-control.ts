/** Commands on virtio-net's control queue (virtio 1.2, 5.1.6.5): filters, the MAC address, offloads, announcements. */
import type { MacAddress } from '../net/addresses.ts';
import { isGroupMac } from '../net/addresses.ts';
import { MAC_BYTES } from '../net/ethernet.ts';
import type { ReceiveFilter } from '../net/receive-filter.ts';

const CLASS_RX = 0;
const RX_PROMISCUOUS = 0;
const RX_ALL_MULTICAST = 1;
const CLASS_MAC = 1;
const MAC_TABLE_SET = 0;
const MAC_ADDRESS_SET = 1;
const CLASS_ANNOUNCE = 3;
const ANNOUNCE_ACKNOWLEDGED = 0;
const CLASS_GUEST_OFFLOADS = 5;
const GUEST_OFFLOADS_SET = 0;

/** Class, command and a table of 256 addresses of each kind are less. */
export const MAX_COMMAND_BYTES = 8192;

/** What commands change. */
export interface NetControls {
  readonly filter: ReceiveFilter;
  setMac(mac: MacAddress): void;
  /** The driver has announced itself to the network. */
  announced(): void;
  /** Feature bits of the offloads that the driver takes from now on; false when it names others. */
  setGuestOffloads(bits: bigint): boolean;
}

/** Runs a command. True when it was done. */
export function runNetCommand(command: Uint8Array, controls: NetControls): boolean {
  const data = command.subarray(2);
  switch (command[0]) {
    case CLASS_RX:
      if (data.length !== 1) return false;
      if (command[1] === RX_PROMISCUOUS) controls.filter.promiscuous = data[0] !== 0;
      else if (command[1] === RX_ALL_MULTICAST) controls.filter.allMulticast = data[0] !== 0;
      else return false;
      return true;
    case CLASS_MAC:
      return command[1] === MAC_TABLE_SET
        ? setTable(data, controls.filter)
        : command[1] === MAC_ADDRESS_SET && setAddress(data, controls);
    case CLASS_ANNOUNCE:
      if (command[1] !== ANNOUNCE_ACKNOWLEDGED) return false;
      controls.announced();
      return true;
    case CLASS_GUEST_OFFLOADS: {
      if (command[1] !== GUEST_OFFLOADS_SET || data.length !== 8) return false;
      return controls.setGuestOffloads(new DataView(data.buffer, data.byteOffset).getBigUint64(0, true));
    }
    default:
      return false;
  }
}

function setAddress(data: Uint8Array, controls: NetControls): boolean {
  if (data.length !== MAC_BYTES || isGroupMac(data)) return false;
  controls.setMac(data.slice());
  return true;
}

/** Two tables, unicast and multicast, each with its count of entries in front. */
function setTable(data: Uint8Array, filter: ReceiveFilter): boolean {
  const tables: Uint8Array[] = [];
  let at = 0;
  for (let table = 0; table < 2; table++) {
    if (at + 4 > data.length) return false;
    const entries = new DataView(data.buffer, data.byteOffset + at).getUint32(0, true);
    const end = at + 4 + entries * MAC_BYTES;
    if (end > data.length) return false;
    tables.push(data.subarray(at + 4, end));
    at = end;
  }
  filter.setAddresses(Uint8Array.from(tables.flatMap((bytes) => [...bytes])));
  return true;
}
