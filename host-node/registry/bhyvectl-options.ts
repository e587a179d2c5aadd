/** The command line of bhyvectl(8): getopt_long(3) words into what is to be done. */
import { REFUSED_OPTIONS } from './bhyvectl-refused.ts';
import { CONTROL_REGISTERS, CONTROL_SEGMENTS, CONTROL_TABLES } from '../../devices/machine/control-registers.ts';

export class BhyvectlUsage extends Error {
  override readonly name = 'BhyvectlUsage';
}

/** The option is bhyvectl's own and asks for something that does not exist here. */
export class BhyvectlRefusal extends Error {
  override readonly name = 'BhyvectlRefusal';
}

/** What was asked for: option names without their dashes, with their arguments (empty for those without). */
export interface BhyvectlCommand {
  readonly vm: string;
  readonly vcpu: number;
  readonly options: ReadonlyMap<string, string>;
}

const SETTABLE = [...CONTROL_REGISTERS, ...CONTROL_SEGMENTS];
const DESCRIPTORS = [...CONTROL_SEGMENTS, ...CONTROL_TABLES];

/** Options without an argument. */
const FLAGS: readonly string[] = [
  ...['create', 'destroy', 'get-stats', 'inject-nmi', 'force-reset', 'force-poweroff', 'get-all'],
  ...['get-lowmem', 'get-highmem', 'get-memseg', 'get-memmap', 'get-rtc-time', 'get-rtc-nvram'],
  ...['get-x2apic-state', 'get-tsc-offset', 'get-guest-pat', 'get-guest-sysenter', 'getcap'],
  ...['get-active-cpus', 'get-suspended-cpus', 'get-cpu-topology'],
  ...CONTROL_REGISTERS.map((name) => `get-${name}`),
  ...CONTROL_SEGMENTS.map((name) => `get-${name}`),
  ...DESCRIPTORS.flatMap((name) => [`get-desc-${name}`, `set-desc-${name}`]),
];

/** Options with an argument, and what usage calls it. */
const WITH_ARGUMENT: Readonly<Record<string, string>> = {
  vm: 'vmname',
  cpu: 'vcpu_number',
  vcpu: 'vcpu_number',
  'desc-base': 'BASE',
  'desc-limit': 'LIMIT',
  'desc-access': 'ACCESS',
  'set-rtc-time': 'secs',
  'rtc-nvram-offset': 'offset',
  'set-rtc-nvram': 'val',
  capname: 'capname',
  checkpoint: 'filename',
  suspend: 'filename',
  ...Object.fromEntries(SETTABLE.map((name) => [`set-${name}`, name.toUpperCase()])),
};

/** usage() of bhyvectl: one option a line. */
export function bhyvectlUsage(programName: string): string {
  const indent = ' '.repeat(7);
  const lines = [
    ...['[--cpu=<vcpu_number>]', ...FLAGS.map((name) => `[--${name}]`)],
    ...Object.entries(WITH_ARGUMENT)
      .filter(([name]) => !['vm', 'cpu', 'vcpu'].includes(name))
      .map(([name, argument]) => `[--${name}=<${argument}>]`),
  ];
  return [`Usage: ${programName} --vm=<vmname>`, ...lines.map((line) => indent + line), ''].join('\n');
}

/** getopt_long(3) takes any beginning of a name that only one option has. */
function fullName(word: string): string {
  const all = [...FLAGS, ...Object.keys(WITH_ARGUMENT), ...REFUSED_OPTIONS.keys()];
  if (all.includes(word)) return word;
  const candidates = all.filter((name) => name.startsWith(word));
  const [only] = candidates;
  if (candidates.length > 1) throw new BhyvectlUsage(`ambiguous option -- ${word}`);
  if (only === undefined || word === '') throw new BhyvectlUsage(`unrecognized option \`--${word}'`);
  return only;
}

/** A number as strtoul(3) with base 0 reads it: decimal, 0x..., 0... */
export function parseNumber(text: string): bigint | undefined {
  const negative = text.startsWith('-');
  const digits = negative ? text.slice(1) : text;
  let value: bigint;
  if (/^0x[0-9a-f]+$/i.test(digits)) value = BigInt(digits);
  else if (/^0[0-7]+$/.test(digits)) value = BigInt(`0o${digits.slice(1)}`);
  else if (/^[0-9]+$/.test(digits) && !/^0./.test(digits)) value = BigInt(digits);
  else return undefined;
  return negative ? -value : value;
}

/** Before anything is done: a call must not stop in the middle for a word that could have been looked at first. */
function checkNumbers(options: ReadonlyMap<string, string>): void {
  for (const [name, text] of options) {
    const takesNumber = /^(set-(?!desc-)|desc-)/.test(name) || name === 'rtc-nvram-offset';
    if (!takesNumber) continue;
    if (parseNumber(text) === undefined) throw new BhyvectlUsage(`invalid value '${text}' of --${name}`);
  }
  const nvram = options.has('get-rtc-nvram') || options.has('set-rtc-nvram');
  if (nvram && !options.has('rtc-nvram-offset')) throw new BhyvectlUsage('--rtc-nvram-offset is needed');
}

/** Reads the words after the program's name. Throws {@link BhyvectlRefusal} and {@link BhyvectlUsage}; an empty message wants the usage text alone. */
export function parseBhyvectl(argv: readonly string[]): BhyvectlCommand {
  const options = new Map<string, string>();
  for (let at = 0; at < argv.length; at++) {
    const word = argv[at] ?? '';
    if (word === '--' || !word.startsWith('-')) break;
    if (!word.startsWith('--')) throw new BhyvectlUsage(`invalid option -- ${word.slice(1, 2)}`);
    const equals = word.indexOf('=');
    const name = fullName(word.slice(2, equals === -1 ? undefined : equals));
    const refused = REFUSED_OPTIONS.get(name);
    if (refused !== undefined) throw new BhyvectlRefusal(`--${name}: ${refused}`);
    const attached = equals === -1 ? undefined : word.slice(equals + 1);
    if (!Object.hasOwn(WITH_ARGUMENT, name)) {
      if (attached !== undefined) throw new BhyvectlUsage(`option doesn't take an argument -- ${name}`);
      options.set(name, '');
      continue;
    }
    const argument = attached ?? argv[++at];
    if (argument === undefined) throw new BhyvectlUsage(`option requires an argument -- ${name}`);
    options.set(name, argument);
  }
  const vm = options.get('vm');
  if (vm === undefined) throw new BhyvectlUsage('');
  const vcpuText = options.get('cpu') ?? options.get('vcpu') ?? '0';
  const vcpu = parseNumber(vcpuText);
  if (vcpu === undefined || vcpu < 0n || vcpu > 0xffffn) throw new BhyvectlUsage(`invalid vcpu number '${vcpuText}'`);
  for (const name of ['vm', 'cpu', 'vcpu']) options.delete(name);
  checkNumbers(options);
  return { vm, vcpu: Number(vcpu), options };
}
