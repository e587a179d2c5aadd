/** What a guest finds in memory before its first instruction: firmware tables and the kernel. */
import type { GuestMemory } from '../bus/guest-memory.ts';
import type { PortBus } from '../bus/port-bus.ts';
import {
  BhyveExit,
  errnoText,
  pciFunctions,
  type ConfigTree,
  type FwCfgItem,
  type LoaderModule,
  type MachineSettings,
  type NumaDomain,
} from '../config/index.ts';
import { FirmwareTableError, type AcpiDomain, type AcpiParameters } from '../firmware/acpi/parameters.ts';
import { buildFirmwareTables, rsdpGpa, type FirmwareTable } from '../firmware/firmware-tables.ts';
import { fwCfgFiles, type BootDevice } from '../firmware/fw-cfg-files.ts';
import { FwCfg, type FwCfgFile } from '../firmware/fw-cfg.ts';
import { Fwctl, fwctlVariables } from '../firmware/fwctl.ts';
import { concatBytes } from '../firmware/byte-writer.ts';
import { lowMemory } from '../firmware/low-memory.ts';
import { LoaderError, type BootImage, type BootModule } from '../firmware/loaders/boot-image.ts';
import { FOUR_GIB, GENERATION_ID_GPA, TPM_GPA } from '../firmware/layout.ts';
import { loadKernel } from '../firmware/loaders/loader.ts';
import type { SmbiosStrings } from '../firmware/smbios.ts';
import { ECAM_BASE, ECAM_BYTES, type PciBusDescription } from '../pci/bus.ts';
import type { PciAddress } from '../pci/function.ts';
import type { MemoryPlan } from './core.ts';
import type { MachineHost } from './host.ts';

const EXIT_ERROR = 4;
/** Of a packed kernel. */
const MAX_UNPACKED_BYTES = 1024 * 1024 * 1024;
/** One bus of configuration space (PCI Express Base 3.0, 7.2.2). */
const ECAM_BYTES_PER_BUS = 0x100000;

/** What the tables say about devices. */
export interface FirmwareView {
  readonly lpcAddress: PciAddress | undefined;
  /** COM ports with a backend, 1-4. */
  readonly comPorts: readonly number[];
  describePci(): PciBusDescription[];
}

const SMBIOS_VARIABLES: Readonly<Record<string, keyof SmbiosStrings>> = {
  'bios.vendor': 'biosVendor',
  'bios.version': 'biosVersion',
  'bios.release_date': 'biosReleaseDate',
  'system.manufacturer': 'systemManufacturer',
  'system.product_name': 'systemProductName',
  'system.version': 'systemVersion',
  'system.serial_number': 'systemSerialNumber',
  'system.sku': 'systemSku',
  'system.family_name': 'systemFamilyName',
  'board.manufacturer': 'boardManufacturer',
  'board.product_name': 'boardProductName',
  'board.version': 'boardVersion',
  'board.serial_number': 'boardSerialNumber',
  'board.asset_tag': 'boardAssetTag',
  'board.location': 'boardLocation',
  'chassis.manufacturer': 'chassisManufacturer',
  'chassis.version': 'chassisVersion',
  'chassis.serial_number': 'chassisSerialNumber',
  'chassis.asset_tag': 'chassisAssetTag',
  'chassis.sku': 'chassisSku',
};

function smbiosStrings(tree: ConfigTree): SmbiosStrings {
  const strings: { -readonly [name in keyof SmbiosStrings]?: string } = {};
  for (const [variable, field] of Object.entries(SMBIOS_VARIABLES)) {
    const value = tree.get(variable);
    if (value !== undefined) strings[field] = value;
  }
  return strings;
}

/** Where each domain's memory lies: one after the other below the hole, and on from 4 GiB. */
function domainMemory(domains: readonly NumaDomain[], plan: MemoryPlan): AcpiDomain[] {
  let at = 0;
  return domains.map(({ id, cpus, memoryBytes }) => {
    const end = at + memoryBytes;
    const memory = [
      { base: at, length: Math.min(end, plan.lowBytes) - at },
      {
        base: FOUR_GIB + Math.max(at, plan.lowBytes) - plan.lowBytes,
        length: end - Math.max(at, plan.lowBytes),
      },
    ].filter(({ length }) => length > 0);
    at = end;
    return { id, cpus, memory };
  });
}

