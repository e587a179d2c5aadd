/** Variables of the machine as a whole: bhyve_config(5), "CONFIGURATION VARIABLES", and those that webhyve adds. */
import type { VariableDeclaration } from '../declare.ts';
import {
  BOOLEAN,
  choice,
  CPUID_VALUE,
  integer,
  JIT_MODE,
  LINEAR_ADDRESS,
  PATH,
  STRING,
  UUID,
} from '../variable-types.ts';

/** LOADER_PROTOCOLS are the values of `loader.protocol`. */
export const LOADER_PROTOCOLS = ['auto', 'linux64', 'linux32', 'linux16', 'multiboot', 'pvh', 'freebsd'] as const;
export type LoaderProtocol = (typeof LOADER_PROTOCOLS)[number];

/** The values of `virtio.transport`. */
export const VIRTIO_TRANSPORTS = ['transitional', 'legacy', 'modern'] as const;

const TOPOLOGY_VALUE = integer(1, 0xffff);

function smbios(...names: readonly string[]): VariableDeclaration[] {
  return names.map((name) => ({ name, type: STRING, help: 'Text in the SMBIOS tables' }));
}

export const GLOBAL_VARIABLES: readonly VariableDeclaration[] = [
  { name: 'name', type: STRING, help: 'Name of the machine; the operand of the command line sets it' },
  { name: 'cpus', type: TOPOLOGY_VALUE, help: 'Number of vCPUs; by default the product of the next three' },
  { name: 'sockets', type: TOPOLOGY_VALUE, help: 'Number of processor packages; by default as many as cpus' },
  { name: 'cores', type: TOPOLOGY_VALUE, default: '1', help: 'Cores in a package' },
  { name: 'threads', type: TOPOLOGY_VALUE, default: '1', help: 'Threads of a core' },
  { name: 'vcpu.N.cpuset', type: STRING, help: 'Processors of the host for vCPU N, such as 0,2-4' },
  { name: 'memory.size', type: STRING, default: '256M', help: 'Size of guest memory' },
  { name: 'memory.wired', type: BOOLEAN, default: 'false', help: 'Keep guest memory from being swapped' },
  { name: 'memory.guest_in_core', type: BOOLEAN, default: 'false', help: 'Guest memory is part of a core dump' },
  { name: 'acpi_tables', type: BOOLEAN, default: 'false', help: 'Write ACPI tables' },
  {
    name: 'acpi_tables_in_memory',
    type: BOOLEAN,
    default: 'true',
    help: 'Write them into guest memory even when the firmware can also fetch them',
  },
  { name: 'destroy_on_poweroff', type: BOOLEAN, default: 'false', help: 'Forget the machine when it powers off' },
  { name: 'gdb.address', type: STRING, default: 'localhost', help: 'Address of the debug server' },
  { name: 'gdb.port', type: integer(0, 0xffff), default: '0', help: 'Port of the debug server; 0 starts none' },
  { name: 'gdb.wait', type: BOOLEAN, default: 'false', help: 'Wait for a debugger before the first instruction' },
  { name: 'keyboard.layout', type: STRING, help: 'Layout of the PS/2 keyboard' },
  { name: 'rtc.use_localtime', type: BOOLEAN, default: 'true', help: 'The clock shows local time rather than UTC' },
  {
    name: 'uuid',
    type: UUID,
    help: "UUID in the SMBIOS tables; by default made from the machine's and the host's names",
  },
  { name: 'virtio_msix', type: BOOLEAN, default: 'true', help: 'Virtio devices offer MSI-X; otherwise one MSI vector' },
  { name: 'config.dump', type: BOOLEAN, default: 'false', help: 'Print all variables and exit with status 1' },
  {
    name: 'monitor',
    type: BOOLEAN,
    default: 'false',
    help: 'A parent process starts the machine again after a reboot, and forgets it when it ends',
  },
  {
    name: 'pci.enable_bars',
    type: BOOLEAN,
    help: 'Functions decode their BARs at reset; by default without a boot ROM',
  },
  { name: 'x86.mptable', type: BOOLEAN, default: 'true', help: 'Write an MP table' },
  { name: 'x86.x2apic', type: BOOLEAN, default: 'false', help: 'Local APICs start in x2APIC mode' },
  { name: 'x86.strictio', type: BOOLEAN, default: 'false', help: 'An access to a port without a device ends the run' },
  { name: 'x86.strictmsr', type: BOOLEAN, default: 'true', help: 'An access to an unknown MSR is a fault' },
  { name: 'x86.vmexit_on_hlt', type: BOOLEAN, default: 'false', help: 'HLT gives the processor back' },
  { name: 'x86.vmexit_on_pause', type: BOOLEAN, default: 'false', help: 'PAUSE gives the processor back' },
  { name: 'lpc.bootrom', type: PATH, help: 'Boot ROM' },
  { name: 'lpc.bootvars', type: PATH, help: "File of the boot ROM's variables" },
  { name: 'lpc.com1.path', type: PATH, help: 'Where COM1 leads' },
  { name: 'lpc.com2.path', type: PATH, help: 'Where COM2 leads' },
  { name: 'lpc.com3.path', type: PATH, help: 'Where COM3 leads' },
  { name: 'lpc.com4.path', type: PATH, help: 'Where COM4 leads' },
  {
    name: 'lpc.fwcfg',
    type: choice('bhyve', 'qemu'),
    default: 'bhyve',
    help: 'Interface between firmware and machine',
  },
  { name: 'lpc.pc-testdev', type: BOOLEAN, default: 'false', help: 'The test device of kvm-unit-tests' },
  { name: 'tpm.type', type: STRING, help: 'Kind of trusted platform module' },
  { name: 'tpm.path', type: PATH, help: 'Where it is' },
  { name: 'tpm.version', type: STRING, default: '2.0', help: 'Version of its interface' },
  { name: 'domains.N.size', type: STRING, help: 'Memory of NUMA domain N' },
  { name: 'domains.N.cpus', type: STRING, help: 'vCPUs of NUMA domain N' },
  { name: 'domains.N.domain_policy', type: STRING, help: 'Where the host takes its memory from' },
  ...smbios('bios.vendor', 'bios.version', 'bios.release_date'),
  ...smbios('system.manufacturer', 'system.product_name', 'system.version', 'system.serial_number', 'system.sku'),
  ...smbios('system.family_name', 'board.manufacturer', 'board.product_name', 'board.version', 'board.serial_number'),
  ...smbios('board.asset_tag', 'board.location', 'chassis.manufacturer', 'chassis.version', 'chassis.serial_number'),
  ...smbios('chassis.asset_tag', 'chassis.sku'),
];

