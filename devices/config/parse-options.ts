/** bhyve(8)'s command line. Every option sets variables of the configuration tree, in the order given; the last one wins. */
import { scanColonNumbers } from './c-numbers.ts';
import { BhyveExit, errnoText, EX_USAGE, EXIT_USAGE_TEXT } from './errors.ts';
import { applyFirmwareOption, type FwCfgItem } from './firmware-option.ts';
import { Getopt } from './getopt.ts';
import { applyLpcOption } from './lpc-option.ts';
import { applyPciOption } from './pci-option.ts';
import { configurationWarnings, machineSettings, type MachineSettings } from './settings.ts';
import { parseTopologyOption } from './topology.ts';
import { ConfigTree } from './tree.ts';
import { usageText } from './usage.ts';

export interface CommandLineEnvironment {
  /** What messages begin with; bhyve takes the last part of argv[0]. */
  readonly programName: string;
  /** Reads a file named by `-k`. What it throws appears in the message; an errno in `code` becomes its usual text. */
  readTextFile(path: string): string;
}

export interface ParsedCommandLine {
  readonly tree: ConfigTree;
  /** Lines for stderr that do not end the run. The list grows when later reads of the tree have something to say. */
  readonly warnings: string[];
  /** What the tree says about the machine, checked. */
  readonly settings: MachineSettings;
  /** `-f NAME,...`: files for the firmware's configuration interface. */
  readonly fwCfgItems: readonly FwCfgItem[];
  /** `-r`: the snapshot to go on from. It also holds the name when none was given. */
  readonly restoreFile: string | undefined;
}

/** The manual's options, `-f`, `-M`, `-n` of later versions, and `-g` of earlier ones, which vmrun.sh gives. */
const OPTSTRING = 'aehuwxACDHIMPSWYk:f:g:o:p:G:c:s:m:n:l:K:U:r:';

/** Options that set one variable to a constant: bhyve(8) and bhyve_config(5). */
const CONSTANTS: Readonly<Record<string, readonly [path: string, value: string]>> = {
  A: ['acpi_tables', 'true'],
  a: ['x86.x2apic', 'false'],
  C: ['memory.guest_in_core', 'true'],
  D: ['destroy_on_poweroff', 'true'],
  e: ['x86.strictio', 'true'],
  H: ['x86.vmexit_on_hlt', 'true'],
  M: ['monitor', 'true'],
  P: ['x86.vmexit_on_pause', 'true'],
  S: ['memory.wired', 'true'],
  u: ['rtc.use_localtime', 'false'],
  W: ['virtio_msix', 'false'],
  w: ['x86.strictmsr', 'false'],
  x: ['x86.x2apic', 'true'],
  Y: ['x86.mptable', 'false'],
};

/** Options whose argument becomes the value of one variable. */
const VALUES: Readonly<Record<string, string>> = { K: 'keyboard.layout', m: 'memory.size', U: 'uuid' };

/** CPU_SETSIZE of FreeBSD 13. */
const HOST_CPUS = 256;

/** `var=value`: false when there is no `=` or no value. */
function applyAssignment(tree: ConfigTree, text: string): boolean {
  const equals = text.indexOf('=');
  if (equals === -1 || equals === text.length - 1) return false;
  tree.set(text.slice(0, equals), text.slice(equals + 1));
  return true;
}

/** Files that include files: deeper ones are taken for a loop. */
const MAX_INCLUDE_DEPTH = 8;

/** A path named in a file counts from that file's folder. */
function besideFile(file: string, path: string): string {
  if (path.startsWith('/')) return path;
  return file.slice(0, file.lastIndexOf('/') + 1) + path;
}

/** `var+=value` puts the value behind what the variable has. False when the line is none. */
function applyAddition(tree: ConfigTree, line: string): boolean {
  const [, name, value] = /^([^=+]+)\+=(.+)$/s.exec(line) ?? [];
  if (name === undefined || value === undefined) return false;
  tree.set(name, (tree.getRaw(name) ?? '') + value);
  return true;
}