function acpiParameters(settings: MachineSettings, view: FirmwareView, plan: MemoryPlan): AcpiParameters {
  return {
    generationIdGpa: GENERATION_ID_GPA,
    domains: domainMemory(settings.domains, plan),
    tpmGpa: settings.tpm ? TPM_GPA : undefined,
    cpus: settings.topology.cpus,
    lpc: view.lpcAddress,
    comPorts: view.comPorts,
    buses: view.describePci().map(({ bus, io, mem32, mem64, routing }) => ({
      bus,
      io: { base: io.base, length: io.limit - io.base },
      mem32: { base: mem32.base, length: mem32.limit - mem32.base },
      mem64: { base: mem64.base, length: mem64.limit - mem64.base },
      // The router counts links from 1, ACPI's names from LNKA = 0.
      routing: routing.map(({ slot, pin, ioApicPin, pirqLink }) => {
        return { slot, pin, ioapicPin: ioApicPin, pirqLink: pirqLink - 1 };
      }),
    })),
    ecam: { base: ECAM_BASE, buses: ECAM_BYTES / ECAM_BYTES_PER_BUS },
    hpet: true,
    fwCfg: settings.lpc.bootrom !== undefined && settings.lpc.fwcfg === 'qemu',
  };
}

/** What the configuration asks of the firmware and cannot be had ends the run. */
function orExit<T>(build: () => T): T {
  try {
    return build();
  } catch (error) {
    if (error instanceof FirmwareTableError) throw new BhyveExit(EXIT_ERROR, `${error.message}\n`);
    throw error;
  }
}

/** Builds ACPI (-A), MP (unless -Y) and SMBIOS tables. */
export function buildTables(
  tree: ConfigTree,
  settings: MachineSettings,
  view: FirmwareView,
  plan: MemoryPlan,
  hostName: string,
): { readonly tables: FirmwareTable[]; readonly rsdpGpa: number | undefined } {
  const rootBus = view.describePci().find(({ bus }) => bus === 0);
  const parameters = {
    acpi: settings.flags.acpiTables ? acpiParameters(settings, view, plan) : undefined,
    mpTable: settings.flags.mptable
      ? {
          cpus: settings.topology.cpus,
          routing: (rootBus?.routing ?? []).map(({ slot, pin, ioApicPin }) => ({ slot, pin, ioapicPin: ioApicPin })),
        }
      : undefined,
    smbios: {
      uuid: settings.uuid,
      vmName: settings.name,
      hostName,
      sockets: settings.topology.sockets,
      coresPerSocket: settings.topology.cores,
      threadsPerCore: settings.topology.threads,
      lowmemBytes: plan.lowBytes,
      highmemBytes: plan.highBytes,
      strings: smbiosStrings(tree),
    },
  };
  return { tables: orExit(() => buildFirmwareTables(parameters)), rsdpGpa: rsdpGpa(parameters) };
}

async function readOrExit(host: MachineHost, what: string, path: string): Promise<Uint8Array> {
  try {
    return await host.readFile(path);
  } catch (error) {
    throw new BhyveExit(EXIT_ERROR, `Could not open ${what}: ${path}: ${errnoText(error)}\n`);
  }
}

/** How messages call tables that are not ACPI's. */
const TABLE_NAMES: Readonly<Record<string, string>> = { MPTABLE: 'mptable', SMBIOS: 'smbios table' };

/** Puts the tables where guests look for them. Exits when the machine has too little memory to have anything there. */
export function writeTables(memory: GuestMemory, tables: readonly FirmwareTable[]): void {
  for (const { gpa, bytes, name } of tables) {
    if (!memory.contains(gpa, bytes.length)) {
      throw new BhyveExit(EXIT_ERROR, `${TABLE_NAMES[name] ?? `ACPI ${name}`} requires mapped mem\n`);
    }
    memory.write(gpa, bytes);
  }
}

/** Exits when no kernel is named, as bhyve does without anything to boot. */
export function requireKernel(settings: MachineSettings): void {
  if (settings.loader.kernel !== undefined) return;
  throw new BhyveExit(
    EXIT_ERROR,
    'virtual machine cannot be booted\nName a kernel with -f kexec,KERNEL[,INITRD[,CMDLINE]], or a boot ROM with -l bootrom,ROM.\n',
  );
}

async function readModule(host: MachineHost, what: string, { path, args }: LoaderModule): Promise<BootModule> {
  const bytes = await readOrExit(host, what, path);
  return { bytes, name: path, commandLine: args };
}