/** Variables that bhyve does not have. */
export const WEBHYVE_VARIABLES: readonly VariableDeclaration[] = [
  { name: 'loader.kernel', type: PATH, help: 'Kernel to boot without firmware; -f sets it' },
  { name: 'loader.initrd', type: PATH, help: 'Initial RAM disk, or the module of a multiboot kernel' },
  { name: 'loader.cmdline', type: STRING, default: '', help: "The kernel's command line" },
  { name: 'loader.module.N.path', type: PATH, help: 'A further module or initial RAM disk; -f module sets it' },
  { name: 'loader.module.N.args', type: STRING, help: "The module's arguments" },
  {
    name: 'loader.protocol',
    type: choice(...LOADER_PROTOCOLS),
    default: 'auto',
    help: 'How the kernel is entered; auto looks at the file',
  },
  { name: 'memory.resident', type: STRING, help: 'Guest memory that the process holds at a time (docs/memory.md)' },
  { name: 'memory.swap', type: PATH, help: 'File, or folder for a file, that holds the rest of it' },
  { name: 'stats', type: BOOLEAN, default: 'false', help: 'Print counters when the machine ends' },
  {
    name: 'virtio.transport',
    type: choice(...VIRTIO_TRANSPORTS),
    default: 'transitional',
    help: "Registers of virtio functions: those of virtio 1.0 beside the legacy ones, or one kind alone; bhyve's are legacy",
  },
  { name: 'rundir', type: PATH, help: 'Folder for NAME.pid and NAME.sock, the control socket, while the machine runs' },
  {
    name: 'cpu.model',
    type: STRING,
    help: 'Processor that CPUID describes: a level such as x86-64-v3, or a name such as Haswell',
  },
  { name: 'cpu.vendor', type: choice('intel', 'amd'), default: 'intel', help: 'Whose processor it is' },
  {
    name: 'cpu.jit',
    type: JIT_MODE,
    default: 'true',
    help: 'Compile hot code; off: interpret everything; always: compile all code that can be before it runs, for tests',
  },
  {
    name: 'jit.dump',
    type: LINEAR_ADDRESS,
    help: 'Print each compiled region that holds the instruction at this linear address (docs/jit.md)',
  },
  { name: 'cpu.features', type: STRING, help: 'Features to add (+name) and to hide (-name), separated by commas' },
  {
    name: 'cpuid.LEAF.REGISTER',
    type: CPUID_VALUE,
    help: 'What CPUID answers, whatever ECX is; the bits of MASK alone',
  },
  { name: 'cpuid.LEAF.SUBLEAF.REGISTER', type: CPUID_VALUE, help: 'The same for one value of ECX' },
];