/** `-k`: one assignment or `include FILE` a line; empty lines and lines that begin with `#` are skipped. */
function applyConfigurationFile(tree: ConfigTree, path: string, environment: CommandLineEnvironment, depth = 0): void {
  if (depth > MAX_INCLUDE_DEPTH) throw tree.exit(`${path}: too many files include each other`);
  let text: string;
  try {
    text = environment.readTextFile(path);
  } catch (error) {
    throw tree.exit(`Failed to open configuration file ${path}: ${errnoText(error)}`);
  }
  for (const [index, line] of text.split('\n').entries()) {
    if (line === '' || line.startsWith('#')) continue;
    if (line.startsWith('include ')) {
      applyConfigurationFile(tree, besideFile(path, line.slice('include '.length)), environment, depth + 1);
      continue;
    }
    if (applyAddition(tree, line)) continue;
    if (!applyAssignment(tree, line)) {
      throw tree.exit(`${path} line ${index + 1}: invalid config option '${line}'`);
    }
  }
}

/** `-G [w][address:]port`. */
function applyDebugServer(tree: ConfigTree, argument: string): void {
  const waits = argument.startsWith('w');
  if (waits) tree.set('gdb.wait', 'true');
  const rest = waits ? argument.slice(1) : argument;
  const colon = rest.lastIndexOf(':');
  if (colon !== -1) tree.set('gdb.address', rest.slice(0, colon));
  tree.set('gdb.port', rest.slice(colon + 1));
}

/** `-p vcpu:hostcpu`; several of them add up. */
function applyPinning(tree: ConfigTree, argument: string): void {
  const [vcpu, hostCpu] = scanColonNumbers(argument, 2);
  let problem: string | undefined;
  if (vcpu === undefined || hostCpu === undefined) problem = `invalid format: ${argument}`;
  else if (vcpu < 0) problem = `invalid vcpu '${vcpu}'`;
  else if (hostCpu < 0 || hostCpu >= HOST_CPUS) {
    problem = `hostcpu '${hostCpu}' outside valid range from 0 to ${HOST_CPUS - 1}`;
  }
  if (problem !== undefined) {
    const text = `${problem}\n${tree.programName}: invalid vcpu pinning configuration '${argument}'\n`;
    throw new BhyveExit(EX_USAGE, text);
  }
  const path = `vcpu.${vcpu}.cpuset`;
  const before = tree.getRaw(path);
  tree.set(path, before === undefined ? `${hostCpu}` : `${before},${hostCpu}`);
}

/** `-n id=N,size=MB,cpus=LIST[,domain_policy=POLICY]` of later versions. */
function applyNumaDomain(tree: ConfigTree, argument: string): void {
  const fields = new Map(
    argument.split(',').map((field): [string, string] => {
      const equals = field.indexOf('=');
      return equals === -1 ? [field, ''] : [field.slice(0, equals), field.slice(equals + 1)];
    }),
  );
  // A list of processors holds commas: bare numbers and ranges go on with the field before them.
  let list = fields.get('cpus') ?? '';
  for (const name of fields.keys()) if (/^\d+(-\d+)?$/.test(name)) list += `,${name}`;
  const id = fields.get('id') ?? '';
  const size = fields.get('size') ?? '';
  if (!/^[0-7]$/.test(id) || size === '' || list === '') {
    throw tree.exit(`invalid NUMA configuration '${argument}'`, EX_USAGE);
  }
  tree.set(`domains.${id}.size`, size);
  tree.set(`domains.${id}.cpus`, list);
  const policy = fields.get('domain_policy');
  if (policy !== undefined) tree.set(`domains.${id}.domain_policy`, policy);
}

/** A tree with the variables that bhyve sets before it looks at the command line. */
function startingTree(programName: string): ConfigTree {
  const tree = new ConfigTree(programName);
  tree.set('acpi_tables', 'false');
  tree.set('memory.size', '256M');
  tree.set('x86.strictmsr', 'true');
  return tree;
}

