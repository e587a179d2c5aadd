/** Bridges and what a PC has on them: hostbridge, amd_hostbridge, lpc, passthru, uart, dummy. */
import type { DeviceDeclaration, VariableDeclaration } from '../declare.ts';
import { GENERIC, HOST_PCI_FUNCTION, wholeText } from '../legacy.ts';
import { integer, PATH, PCI_REGISTER, STRING } from '../variable-types.ts';

function pciRegisters(defaults: Readonly<Record<string, string>>): VariableDeclaration[] {
  return Object.entries(defaults).map(([register, value]) => ({
    name: `pcireg.${register}`,
    type: PCI_REGISTER,
    default: value,
    help: `Identification register "${register}" in PCI configuration space`,
  }));
}

export const AMD_HOSTBRIDGE: DeviceDeclaration = {
  name: 'amd_hostbridge',
  summary: 'Emulation identical to hostbridge using a PCI vendor ID of AMD',
  aliasOf: 'hostbridge',
  legacy: GENERIC,
  preset: { 'pcireg.vendor': '1022', 'pcireg.device': '7432' },
  variables: [],
};

export const DUMMY: DeviceDeclaration = {
  name: 'dummy',
  summary: 'A function that does nothing, for tests of a guest',
  legacy: GENERIC,
  variables: [],
};

export const HOSTBRIDGE: DeviceDeclaration = {
  name: 'hostbridge',
  summary: 'A simple host bridge, required by most guest operating systems, usually at slot 0',
  legacy: GENERIC,
  variables: pciRegisters({ vendor: '1275', device: '1275' }),
};

export const LPC: DeviceDeclaration = {
  name: 'lpc',
  summary: 'LPC PCI-ISA bridge with the devices of -l; on bus 0 only',
  onlyOne: 'lpc: only one LPC bridge is allowed',
  legacy: GENERIC,
  variables: pciRegisters({ vendor: '8086', device: '7000', revid: '00', subvendor: '0000', subdevice: '0000' }),
};

export const PASSTHRU: DeviceDeclaration = {
  name: 'passthru',
  summary: 'PCI pass-through device',
  legacy: HOST_PCI_FUNCTION,
  variables: [
    { name: 'bus', type: integer(0, 255), help: "Bus of the host's device" },
    { name: 'slot', type: integer(0, 31), help: "Slot of the host's device" },
    { name: 'func', type: integer(0, 7), help: "Function of the host's device" },
    { name: 'pptdev', type: STRING, help: "Name of the host's device" },
    { name: 'rom', type: PATH, help: 'Option ROM' },
    { name: 'bootindex', type: integer(0, 0x7fffffff), help: 'Place in the order in which firmware tries devices' },
  ],
};

export const PCI_UART: DeviceDeclaration = {
  name: 'uart',
  summary: 'PCI 16550 serial device',
  legacy: wholeText('path'),
  variables: [
    { name: 'path', type: PATH, help: 'Where the line leads: stdio, a terminal, tcp=ADDRESS:PORT, or ws=ADDRESS:PORT' },
  ],
};
