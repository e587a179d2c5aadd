/** What the configuration tree says about the machine, with defaults filled in and every value checked. */
import { parseInteger } from './c-numbers.ts';
import { type CpuidOverride, readCpuidOverrides } from './cpuid-overrides.ts';
import {
  GLOBAL_VARIABLES,
  type LoaderProtocol,
  LOADER_PROTOCOLS,
  VIRTIO_TRANSPORTS,
  WEBHYVE_VARIABLES,
} from './declarations/globals.ts';
import { declaration } from '../catalog.ts';
import { findVariable, type VariableDeclaration } from './declare.ts';
import { BhyveExit, EX_USAGE, EXIT_ERROR } from './errors.ts';
import { parseMemorySize } from './memory-size.ts';
import { checkVcpuCount, readTopology, type Topology } from './topology.ts';
import type { ConfigNode, ConfigTree } from './tree.ts';
import { BOOLEAN, JIT_MODE, LINEAR_ADDRESS } from './variable-types.ts';

export interface MachineFlags {
  /** -A */
  readonly acpiTables: boolean;
  readonly acpiTablesInMemory: boolean;
  /** -C */
  readonly guestInCore: boolean;
  /** -M */
  readonly monitor: boolean;
  /** -D */
  readonly destroyOnPoweroff: boolean;
  /** Not -Y */
  readonly mptable: boolean;
  /** Not -u */
  readonly rtcUseLocalTime: boolean;
  /** -e */
  readonly strictIo: boolean;
  /** Not -w */
  readonly strictMsr: boolean;
  /** Not -W */
  readonly virtioMsix: boolean;
  /** -H */
  readonly vmexitOnHlt: boolean;
  /** -P */
  readonly vmexitOnPause: boolean;
  /** -S */
  readonly wired: boolean;
  /** -x */
  readonly x2apic: boolean;
  /** Counters are printed when the machine ends. */
  readonly stats: boolean;
  /** Functions decode their BARs at reset. */
  readonly enableBars: boolean;
}

export interface LpcSettings {
  readonly bootrom: string | undefined;
  readonly bootvars: string | undefined;
  /** Where COM1-COM4 lead; undefined is a port without a backend. */
  readonly com: readonly [string | undefined, string | undefined, string | undefined, string | undefined];
  readonly fwcfg: 'bhyve' | 'qemu';
  readonly pcTestdev: boolean;
}

/** A file for the kernel beside its first initial RAM disk or module. */
export interface LoaderModule {
  readonly path: string;
  readonly args?: string | undefined;
}

export interface LoaderSettings {
  readonly kernel: string | undefined;
  readonly initrd: string | undefined;
  readonly cmdline: string;
  readonly modules: readonly LoaderModule[];
  readonly protocol: LoaderProtocol;
}

export interface GdbSettings {
  readonly address: string;
  readonly port: number;
  readonly wait: boolean;
}

export interface NumaDomain {
  readonly id: number;
  readonly memoryBytes: number;
  /** vCPUs, ascending. */
  readonly cpus: readonly number[];
}

export interface MachineSettings {
  /** Empty only when the name is to come from a snapshot. */
  readonly name: string;
  /** -U; undefined when it is to be made from the names of machine and host. */
  readonly uuid: string | undefined;
  readonly topology: Topology;
  /** Guest memory, a multiple of 4096. */
  readonly memoryBytes: number;
  /** Guest memory that the process holds at a time at most; undefined: what fits. */
  readonly residentBytes: number | undefined;
  /** Where the rest of it goes; undefined: where the host keeps such files. */
  readonly swapPath: string | undefined;
  /** NUMA domains in the order of their numbers (-n); empty: the guest sees one. Their memory adds up to `memoryBytes`. */
  readonly domains: readonly NumaDomain[];
  /** Pinning as given, by vCPU. */
  readonly cpusets: readonly (string | undefined)[];
  readonly flags: MachineFlags;
  readonly lpc: LpcSettings;
  readonly loader: LoaderSettings;
  readonly gdb: GdbSettings | undefined;
  /** `virtio.transport` */
  readonly virtioTransport: (typeof VIRTIO_TRANSPORTS)[number];
  readonly keyboardLayout: string | undefined;
  /** `rundir`: where the host notes its process and the control socket. */
  readonly runFolder: string | undefined;
  readonly tpm: { readonly type: string; readonly path: string; readonly version: string } | undefined;
  readonly cpu: {
    readonly model: string | undefined;
    readonly features: string | undefined;
    readonly vendor: string | undefined;
    /** Which code is compiled. */
    readonly jit: 'hot' | 'never' | 'always';
    /** Compiled regions that hold the instruction at this linear address are shown; 0: none. */
    readonly shownRegion: bigint;
    /** Answers of CPUID that are not the processor's. */
    readonly cpuid: readonly CpuidOverride[];
  };
}

