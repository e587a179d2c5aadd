/** Network devices: virtio-net and e1000 share their backends and options. */
import type { DeviceDeclaration, VariableDeclaration } from '../declare.ts';
import { NETWORK } from '../legacy.ts';
import { networkBackendProblem } from '../network-backend.ts';
import { BOOLEAN, integer, MAC_ADDRESS, PATH, STRING } from '../variable-types.ts';

/** bhyve(8), "Network device backends", and options of our own: allow, tftp, bootfile, ipxe, ws, channel; socket without netgraph. */
export const NETWORK_OPTIONS = [
  {
    name: 'backend',
    type: STRING,
    help: 'tapN, vmnetN, netgraph, slirp, socket, ws, channel, fetch; unset is a card without a cable',
  },
  { name: 'type', type: STRING, help: 'Kind of backend where its name does not tell' },
  {
    name: 'mac',
    type: MAC_ADDRESS,
    help: 'MAC address; by default made from slot, function and the name of the machine',
  },
  { name: 'path', type: STRING, help: 'netgraph: destination node' },
  { name: 'peerhook', type: STRING, help: 'netgraph: hook of the destination node' },
  {
    name: 'socket',
    type: STRING,
    help: 'Name of a network that joins machines of this user; netgraph: name of our socket node',
  },
  { name: 'hook', type: STRING, help: 'netgraph: hook of our socket node' },
  { name: 'hostfwd', type: STRING, help: 'slirp: rules tcp|udp:[addr]:port-[addr]:port, separated by semicolons' },
  { name: 'open', type: BOOLEAN, default: 'false', help: 'slirp: let the guest reach public addresses' },
  {
    name: 'allow',
    type: STRING,
    help: 'slirp: further addresses that the guest reaches: loopback, private, blocks; separated by semicolons',
  },
  { name: 'tftp', type: PATH, help: 'slirp: folder that is served by TFTP' },
  { name: 'bootfile', type: STRING, help: 'slirp: name or URL of the file that network boot loads' },
  { name: 'ipxe', type: STRING, help: 'slirp: name or URL of the script that iPXE is told of instead of bootfile' },
  { name: 'ws', type: STRING, help: 'Address of a relay that carries Ethernet frames over WebSocket' },
  { name: 'channel', type: STRING, help: 'In a browser: name of a network between its tabs' },
] as const satisfies readonly VariableDeclaration[];

export const E1000: DeviceDeclaration = {
  name: 'e1000',
  summary: 'Intel e82545 network interface',
  legacy: NETWORK,
  checkBackend: networkBackendProblem,
  variables: [...NETWORK_OPTIONS, { name: 'mtu', type: STRING, help: 'Ignored' }],
};

export const VIRTIO_NET: DeviceDeclaration = {
  name: 'virtio-net',
  summary: 'Virtio network interface',
  legacy: NETWORK,
  checkBackend: networkBackendProblem,
  variables: [
    ...NETWORK_OPTIONS,
    { name: 'mtu', type: integer(68, 65535), help: 'Largest MTU that the guest is told, in bytes' },
  ],
};
