/** Block devices: virtio-blk, nvme and ahci, and the options that all of them share. */
import type { DeviceDeclaration, VariableDeclaration } from '../declare.ts';
import { AHCI_PORTS, ahciDrive, firstField, NVME as NVME_FORM } from '../legacy.ts';
import type { ConfigNode } from '../tree.ts';
import { BOOLEAN, choice, integer, PATH, SECTOR_SIZE, STRING, text } from '../variable-types.ts';

/** bhyve(8), "Block storage device backends". */
export const BLOCK_OPTIONS = [
  { name: 'path', type: PATH, help: 'Image file or device of the host' },
  { name: 'nocache', type: BOOLEAN, default: 'false', help: 'Open the file with O_DIRECT' },
  { name: 'nodelete', type: BOOLEAN, default: 'false', help: 'Do not offer TRIM to the guest' },
  { name: 'sync', type: BOOLEAN, default: 'false', help: 'Open the file with O_SYNC' },
  { name: 'direct', type: BOOLEAN, default: 'false', help: 'Another name for sync' },
  { name: 'ro', type: BOOLEAN, default: 'false', help: 'Open the file read-only' },
  { name: 'sectorsize', type: SECTOR_SIZE, help: 'Logical and physical sector size of the emulated disk' },
  { name: 'bootindex', type: integer(0, 0x7fffffff), help: 'Place in the order in which firmware tries devices' },
  { name: 'format', type: choice('raw', 'qcow2'), help: 'Format of the image; by default qcow2 for names that end so' },
  { name: 'snapshot', type: BOOLEAN, default: 'false', help: "Throw the guest's changes away at the end" },
] as const satisfies readonly VariableDeclaration[];

const MISSING_PATH = 'Missing "path" for block device.';

/** A disk needs its image; a CD drive without one is empty. */
function ahciChecks(node: ConfigNode): string | undefined {
  const ports = node.findNode('port');
  for (const port of ports?.names() ?? []) {
    if (!/^\d+$/.test(port) || Number(port) > 31) return `ahci: invalid port "${port}"`;
    const isDisk = ports?.getRaw(`${port}.type`) !== 'cd';
    if (isDisk && ports?.getRaw(`${port}.path`) === undefined) return MISSING_PATH;
  }
  return undefined;
}

/** What a port has besides the block options; names are those below `port.N`. */
export const AHCI_PORT_OPTIONS = [
  { name: 'type', type: choice('hd', 'cd'), help: 'Kind of drive on port N' },
  {
    name: 'nmrr',
    type: integer(0, 0xffff),
    default: '0',
    help: 'Nominal media rotation rate; 1 is a solid state disk, 0 reports none',
  },
  { name: 'ser', type: text(20), help: 'Serial number; by default made from the path' },
  { name: 'rev', type: text(8), default: '001', help: 'Firmware revision' },
  { name: 'model', type: text(40), help: 'Model number' },
] as const satisfies readonly VariableDeclaration[];

const [AHCI_TYPE, ...AHCI_NAMES] = AHCI_PORT_OPTIONS;
const AHCI_VARIABLES: readonly VariableDeclaration[] = [AHCI_TYPE, ...BLOCK_OPTIONS, ...AHCI_NAMES].map((option) => ({
  ...option,
  name: `port.N.${option.name}`,
}));

export const AHCI: DeviceDeclaration = {
  name: 'ahci',
  summary: 'AHCI controller attached to arbitrary devices',
  legacy: AHCI_PORTS,
  variables: AHCI_VARIABLES,
  check: ahciChecks,
};

export const AHCI_HD: DeviceDeclaration = {
  name: 'ahci-hd',
  summary: 'AHCI controller attached to a SATA hard drive',
  aliasOf: 'ahci',
  legacy: ahciDrive('hd'),
  preset: { 'port.0.type': 'hd' },
  variables: AHCI_VARIABLES,
};

export const AHCI_CD: DeviceDeclaration = {
  name: 'ahci-cd',
  summary: 'AHCI controller attached to an ATAPI CD/DVD',
  aliasOf: 'ahci',
  legacy: ahciDrive('cd'),
  preset: { 'port.0.type': 'cd' },
  variables: AHCI_VARIABLES,
};

/** What an NVMe controller has besides the block options. The MSI-X table bounds the queues. */
export const NVME_OPTIONS = [
  { name: 'ram', type: integer(1, 1 << 20), help: 'Size in MiB of a disk that lives in memory, instead of path' },
  { name: 'maxq', type: integer(1, 2047), default: '16', help: 'Largest number of queues' },
  { name: 'qsz', type: integer(2, 0x10000), default: '2048', help: 'Largest number of elements in a queue' },
  { name: 'ioslots', type: integer(1, 0xffff), default: '8', help: 'Largest number of concurrent requests' },
  { name: 'sectsz', type: integer(0, 8192), help: "Sector size: 512, 4096 or 8192; others count as the backend's" },
  { name: 'ser', type: text(20), help: 'Serial number; by default NVME-slot-function' },
  { name: 'eui64', type: STRING, help: 'IEEE Extended Unique Identifier, eight bytes as one number' },
  { name: 'dsm', type: STRING, default: 'auto', help: 'Dataset management: auto, enable or disable' },
] as const satisfies readonly VariableDeclaration[];

export const NVME: DeviceDeclaration = {
  name: 'nvme',
  summary: 'NVM Express (NVMe) controller',
  legacy: NVME_FORM,
  variables: [...BLOCK_OPTIONS, ...NVME_OPTIONS],
  check: (node) => (node.getRaw('path') === undefined && node.getRaw('ram') === undefined ? MISSING_PATH : undefined),
};

/** What a virtio disk has besides the block options. */
export const VIRTIO_BLK_OPTIONS = [
  { name: 'ser', type: text(20), help: 'Serial number; by default made from the path' },
  { name: 'serial', type: text(20), help: 'Another name for ser' },
  { name: 'queues', type: integer(1, 64), default: '1', help: 'Request queues for drivers of virtio 1.0' },
] as const satisfies readonly VariableDeclaration[];

export const VIRTIO_BLK: DeviceDeclaration = {
  name: 'virtio-blk',
  summary: 'Virtio block storage interface',
  legacy: firstField('path'),
  variables: [...BLOCK_OPTIONS, ...VIRTIO_BLK_OPTIONS],
  check: (node) => (node.getRaw('path') === undefined ? MISSING_PATH : undefined),
};
