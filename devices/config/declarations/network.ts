/** Network devices: virtio-net and e1000 share their backends and options. */
import type { DeviceDeclaration, VariableDeclaration } from '../declare.ts';
import { NETWORK } from '../legacy.ts';
import { networkBackendProblem } from '../network-backend.ts';
import { BOOLEAN, integer, MAC_ADDRESS, STRING } from '../variable-types.ts';

/** bhyve(8), "Network device backends". */
const NETWORK_OPTIONS: readonly VariableDeclaration[] = [
  { name: 'backend', type: STRING, help: 'tapN, vmnetN, netgraph, slirp; unset is a card without a cable' },
  { name: 'type', type: STRING, help: 'Kind of backend where its name does not tell' },
  {
    name: 'mac',
    type: MAC_ADDRESS,
    help: 'MAC address; by default made from slot, function and the name of the machine',
  },
  { name: 'path', type: STRING, help: 'netgraph: destination node' },
  { name: 'peerhook', type: STRING, help: 'netgraph: hook of the destination node' },
  { name: 'socket', type: STRING, help: 'netgraph: name of our socket node' },
  { name: 'hook', type: STRING, help: 'netgraph: hook of our socket node' },
  { name: 'hostfwd', type: STRING, help: 'slirp: rules tcp|udp:[addr]:port-[addr]:port, separated by semicolons' },
  { name: 'open', type: BOOLEAN, default: 'false', help: 'slirp: let the guest reach the world' },
];

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