/** One configured PCI function, with its variables (everything below its node but `device`). */
export interface PciFunctionSettings {
  readonly bus: number;
  readonly slot: number;
  readonly func: number;
  readonly device: string;
  readonly variables: ConfigNode;
}

/** Modules beside the first; more than any kernel takes. */
const MAX_MODULES = 64;
const PAGE_BYTES = 4096;
/** What one instruction of each vCPU may touch, code, tables of pages and devices' requests besides, must have a place at the same time. */
const LEAST_RESIDENT_BYTES = 32 * 2 ** 20;
const LEAST_RESIDENT_BYTES_A_VCPU = 16 * 2 ** 20;
/** VM_MAXMEMDOM of FreeBSD. */
const MAX_DOMAINS = 8;
const ALL_GLOBALS = [...GLOBAL_VARIABLES, ...WEBHYVE_VARIABLES];

function globalDeclaration(path: string): VariableDeclaration {
  const found = findVariable(ALL_GLOBALS, path);
  if (!found) throw new Error(`variable ${path} is not declared`);
  return found;
}

/** A global variable, checked against its declaration, or its default. */
function readString(tree: ConfigTree, path: string): string | undefined {
  const { type, default: fallback } = globalDeclaration(path);
  const value = tree.get(path);
  if (value === undefined) return fallback;
  const problem = type.check(value, path);
  if (problem !== undefined) throw tree.exit(problem);
  return value;
}

function readBoolean(tree: ConfigTree, path: string): boolean {
  return tree.getBoolean(path, globalDeclaration(path).default === 'true');
}

function readCpusets(tree: ConfigTree, cpus: number): (string | undefined)[] {
  const sets: (string | undefined)[] = [];
  for (let vcpu = 0; vcpu < cpus; vcpu++) {
    const list = tree.get(`vcpu.${vcpu}.cpuset`);
    if (list !== undefined && !/^\d+(-\d+)?(,\d+(-\d+)?)*$/.test(list)) {
      throw tree.exit(`invalid cpuset for vcpu ${vcpu}: '${list}'`);
    }
    sets.push(list);
  }
  return sets;
}

function memorySize(tree: ConfigTree, size: string): number {
  const bytes = parseMemorySize(size);
  if (bytes === undefined) throw tree.exit(`invalid memsize '${size}'`, EX_USAGE);
  return bytes;
}

/** vCPUs of a list such as `0,2-4`, ascending; undefined when it is none, or names one that does not exist. */
function readCpuList(list: string, cpus: number): number[] | undefined {
  if (!/^\d+(-\d+)?(,\d+(-\d+)?)*$/.test(list)) return undefined;
  const members = new Set<number>();
  for (const range of list.split(',')) {
    const [first = 0, last = first] = range.split('-').map(Number);
    if (first > last || last >= cpus) return undefined;
    for (let cpu = first; cpu <= last; cpu++) members.add(cpu);
  }
  return [...members].sort((a, b) => a - b);
}

function readDomains(tree: ConfigTree, cpus: number): NumaDomain[] {
  const taken = new Set<number>();
  return [...numberedNodes(tree.findNode('domains'), MAX_DOMAINS - 1)].map(([id, node]) => {
    const wrong = (what: string): BhyveExit => tree.exit(`NUMA domain ${id}: ${what}`, EX_USAGE);
    const memoryBytes = memorySize(tree, node.get('size') ?? '');
    if (memoryBytes === 0 || memoryBytes % PAGE_BYTES !== 0) throw wrong('its size is not in whole pages');
    const list = node.get('cpus') ?? '';
    const members = readCpuList(list, cpus);
    if (!members) throw wrong(`there are no vCPUs ${list}`);
    for (const cpu of members) {
      if (taken.has(cpu)) throw wrong(`vCPU ${cpu} belongs to another one`);
      taken.add(cpu);
    }
    return { id, memoryBytes, cpus: members };
  });
}

/** Sizes of the NUMA domains take the place of -m, as they do in bhyve. */
function readMemoryBytes(tree: ConfigTree, domains: readonly NumaDomain[]): number {
  if (domains.length > 0) return domains.reduce((sum, { memoryBytes }) => sum + memoryBytes, 0);
  return memorySize(tree, readString(tree, 'memory.size') ?? '');
}

function readResidentBytes(tree: ConfigTree, cpus: number): number | undefined {
  const text = readString(tree, 'memory.resident');
  if (text === undefined) return undefined;
  const bytes = memorySize(tree, text);
  const leastBytes = LEAST_RESIDENT_BYTES + cpus * LEAST_RESIDENT_BYTES_A_VCPU;
  if (bytes < leastBytes) {
    throw tree.exit(`memory.resident: ${cpus} vCPUs need ${leastBytes / 2 ** 20} MiB at least, not ${text}`);
  }
  return bytes;
}

