/**
 * Ports that answer but do nothing: 0x84 (reads all ones; guests write to it as a short delay and as a POST code) and 0x488
 * (guest upcall: writes are ignored). Port 0x92 has no handler in bhyve either: A20 is always on, and the bus reads all ones.
 */
import { allOnes, type PortBus, type PortHandler } from '../bus/port-bus.ts';

export const POST_PORT = 0x84;
export const UPCALL_PORT = 0x488;

const silent: PortHandler = { readPort: (_port, size) => allOnes(size), writePort: () => {} };

/** Claims the ports. They have no state. */
export function claimFixedPorts(ports: PortBus): void {
  ports.claim('post code', POST_PORT, 1, silent);
  ports.claim('guest upcall', UPCALL_PORT, 1, silent);
}
