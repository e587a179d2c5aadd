/** What may follow in a bhyve(8) command line, from the declarations of options, devices and variables. */
import {
  COMMAND_LINE_OPTIONS,
  declaration,
  GLOBAL_VARIABLES,
  LPC_DEVICES,
  PCI_DEVICES,
  WEBHYVE_VARIABLES,
  type VariableDeclaration,
} from '../../devices/config/index.ts';
import { locateWords } from '../shell-words.ts';

export interface Suggestion {
  /** What the list shows. */
  readonly label: string;
  readonly help: string;
  /** What takes the place of the text from `start` to `end` of the line. */
  readonly insert: string;
  readonly start: number;
  readonly end: number;
}

/** Names of files that the page has: dropped ones, and images of this browser. */
export type FileNames = readonly string[];

const OPTIONS_WITH_ARGUMENT = 'cfGklmoprsUnKg';
const LAST_SLOT = 31;

interface Choice {
  readonly label: string;
  readonly help: string;
  readonly insert?: string;
}

function optionChoices(): Choice[] {
  return COMMAND_LINE_OPTIONS.map(([letter, help]) => ({
    label: `-${letter}`,
    help,
    insert: OPTIONS_WITH_ARGUMENT.includes(letter) ? `-${letter} ` : `-${letter}`,
  }));
}

function variableChoices(
  variables: readonly VariableDeclaration[],
  suffix: (variable: VariableDeclaration) => string,
): Choice[] {
  return variables.map((variable) => ({
    label: variable.name,
    help: variable.help,
    insert: variable.name + suffix(variable),
  }));
}

/** The slots of bus 0 that no `-s` of these words takes. */
export function freeSlots(words: readonly string[]): number[] {
  const taken = new Set<number>();
  for (const [index, word] of words.entries()) {
    if (word !== '-s') continue;
    const slot = /^(?:0:)?(\d+)(?::\d+)?,/.exec(words[index + 1] ?? '')?.[1];
    if (slot !== undefined) taken.add(Number(slot));
  }
  return Array.from({ length: LAST_SLOT + 1 }, (_, slot) => slot).filter((slot) => !taken.has(slot));
}

/** `-s SLOT,DEVICE[,...]`: the choices for the field that the text ends in. */
function pciChoices(fields: readonly string[], words: readonly string[], files: FileNames): Choice[] {
  if (fields.length === 1) {
    return freeSlots(words).map((slot) => ({ label: `${slot}`, help: 'free slot', insert: `${slot},` }));
  }
  if (fields.length === 2) {
    return PCI_DEVICES.map(({ name, summary, legacy }) => ({
      label: name,
      help: summary,
      insert: legacy.syntax.startsWith('[') ? name : `${name},`,
    }));
  }
  const device = declaration(fields[1] ?? '');
  if (!device) return [];
  const options = variableChoices(device.variables, ({ type }) => (type.label === 'boolean' ? '' : '='));
  if (fields.length > 3) return options;
  const takesPath = device.variables.some(({ name }) => name === 'path');
  return [...(takesPath ? fileChoices(files) : []), ...options];
}

function fileChoices(files: FileNames): Choice[] {
  return files.map((name) => ({
    label: name,
    help: name.startsWith('opfs:') ? 'image of this browser' : 'file of this page',
  }));
}

/** Choices for the field of an option's argument that the caret is in. */
function argumentChoices(option: string, argument: string, words: readonly string[], files: FileNames): Choice[] {
  const fields = argument.split(',');
  switch (option) {
    case 's':
      return pciChoices(fields, words, files);
    case 'l':
      if (fields.length === 1) {
        return LPC_DEVICES.map(({ name, summary, syntax }) => ({
          label: name,
          help: summary,
          insert: syntax.startsWith(',') ? `${name},` : name,
        }));
      }
      if (/^com\d$/.test(fields[0] ?? '')) return [{ label: 'stdio', help: 'a terminal of this page' }];
      return fileChoices(files);
    case 'f':
      if (fields.length === 1) {
        return [
          { label: 'kexec', help: 'Linux: kexec,KERNEL[,INITRD[,CMDLINE]]', insert: 'kexec,' },
          { label: 'multiboot', help: 'multiboot,KERNEL[,MODULE[,CMDLINE]]', insert: 'multiboot,' },
        ];
      }
      return fields.length <= 3 ? fileChoices(files) : [];
    case 'k':
    case 'r':
      return fileChoices(files);
    case 'm':
      return ['256M', '512M', '1G', '2G'].map((label) => ({ label, help: 'of guest memory' }));
    case 'c':
      return ['1', '2', '4'].map((label) => ({ label, help: label === '1' ? 'processor' : 'processors' }));
    case 'o':
      return variableChoices([...GLOBAL_VARIABLES, ...WEBHYVE_VARIABLES], () => '=');
    default:
      return [];
  }
}

/** What could stand at the caret, best first; at most `limit`. */
export function complete(line: string, caret: number, files: FileNames = [], limit = 12): Suggestion[] {
  const { words } = locateWords(line);
  const current = words.find(({ start, end }) => caret > start && caret <= end);
  const before = words.filter(({ end }) => end < caret);
  const typed = current ? line.slice(current.start, caret) : '';
  const previous = before.at(-1)?.text ?? '';
  const texts = words.map(({ text }) => text);
  let choices: Choice[];
  let fragmentStart = current?.start ?? caret;
  const option = /^-([a-zA-Z])$/.exec(previous)?.[1];
  if (option !== undefined && OPTIONS_WITH_ARGUMENT.includes(option)) {
    const argument = typed.replace(/^['"]/, '');
    choices = argumentChoices(option, argument, texts, files);
    fragmentStart = caret - (argument.split(',').at(-1)?.length ?? 0);
  } else if (typed.startsWith('-') || typed === '') {
    choices = optionChoices();
  } else return [];
  const fragment = line.slice(fragmentStart, caret).toLowerCase();
  const rank = ({ label }: Choice): number => (label.toLowerCase().startsWith(fragment) ? 0 : 1);
  const end = current && /^[^,]*/.exec(line.slice(caret, current.end))?.[0].length;
  return choices
    .filter(({ label }) => label.toLowerCase().includes(fragment))
    .sort((a, b) => rank(a) - rank(b))
    .slice(0, limit)
    .map(({ label, help, insert }) => ({
      label,
      help,
      insert: insert ?? label,
      start: fragmentStart,
      end: caret + (end ?? 0),
    }))
    .filter(({ insert, start, end: to }) => insert !== line.slice(start, to));
}