function readLpc(tree: ConfigTree): LpcSettings {
  const com = (port: number): string | undefined => readString(tree, `lpc.com${port}.path`);
  return {
    // bhyve 15 moved both to the root of the tree.
    bootrom: readString(tree, 'lpc.bootrom') ?? tree.get('bootrom'),
    bootvars: readString(tree, 'lpc.bootvars') ?? tree.get('bootvars'),
    com: [com(1), com(2), com(3), com(4)],
    fwcfg: readString(tree, 'lpc.fwcfg') === 'qemu' ? 'qemu' : 'bhyve',
    pcTestdev: readBoolean(tree, 'lpc.pc-testdev'),
  };
}

function readGdb(tree: ConfigTree): GdbSettings | undefined {
  const port = parseInteger(readString(tree, 'gdb.port') ?? '0', 0, 0xffff) ?? 0;
  if (port === 0) return undefined;
  return { address: readString(tree, 'gdb.address') ?? 'localhost', port, wait: readBoolean(tree, 'gdb.wait') };
}

/** Reads the whole machine's settings. Exits with bhyve's status and text when one of them is wrong. */
export function machineSettings(tree: ConfigTree): MachineSettings {
  const topology = readTopology(tree);
  const cpusets = readCpusets(tree, topology.cpus);
  const domains = readDomains(tree, topology.cpus);
  const memoryBytes = readMemoryBytes(tree, domains);
  checkVcpuCount(topology);
  if (memoryBytes === 0 || memoryBytes % PAGE_BYTES !== 0) throw tree.exit('Unable to setup memory (22)');
  const lpc = readLpc(tree);
  const protocol = readString(tree, 'loader.protocol');
  const tpmType = readString(tree, 'tpm.type');
  const flag = (path: string): boolean => readBoolean(tree, path);
  return {
    name: readString(tree, 'name') ?? '',
    uuid: readString(tree, 'uuid'),
    topology,
    memoryBytes,
    residentBytes: readResidentBytes(tree, topology.cpus),
    swapPath: readString(tree, 'memory.swap'),
    domains,
    cpusets,
    flags: {
      acpiTables: flag('acpi_tables'),
      acpiTablesInMemory: flag('acpi_tables_in_memory'),
      guestInCore: flag('memory.guest_in_core'),
      monitor: flag('monitor'),
      destroyOnPoweroff: flag('destroy_on_poweroff'),
      mptable: flag('x86.mptable'),
      rtcUseLocalTime: flag('rtc.use_localtime'),
      strictIo: flag('x86.strictio'),
      strictMsr: flag('x86.strictmsr'),
      virtioMsix: flag('virtio_msix'),
      vmexitOnHlt: flag('x86.vmexit_on_hlt'),
      vmexitOnPause: flag('x86.vmexit_on_pause'),
      wired: flag('memory.wired'),
      x2apic: flag('x86.x2apic'),
      stats: flag('stats'),
      enableBars: tree.getBoolean('pci.enable_bars', lpc.bootrom === undefined),
    },
    lpc,
    loader: {
      kernel: readString(tree, 'loader.kernel'),
      initrd: readString(tree, 'loader.initrd'),
      cmdline: readString(tree, 'loader.cmdline') ?? '',
      modules: readModules(tree),
      protocol: LOADER_PROTOCOLS.find((known) => known === protocol) ?? 'auto',
    },
    gdb: readGdb(tree),
    virtioTransport:
      VIRTIO_TRANSPORTS.find((known) => known === readString(tree, 'virtio.transport')) ?? 'transitional',
    keyboardLayout: readString(tree, 'keyboard.layout'),
    runFolder: readString(tree, 'rundir'),
    tpm:
      tpmType === undefined
        ? undefined
        : {
            type: tpmType,
            path: readString(tree, 'tpm.path') ?? '',
            version: readString(tree, 'tpm.version') ?? '2.0',
          },
    cpu: {
      model: readString(tree, 'cpu.model'),
      features: readString(tree, 'cpu.features'),
      vendor: readString(tree, 'cpu.vendor'),
      jit: JIT_MODE.parse(readString(tree, 'cpu.jit') ?? 'true'),
      shownRegion: LINEAR_ADDRESS.parse(readString(tree, 'jit.dump') ?? '0'),
      cpuid: readCpuidOverrides(tree, ALL_GLOBALS),
    },
  };
}

/** `loader.module.N`, in the order of their numbers. */
function readModules(tree: ConfigTree): LoaderModule[] {
  return [...numberedNodes(tree.findNode('loader.module'), MAX_MODULES - 1)].flatMap(([number]) => {
    const path = readString(tree, `loader.module.${number}.path`);
    return path === undefined ? [] : [{ path, args: readString(tree, `loader.module.${number}.args`) }];
  });
}