/**
 * A tree from variables by name, as `-o NAME=VALUE` sets them on top of bhyve's own. Throws {@link BhyveExit} when two names do not
 * fit into one tree.
 */
export function treeFromVariables(variables: Readonly<Record<string, string>>, programName = 'bhyve'): ConfigTree {
  const tree = startingTree(programName);
  for (const [path, value] of Object.entries(variables)) tree.set(path, value);
  return tree;
}

interface Progress {
  readonly fwCfgItems: FwCfgItem[];
  restoreFile: string | undefined;
}

function applyOption(
  tree: ConfigTree,
  option: string,
  argument: string,
  environment: CommandLineEnvironment,
  progress: Progress,
): void {
  const constant = CONSTANTS[option];
  if (constant) {
    tree.set(...constant);
    return;
  }
  const variable = VALUES[option];
  if (variable !== undefined) {
    tree.set(variable, argument);
    return;
  }
  switch (option) {
    case 'c':
      return parseTopologyOption(tree, argument);
    case 'f': {
      const item = applyFirmwareOption(tree, argument);
      if (item) progress.fwCfgItems.push(item);
      return;
    }
    case 'G':
      return applyDebugServer(tree, argument);
    case 'g':
      if (Number(argument) !== 0) tree.warn(`-g ${argument} has no effect; -G starts a debug server`);
      return;
    case 'h':
      throw new BhyveExit(0, usageText(tree.programName));
    case 'k':
      return applyConfigurationFile(tree, argument, environment);
    case 'l':
      return applyLpcOption(tree, argument);
    case 'n':
      return applyNumaDomain(tree, argument);
    case 'o':
      if (applyAssignment(tree, argument)) return;
      throw tree.exit(`invalid configuration option '${argument}'`, EX_USAGE);
    case 'p':
      return applyPinning(tree, argument);
    case 'r':
      progress.restoreFile = argument;
      return;
    case 's':
      return applyPciOption(tree, argument);
    default:
      // -I: the I/O APIC is always there.
      return;
  }
}

function parse(tree: ConfigTree, argv: readonly string[], environment: CommandLineEnvironment): ParsedCommandLine {
  const usage = (before = ''): BhyveExit => new BhyveExit(EXIT_USAGE_TEXT, before + usageText(tree.programName));
  const progress: Progress = { fwCfgItems: [], restoreFile: undefined };
  const getopt = new Getopt(argv, OPTSTRING);
  for (let event = getopt.next(); event; event = getopt.next()) {
    if (event.kind === 'error') throw usage(`${tree.programName}: ${event.message}\n`);
    applyOption(tree, event.option, event.argument, environment, progress);
  }
  const [name, ...surplus] = getopt.operands;
  if (surplus.length > 0) throw usage();
  if (name !== undefined) tree.set('name', name);
  if (tree.getRaw('name') === undefined && progress.restoreFile === undefined) throw usage();
  if (tree.getBoolean('config.dump', false)) throw new BhyveExit(1, '', tree.dump());
  const settings = machineSettings(tree);
  for (const warning of configurationWarnings(tree)) tree.warn(warning);
  return { tree, warnings: tree.warnings, settings, ...progress };
}

/**
 * Parses the words after the program's name. Throws {@link BhyveExit} for help, usage and errors; warnings that came
 * before stand in front of its stderr text. PCI functions are checked later, by `pciFunctions`, as bhyve does.
 */
export function parseCommandLine(argv: readonly string[], environment: CommandLineEnvironment): ParsedCommandLine {
  const tree = startingTree(environment.programName);
  try {
    return parse(tree, argv, environment);
  } catch (error) {
    if (!(error instanceof BhyveExit) || tree.warnings.length === 0) throw error;
    const warnings = tree.warnings.map((line) => `${line}\n`).join('');
    throw new BhyveExit(error.status, warnings + error.stderrText, error.stdoutText);
  }
}