/** A kernel that was packed with gzip, as boot loaders unpack it (Xen comes so); any other as it is. */
async function unpacked(file: Uint8Array): Promise<Uint8Array> {
  if (file[0] !== 0x1f || file[1] !== 0x8b) return file;
  const reader = new Blob([Uint8Array.from(file)]).stream().pipeThrough(new DecompressionStream('gzip')).getReader();
  const pieces: Uint8Array[] = [];
  let lengthBytes = 0;
  try {
    for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
      pieces.push(piece.value);
      lengthBytes += piece.value.length;
      if (lengthBytes > MAX_UNPACKED_BYTES) throw new BhyveExit(EXIT_ERROR, 'The kernel is too large when unpacked.\n');
    }
  } catch (error) {
    if (error instanceof BhyveExit) throw error;
    throw new BhyveExit(EXIT_ERROR, 'The kernel is packed with gzip, and damaged.\n');
  }
  return concatBytes(...pieces);
}

/** Reads and lays out the kernel that loader.* names; undefined when it names none. */
export async function loadBootImage(
  settings: MachineSettings,
  plan: MemoryPlan,
  host: MachineHost,
  rsdp: number | undefined,
  tree: ConfigTree,
): Promise<BootImage | undefined> {
  const { kernel, initrd, cmdline, protocol } = settings.loader;
  if (kernel === undefined) return undefined;
  const kernelBytes = await unpacked(await readOrExit(host, 'kernel', kernel));
  const modules = initrd === undefined ? [] : [await readModule(host, 'initial RAM disk', { path: initrd })];
  for (const module of settings.loader.modules) modules.push(await readModule(host, 'module', module));
  const comPorts = settings.lpc.com.flatMap((path, index) => (path === undefined ? [] : [index + 1]));
  try {
    const image = loadKernel(
      {
        kernel: kernelBytes,
        kernelName: kernel,
        commandLine: cmdline,
        modules,
        lowmemBytes: plan.lowBytes,
        highmemBytes: plan.highBytes,
        rsdpGpa: rsdp,
        lastPciBus: Math.max(0, ...pciFunctions(tree).map(({ bus }) => bus)),
      },
      protocol,
    );
    return { ...image, segments: [...lowMemory(comPorts, image.biosHandlers), ...image.segments] };
  } catch (error) {
    if (error instanceof LoaderError) throw new BhyveExit(EXIT_ERROR, `${kernel}: ${error.message}\n`);
    throw error;
  }
}

/** Names of the ACPI tables as buildFirmwareTables gives them; the other tables are the MP table and SMBIOS. */
const NOT_ACPI = new Set(['MPTABLE', 'SMBIOS']);

/** Ports that an AHCI adapter may have. */
const AHCI_PORTS = 32;

function bootDevices(tree: ConfigTree): BootDevice[] {
  const devices: BootDevice[] = [];
  for (const { bus, slot, func, variables } of pciFunctions(tree)) {
    if (bus !== 0) continue;
    // Firmware tries the ports of an adapter in their order: the first that has an index places them all.
    const names = ['bootindex', ...Array.from({ length: AHCI_PORTS }, (_, port) => `port.${port}.bootindex`)];
    const index = names.map((name) => variables.get(name)).find((value) => value !== undefined);
    if (index !== undefined) devices.push({ slot, func, bootIndex: Number(index) });
  }
  return devices;
}

/** Reads the files that `-f NAME,file=PATH` names. */
export async function readFwCfgItems(items: readonly FwCfgItem[], host: MachineHost): Promise<FwCfgFile[]> {
  return Promise.all(
    items.map(async (item) => ({
      name: item.name,
      // bhyve stores the string with its terminating NUL.
      bytes:
        'text' in item ? new TextEncoder().encode(`${item.text}\0`) : await readOrExit(host, 'fw_cfg file', item.file),
    })),
  );
}

/** The device at ports 0x510-0x511 by which a boot ROM asks about the machine: fwctl, or QEMU's fw_cfg. */
export function firmwareInterface(
  ports: PortBus,
  tree: ConfigTree,
  settings: MachineSettings,
  plan: MemoryPlan,
  tables: readonly FirmwareTable[],
  items: readonly FwCfgFile[],
): FwCfg | Fwctl {
  const { cpus } = settings.topology;
  if (settings.lpc.fwcfg === 'bhyve') return new Fwctl(ports, fwctlVariables(cpus));
  const files = fwCfgFiles({
    cpus,
    bootDevices: bootDevices(tree),
    acpiTables: tables.filter(({ name }) => !NOT_ACPI.has(name)),
    lowmemBytes: plan.lowBytes,
    highmemBytes: plan.highBytes,
  });
  return orExit(() => new FwCfg(ports, cpus, [...files, ...items]));
}
