/** `-l device[,conf]`: bhyve(8), -l. */
import { splitComma } from './c-numbers.ts';
import { LPC_DEVICES } from './declarations/lpc.ts';
import { BhyveExit, EX_USAGE } from './errors.ts';
import { asksForHelp } from './pci-option.ts';
import type { ConfigTree } from './tree.ts';

/** Applies one `-l`. Exits with status 64 for an unknown device and with 0 after `-l help`. */
export function applyLpcOption(tree: ConfigTree, argument: string): void {
  if (asksForHelp(argument)) throw new BhyveExit(0, '', LPC_DEVICES.map((device) => `${device.name}\n`).join(''));
  const [name, configuration] = splitComma(argument);
  const device = LPC_DEVICES.find((candidate) => candidate.name === name.toLowerCase());
  if (!device) throw tree.exit(`invalid lpc device configuration '${argument}'`, EX_USAGE);
  device.apply(tree.root, configuration, argument);
}
