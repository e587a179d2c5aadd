/** docs/devices.md, made from the declarations. */
import { GLOBAL_VARIABLES, WEBHYVE_VARIABLES } from './declarations/globals.ts';
import { PCI_DEVICES } from '../catalog.ts';
import { LPC_DEVICES } from './declarations/lpc.ts';
import type { VariableDeclaration } from './declare.ts';

/** A Markdown table with its columns padded, as the formatter wants it. */
function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [header, ...rows].map((row) => row.map((cell) => cell.replaceAll('|', '\\|')));
  const widths = header.map((_, column) => Math.max(3, ...all.map((row) => row[column]?.length ?? 0)));
  const line = (cells: readonly string[]): string =>
    `| ${widths.map((width, column) => (cells[column] ?? '').padEnd(width)).join(' | ')} |`;
  const [head = [], ...body] = all;
  return [line(head), `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`, ...body.map(line)].join('\n');
}

function variableTable(variables: readonly VariableDeclaration[]): string {
  return table(
    ['variable', 'type', 'default', 'meaning'],
    variables.map(({ name, type, default: fallback, help }) => [
      `\`${name}\``,
      type.label,
      fallback === undefined || fallback === '' ? '' : `\`${fallback}\``,
      help,
    ]),
  );
}

/** The whole page. */
export function renderReference(): string {
  const parts = [
    '# Devices and variables',
    'Made from the declarations in `devices/config/declarations/` by `renderReference()`; a test compares the two. ' +
      'That a device is listed says that its options are understood, not that it is emulated: ' +
      'the README has the table of what is.',
    '## Variables of the machine',
    'As in bhyve_config(5). `-o name=value` and the lines of a `-k` file set them.',
    variableTable(GLOBAL_VARIABLES),
    '## Variables that bhyve does not have',
    variableTable(WEBHYVE_VARIABLES),
    '## LPC devices (`-l`)',
    table(
      ['device', 'option', 'meaning'],
      LPC_DEVICES.map(({ name, syntax, summary }) => [`\`${name}\``, `\`-l ${name}${syntax}\``, summary]),
    ),
    '## PCI devices (`-s`)',
    'The variables of a function lie below `pci.BUS.SLOT.FUNCTION`; `device` names the device.',
  ];
  for (const { name, summary, aliasOf, legacy, preset, variables } of PCI_DEVICES) {
    parts.push(`### ${name}`, `${summary}.`, `\`-s slot,${name}${legacy.syntax}\``);
    if (aliasOf !== undefined) {
      const presets = Object.entries(preset ?? {}).map(([variable, value]) => `\`${variable}=${value}\``);
      parts.push(`Another spelling of [${aliasOf}](#${aliasOf}) with ${presets.join(' and ')}.`);
    } else if (variables.length > 0) {
      parts.push(variableTable(variables));
    } else {
      parts.push('No variables.');
    }
  }
  return `${parts.join('\n\n')}\n`;
}
