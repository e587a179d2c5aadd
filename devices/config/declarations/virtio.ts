/** The other virtio devices: 9p, console, input, rnd, scsi. */
import type { DeviceDeclaration, VariableDeclaration } from '../declare.ts';
import { CONSOLE_PORTS, firstField, GENERIC, SCSI_BACKENDS, SCSI_TARGETS, SHARE } from '../legacy.ts';
import { BOOLEAN, choice, integer, PATH, STRING, text } from '../variable-types.ts';
import { BLOCK_OPTIONS } from './block.ts';

/** The mount tag's length in the configuration space of virtio 1.1, 5.9... as bhyve bounds it. */
const MAX_SHARE_NAME = 256;
/** bhyve(8): "A maximum of 16 ports per device can be created." */
const MAX_CONSOLE_PORTS = 16;

export const VIRTIO_9P: DeviceDeclaration = {
  name: 'virtio-9p',
  summary: 'Virtio 9p (VirtFS) interface',
  legacy: SHARE,
  variables: [
    { name: 'sharename', type: STRING, help: 'Name that the guest mounts' },
    { name: 'path', type: PATH, help: 'Directory of the host, or `memory:` for the files of `machine.fs`' },
    { name: 'ro', type: BOOLEAN, default: 'false', help: 'Read-only' },
  ],
  check(node) {
    const shareName = node.getRaw('sharename');
    if (shareName === undefined) return 'virtio-9p: share name required';
    if (shareName.length > MAX_SHARE_NAME) return 'virtio-9p: share name too long';
    return node.getRaw('path') === undefined ? 'virtio-9p: path required' : undefined;
  },
};

export const VIRTIO_CONSOLE: DeviceDeclaration = {
  name: 'virtio-console',
  summary: 'Virtio console interface: named ports between the guest and sockets of the host',
  legacy: CONSOLE_PORTS,
  variables: [
    { name: 'port.N.name', type: STRING, help: 'Name of the port in the guest' },
    { name: 'port.N.path', type: PATH, help: 'Unix domain socket of the host, or ws=ADDRESS:PORT' },
  ],
  check: (node) =>
    (node.findNode('port')?.names().length ?? 0) > MAX_CONSOLE_PORTS
      ? `virtio-console: more than ${MAX_CONSOLE_PORTS} ports`
      : undefined,
};

export const VIRTIO_INPUT_OPTIONS = [
  {
    name: 'path',
    type: PATH,
    help: '`keyboard`, `mouse` or `tablet`: what the user of the display has (webhyve only)',
  },
] as const satisfies readonly VariableDeclaration[];

export const VIRTIO_INPUT: DeviceDeclaration = {
  name: 'virtio-input',
  summary: 'Virtio input interface',
  legacy: firstField('path'),
  variables: VIRTIO_INPUT_OPTIONS,
};

export const VIRTIO_RND: DeviceDeclaration = {
  name: 'virtio-rnd',
  summary: 'Virtio RNG interface',
  legacy: GENERIC,
  variables: [],
};

/** What a target of the SCSI adapter has besides the block options; names are those below `target.N`. */
export const SCSI_TARGET_OPTIONS = [
  { name: 'id', type: integer(0, 255), default: '0', help: 'Number of the target' },
  { name: 'lun', type: integer(0, 16383), help: 'Number of the logical unit; by default the next of its target' },
  { name: 'backend', type: choice(...SCSI_BACKENDS), help: 'Kind of the logical unit; by default a disk' },
  { name: 'ser', type: text(20), help: 'Serial number; by default made from the path' },
] as const satisfies readonly VariableDeclaration[];

export const VIRTIO_SCSI: DeviceDeclaration = {
  name: 'virtio-scsi',
  summary: 'Virtio SCSI interface',
  legacy: SCSI_TARGETS,
  variables: [
    { name: 'dev', type: PATH, default: '/dev/cam/ctl', help: "Port of FreeBSD's SCSI target layer, or an image" },
    { name: 'iid', type: integer(0, 0x7fffffff), default: '0', help: 'Initiator ID' },
    { name: 'bootindex', type: integer(0, 0x7fffffff), help: 'Place in the order in which firmware tries devices' },
    ...[...SCSI_TARGET_OPTIONS, ...BLOCK_OPTIONS.filter(({ name }) => name !== 'bootindex')].map((option) => ({
      ...option,
      name: `target.N.${option.name}`,
    })),
  ],
  check(node) {
    const targets = node.findNode('target');
    const isMissing = targets?.names().some((index) => targets.getRaw(`${index}.path`) === undefined);
    return isMissing === true ? 'Missing "path" for block device.' : undefined;
  },
};