/** Decimal names of a node's children in numeric order, with the node of each. */
function* numberedNodes(node: ConfigNode | undefined, maximum: number): Generator<readonly [number, ConfigNode]> {
  const numbers = (node?.names() ?? []).filter((name) => /^(0|[1-9]\d*)$/.test(name)).map(Number);
  for (const number of numbers.filter((value) => value <= maximum).sort((a, b) => a - b)) {
    const child = node?.entry(String(number));
    if (child !== undefined && typeof child !== 'string') yield [number, child];
  }
}

function* pciNodes(tree: ConfigTree): Generator<Omit<PciFunctionSettings, 'device'>> {
  for (const [bus, busNode] of numberedNodes(tree.findNode('pci'), 255)) {
    for (const [slot, slotNode] of numberedNodes(busNode, 31)) {
      for (const [func, variables] of numberedNodes(slotNode, 7)) yield { bus, slot, func, variables };
    }
  }
}

/** What is wrong with a function's variables, or undefined. */
function variableProblem(device: string, variables: ConfigNode): string | undefined {
  const declared = declaration(device);
  if (!declared) return undefined;
  for (const [path] of variables.variables()) {
    const value = variables.get(path);
    if (path === 'device' || value === undefined) continue;
    const type = findVariable(declared.variables, path)?.type;
    const problem = type?.check(value, path.slice(path.lastIndexOf('.') + 1));
    // bhyve's reader of booleans ends the run itself; what devices refuse goes through initializationError().
    if (problem !== undefined && type === BOOLEAN) throw variables.tree.exit(problem);
    if (problem !== undefined) return problem;
  }
  return declared.check?.(variables);
}

/** bhyve prints the device's own message and then that of perror(3). */
function initializationError(line: string): BhyveExit {
  return new BhyveExit(EXIT_ERROR, `${line}\ndevice emulation initialization error: Invalid argument\n`);
}

/**
 * The configured PCI functions in the order of bus, slot and function, checked. Exits with status 4 as bhyve does when it
 * initializes them. Whether a device is built is the machine's to say (`notBuiltMessage`).
 */
export function pciFunctions(tree: ConfigTree): PciFunctionSettings[] {
  const functions: PciFunctionSettings[] = [];
  for (const { bus, slot, func, variables } of pciNodes(tree)) {
    const where = `pci slot ${bus}:${slot}:${func}`;
    const device = variables.get('device');
    if (device === undefined) throw initializationError(`${where}: missing "device" value`);
    const declared = declaration(device);
    if (!declared) throw initializationError(`${where}: unknown device "${device}"`);
    if (declared.aliasOf !== undefined) {
      throw initializationError(`${where}: legacy device "${device}", use "${declared.aliasOf}" instead`);
    }
    const problem = variableProblem(device, variables);
    if (problem !== undefined) throw initializationError(problem);
    if (device === 'lpc' && bus !== 0) {
      throw initializationError(`${where}: the lpc bridge can only be configured on bus 0`);
    }
    if (declared.onlyOne !== undefined && functions.some((other) => other.device === device)) {
      throw initializationError(declared.onlyOne);
    }
    functions.push({ bus, slot, func, device, variables });
  }
  if (tree.getBoolean('x86.mptable', true) && functions.some(({ bus }) => bus !== 0)) {
    throw new BhyveExit(
      EXIT_ERROR,
      'MPtable is incompatible with multiple PCI hierarchies.\n' +
        'MPtable generation can be disabled by passing the -Y option to bhyve(8).\n',
    );
  }
  return functions;
}

/** Settings that bhyve accepts in silence and that cannot have the effect that was meant. */
export function configurationWarnings(tree: ConfigTree): string[] {
  const warnings: string[] = [];
  let hasLpc = false;
  for (const { bus, slot, func, variables } of pciNodes(tree)) {
    const device = variables.getRaw('device') ?? '';
    hasLpc ||= device === 'lpc';
    const declared = declaration(device);
    if (!declared) continue;
    for (const [path] of variables.variables()) {
      if (path === 'device' || findVariable(declared.variables, path)) continue;
      warnings.push(`pci slot ${bus}:${slot}:${func}: ${device} has no option "${path}"`);
    }
  }
  for (const [path] of tree.findNode('lpc')?.variables() ?? []) {
    // A boot ROM and its interface are there without the bridge.
    if (hasLpc || /^(bootrom|bootvars|fwcfg)$/.test(path)) continue;
    warnings.push(`lpc.${path} has no effect without an lpc bridge (-s 31,lpc)`);
  }
  if (tree.findNode('domains') && !tree.getBoolean('acpi_tables', false)) {
    warnings.push('NUMA domains have no effect without ACPI tables (-A)');
  }
  return warnings;
}
