/** What Linux says of memory that must not be swapped (-S). Node cannot lock pages; a host without swap swaps none. */
import { readFileSync } from 'node:fs';
import { freemem } from 'node:os';
import type { WiringOutcome } from '../devices/machine/host.ts';

function availableBytes(): number {
  if (process.platform !== 'linux') return freemem();
  const kib = Number(/^MemAvailable:\s+(\d+) kB/m.exec(readFileSync('/proc/meminfo', 'latin1'))?.[1]);
  return Number.isNaN(kib) ? freemem() : kib * 1024;
}

function hasSwap(): boolean {
  if (process.platform !== 'linux') return true;
  return readFileSync('/proc/swaps', 'latin1').trim().split('\n').length > 1;
}

export function wire(lengthBytes: number): WiringOutcome {
  const available = availableBytes();
  if (lengthBytes > available) {
    const mib = (bytes: number): number => Math.floor(bytes / 2 ** 20);
    return { refusal: `${mib(lengthBytes)} MiB cannot be wired: this host has ${mib(available)} MiB available` };
  }
  return hasSwap() ? { warning: 'guest memory is taken from the start, and this host may still swap it' } : {};
}
