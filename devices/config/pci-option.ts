/** `-s slot,emulation[,conf]`: bhyve(8), -s. */
import { scanColonNumbers } from './c-numbers.ts';
import { declaration, PCI_DEVICES } from '../catalog.ts';
import { BhyveExit, EXIT_ERROR } from './errors.ts';
import { LegacyFormError } from './legacy.ts';
import type { ConfigTree } from './tree.ts';

export interface PciAddress {
  readonly bus: number;
  readonly slot: number;
  readonly func: number;
}

const inRange = (value: number | undefined, maximum: number): value is number =>
  value !== undefined && value >= 0 && value <= maximum;

/** `[bus:]slot[:function]` in the three forms of the manual; undefined when it is none of them or out of range. */
export function parsePciAddress(text: string): PciAddress | undefined {
  const numbers = scanColonNumbers(text, 3);
  const [bus, slot, func] = numbers.length === 3 ? numbers : [0, numbers[0], numbers[1] ?? 0];
  return inRange(bus, 255) && inRange(slot, 31) && inRange(func, 7) ? { bus, slot, func } : undefined;
}

/** True for `help` and each of its beginnings, the empty text included: bhyve compares only as far as the argument goes. */
export function asksForHelp(argument: string): boolean {
  return 'help'.startsWith(argument);
}

const fail = (line: string): BhyveExit => new BhyveExit(EXIT_ERROR, `${line}\n`);

/** Applies one `-s`. Exits with status 4 when it does not fit, and with 0 after `-s help`. */
export function applyPciOption(tree: ConfigTree, argument: string): void {
  if (asksForHelp(argument)) throw new BhyveExit(0, '', PCI_DEVICES.map((device) => `${device.name}\n`).join(''));
  const [slotText = '', name, ...rest] = argument.split(',');
  const address = parsePciAddress(slotText);
  if (name === undefined || !address) throw fail(`Invalid PCI slot info field "${argument}"`);
  const where = `${address.bus}:${address.slot}:${address.func}`;
  const device = declaration(name);
  if (!device) throw fail(`pci slot ${where}: unknown device "${name}"`);
  const { help } = device.legacy;
  if (help !== undefined && rest.length === 1 && rest[0] === 'help') throw new BhyveExit(0, '', help);
  const path = `pci.${address.bus}.${address.slot}.${address.func}`;
  if (tree.findNode(path)) throw fail(`pci slot ${where} already occupied!`);
  const node = tree.createNode(path);
  node.set('device', device.aliasOf ?? device.name);
  for (const [variable, value] of Object.entries(device.preset ?? {})) node.set(variable, value);
  if (rest.length === 0) return;
  try {
    device.legacy.apply(node, rest.join(','));
  } catch (error) {
    if (error instanceof LegacyFormError) throw fail(error.message);
    throw error;
  }
}
