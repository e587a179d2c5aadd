/** The machine's definition block: what bhyve 14 declares, as AML (ACPI 6.5, chapters 5, 6 and 20). */
import { concatBytes } from '../byte-writer.ts';
import {
  GPE0_PORT,
  HPET_BYTES,
  HPET_GPA,
  PCI_IO_BASE,
  PM1A_EVT_PORT,
  PM_TMR_PORT,
  SMI_CMD_PORT,
  TPM_BYTES,
} from '../layout.ts';
import * as aml from './aml.ts';
import type { Aml } from './aml.ts';
import { FirmwareTableError, type AcpiBus, type AcpiParameters } from './parameters.ts';
import * as resources from './resources.ts';

/** The PIRQ links, LNKA-LNKH, in the order of `InterruptRoute.pirqLink`. */
const LINKS = ['A', 'B', 'C', 'D', 'E', 'F', 'G', 'H'] as const;
/** ISA lines that a PIRQ link may be routed to: 3-7, 9-12, 14, 15. */
const PIRQ_IRQ_MASK = 0xdef8;
/** PIRQ route control registers in the LPC bridge's configuration space (ICH family: A-D, then E-H). */
const PIRQ_REGISTERS_A_D = 0x60;
const PIRQ_REGISTERS_E_H = 0x68;
const PIRQ_DISABLED = 0x80;

const COM_PORTS: readonly { readonly port: number; readonly irq: number }[] = [
  { port: 0x3f8, irq: 4 },
  { port: 0x2f8, irq: 3 },
  { port: 0x3e8, irq: 4 },
  { port: 0x2e8, irq: 3 },
];

const busName = (bus: number): string => `PC${bus.toString(16).toUpperCase().padStart(2, '0')}`;

/** The terms of the DSDT, after its header. */
export function buildDsdtBody(parameters: AcpiParameters): Aml {
  const { lpc } = parameters;
  if (lpc && !parameters.buses.some(({ bus }) => bus === lpc.bus)) {
    throw new FirmwareTableError(`the LPC bridge's bus ${lpc.bus} is not declared`);
  }
  const terms: Aml[] = [
    // PM1 SLP_TYP values: only soft-off exists (7.4.2.6).
    aml.name('\\_S5', aml.packageOf(aml.integer(5), aml.integer(0))),
    // The operating system says by \_PIC which interrupt model it uses (5.8.1).
    aml.name('\\PICM', aml.integer(0)),
    aml.method('\\_PIC', { args: 1 }, aml.store(aml.arg(0), aml.path('PICM'))),
  ];
  for (const bus of parameters.buses) terms.push(aml.scope('\\_SB', rootBus(bus, parameters)));
  if (parameters.hpet) terms.push(aml.scope('\\_SB', hpet()));
  // Linux trusts the MCFG table only when some PNP0C02 device reserves the area, which is the LPC bridge's SIO if any.
  if (!lpc && parameters.ecam) terms.push(aml.scope('\\_SB', motherboard('MRES', ecamResource(parameters))));
  if (parameters.fwCfg) terms.push(aml.scope('\\_SB', fwCfg()));
  if (parameters.tpmGpa !== undefined) terms.push(aml.scope('\\_SB', tpm(parameters.tpmGpa)));
  if (parameters.generationIdGpa !== undefined) terms.push(...generationCounter(parameters.generationIdGpa));
  return concatBytes(...terms);
}

function rootBus(bus: AcpiBus, parameters: AcpiParameters): Aml {
  const terms: Aml[] = [
    aml.name('_HID', aml.eisaId('PNP0A03')),
    aml.name('_UID', aml.integer(bus.bus)),
    aml.name('_BBN', aml.integer(bus.bus)),
    aml.name('_CRS', resources.resourceTemplate(...busWindows(bus))),
  ];
  const hasLpc = parameters.lpc !== undefined;
  if (parameters.lpc?.bus === bus.bus) terms.push(isaBridge(parameters, parameters.lpc));
  if (bus.routing.length > 0) terms.push(...interruptRouting(bus, hasLpc ? parameters.lpc.bus : undefined));
  return aml.device(busName(bus.bus), ...terms);
}

function busWindows(bus: AcpiBus): resources.ResourceDescriptor[] {
  const windows = [resources.wordBusNumber(bus.bus, 1)];
  if (bus.bus === 0) {
    // Configuration mechanism #1 belongs to the bridge itself; the ports around it are forwarded to the bus.
    windows.push(
      resources.ioPorts(0xcf8, 8),
      resources.wordIo({ base: 0, length: 0xcf8 }),
      resources.wordIo({ base: 0xd00, length: PCI_IO_BASE - 0xd00 }),
    );
  }
  if (bus.io.length > 0) windows.push(resources.wordIo(bus.io));
  if (bus.mem32.length > 0) windows.push(resources.dwordMemory(bus.mem32));
  if (bus.mem64.length > 0) windows.push(resources.qwordMemory(bus.mem64));
  return windows;
}

/** PPRT and APRT: routing in 8259 and I/O APIC mode, chosen by \_PIC (6.2.13). */
function interruptRouting(bus: AcpiBus, lpcBus: number | undefined): Aml[] {
  // PCI address of all functions of a slot.
  const address = (slot: number): Aml => aml.integer(((slot << 16) | 0xffff) >>> 0);
  const apic = bus.routing.map((route) =>
    aml.packageOf(address(route.slot), aml.integer(route.pin - 1), aml.integer(0), aml.integer(route.ioapicPin)),
  );
  const pic =
    lpcBus === undefined
      ? []
      : bus.routing.map((route) => {
          const link = `\\_SB.${busName(lpcBus)}.ISA.LNK${LINKS[route.pirqLink] ?? 'A'}`;
          return aml.packageOf(address(route.slot), aml.integer(route.pin - 1), aml.path(link), aml.integer(0));
        });
  return [
    aml.name('PPRT', aml.packageOf(...pic)),
    aml.name('APRT', aml.packageOf(...apic)),
    aml.method(
      '_PRT',
      {},
      aml.ifElse(aml.path('PICM'), [aml.returnValue(aml.path('APRT'))], [aml.returnValue(aml.path('PPRT'))]),
    ),
  ];
}

function isaBridge(parameters: AcpiParameters, lpc: { readonly slot: number; readonly func: number }): Aml {
  const pirqFields = (letters: readonly string[]) => letters.map((letter) => ({ name: `PIR${letter}`, bits: 8 }));
  const terms: Aml[] = [
    aml.name('_ADR', aml.integer(lpc.slot * 0x10000 + lpc.func)),
    aml.operationRegion('LPCR', aml.RegionSpace.PciConfig, 0, 0x100),
    aml.field('LPCR', aml.FieldAccess.Any, [
      { offsetBits: PIRQ_REGISTERS_A_D * 8 },
      ...pirqFields(LINKS.slice(0, 4)),
      { offsetBits: PIRQ_REGISTERS_E_H * 8 },
      ...pirqFields(LINKS.slice(4)),
    ]),
    pirqIsValid(),
    ...LINKS.map((letter, index) => interruptLink(letter, index)),
    motherboard('SIO', [...sioResources(), ...ecamResource(parameters)]),
    ...isaDevices(parameters.comPorts),
  ];
  return aml.device('ISA', ...terms);
}

/** PIRV: does a PIRQ register route to a line that a link may use? */
function pirqIsValid(): Aml {
  const no = [aml.returnValue(aml.integer(0))];
  return aml.method(
    'PIRV',
    { args: 1 },
    aml.ifElse(aml.and(aml.arg(0), aml.integer(PIRQ_DISABLED)), no),
    aml.and(aml.arg(0), aml.integer(0xf), aml.local(0)),
    aml.ifElse(aml.lessThan(aml.local(0), aml.integer(3)), no),
    aml.ifElse(aml.equal(aml.local(0), aml.integer(8)), no),
    aml.ifElse(aml.equal(aml.local(0), aml.integer(13)), no),
    aml.returnValue(aml.integer(1)),
  );
}

/** A PCI interrupt link device (6.2.13, PNP0C0F). */
function interruptLink(letter: string, index: number): Aml {
  const register = aml.path(`PIR${letter}`);
  const current = `CB${(index + 1).toString().padStart(2, '0')}`;
  const currentMask = `CIR${letter}`;
  const wantedMask = `SIR${letter}`;
  return aml.device(
    `LNK${letter}`,
    aml.name('_HID', aml.eisaId('PNP0C0F')),
    aml.name('_UID', aml.integer(index + 1)),
    aml.method(
      '_STA',
      {},
      aml.ifElse(
        aml.call('PIRV', register),
        [aml.returnValue(aml.integer(0x0b))],
        [aml.returnValue(aml.integer(0x09))],
      ),
    ),
    aml.name('_PRS', resources.resourceTemplate(resources.irqLevelLowShared(PIRQ_IRQ_MASK))),
    aml.name(current, resources.resourceTemplate(resources.irqLevelLowShared(0))),
    aml.createWordField(aml.path(current), resources.IRQ_MASK_OFFSET, currentMask),
    aml.method(
      '_CRS',
      {},
      aml.and(register, aml.integer(PIRQ_DISABLED | 0xf), aml.local(0)),
      aml.ifElse(
        aml.call('PIRV', aml.local(0)),
        [aml.shiftLeft(aml.integer(1), aml.local(0), aml.path(currentMask))],
        [aml.store(aml.integer(0), aml.path(currentMask))],
      ),
      aml.returnValue(aml.path(current)),
    ),
    aml.method('_DIS', {}, aml.store(aml.integer(PIRQ_DISABLED), register)),
    aml.method(
      '_SRS',
      { args: 1, serialized: true },
      aml.createWordField(aml.arg(0), resources.IRQ_MASK_OFFSET, wantedMask),
      aml.findSetRightBit(aml.path(wantedMask), aml.local(0)),
      aml.ifElse(aml.local(0), [aml.subtract(aml.local(0), aml.integer(1), register)]),
    ),
  );
}

function motherboard(deviceName: string, descriptors: readonly resources.ResourceDescriptor[]): Aml {
  return aml.device(
    deviceName,
    aml.name('_HID', aml.eisaId('PNP0C02')),
    aml.name('_CRS', resources.resourceTemplate(...descriptors)),
  );
}

/** Ports of the platform that belong to no other device. */
function sioResources(): resources.ResourceDescriptor[] {
  return [
    resources.ioPorts(0x61, 1),
    resources.ioPorts(0x72, 6),
    resources.ioPorts(0x84, 1),
    resources.ioPorts(SMI_CMD_PORT, 1),
    resources.ioPorts(0x4d0, 2),
    resources.ioPorts(PM1A_EVT_PORT, 8),
    resources.ioPorts(PM_TMR_PORT, 4),
    resources.ioPorts(GPE0_PORT, 2),
  ];
}

function ecamResource(parameters: AcpiParameters): resources.ResourceDescriptor[] {
  const { ecam } = parameters;
  return ecam ? [resources.memory32Fixed(ecam.base, ecam.buses * 0x100000, true)] : [];
}

function isaDevice(deviceName: string, hid: string, descriptors: readonly resources.ResourceDescriptor[]): Aml {
  return aml.device(
    deviceName,
    aml.name('_HID', aml.eisaId(hid)),
    aml.name('_CRS', resources.resourceTemplate(...descriptors)),
  );
}

function isaDevices(comPorts: readonly number[]): Aml[] {
  const devices: Aml[] = [];
  for (const number of comPorts) {
    const com = COM_PORTS[number - 1];
    if (!com) throw new FirmwareTableError(`COM${number} does not exist`);
    devices.push(
      aml.device(
        `COM${number}`,
        aml.name('_HID', aml.eisaId('PNP0501')),
        aml.name('_UID', aml.integer(number)),
        aml.name('_CRS', resources.resourceTemplate(resources.ioPorts(com.port, 8), resources.irqNoFlags(com.irq))),
      ),
    );
  }
  devices.push(
    isaDevice('KBD', 'PNP0303', [resources.ioPorts(0x60, 1), resources.ioPorts(0x64, 1), resources.irqNoFlags(1)]),
    isaDevice('MOU', 'PNP0F13', [resources.irqNoFlags(12)]),
    isaDevice('RTC', 'PNP0B00', [resources.ioPorts(0x70, 2), resources.irqNoFlags(8)]),
    isaDevice('PIC', 'PNP0000', [resources.ioPorts(0x20, 2), resources.ioPorts(0xa0, 2), resources.irqNoFlags(2)]),
    isaDevice('TIMR', 'PNP0100', [resources.ioPorts(0x40, 4), resources.irqNoFlags(0)]),
  );
  return devices;
}

function hpet(): Aml {
  return aml.device(
    'HPET',
    aml.name('_HID', aml.eisaId('PNP0103')),
    aml.name('_UID', aml.integer(0)),
    aml.name('_CRS', resources.resourceTemplate(resources.memory32Fixed(HPET_GPA, HPET_BYTES, true))),
  );
}

/** QEMU's firmware configuration device. */
function fwCfg(): Aml {
  return aml.device(
    'FWCF',
    aml.name('_HID', aml.string('QEMU0002')),
    aml.name('_STA', aml.integer(0x0f)),
    aml.name('_CRS', resources.resourceTemplate(resources.ioPorts(0x510, 2))),
  );
}

/** A TPM 2.0 (TCG ACPI specification 1.2, 8). */
function tpm(gpa: number): Aml {
  return aml.device(
    'TPM',
    aml.name('_HID', aml.string('MSFT0101')),
    aml.name('_UID', aml.integer(1)),
    aml.name('_STA', aml.integer(0xf)),
    aml.name('_CRS', resources.resourceTemplate(resources.memory32Fixed(gpa, TPM_BYTES, true))),
  );
}

/** The VM generation counter (Microsoft, "Virtual Machine Generation ID", 2012) and the event that announces a change. */
function generationCounter(gpa: number): Aml[] {
  const low = gpa % 0x1_0000_0000;
  const high = Math.floor(gpa / 0x1_0000_0000);
  return [
    aml.scope(
      '\\_SB',
      aml.device(
        'GENC',
        aml.name('_CID', aml.string('VM_Gen_Counter')),
        // A method, since a constant _HID would have to be a PNP or ACPI identifier (6.1.5).
        aml.method('_HID', {}, aml.returnValue(aml.string('Bhyve_V_Gen_Counter_V1'))),
        aml.name('_UID', aml.integer(0)),
        aml.name('_DDN', aml.string('VM_Gen_Counter')),
        aml.name('ADDR', aml.packageOf(aml.integer(low), aml.integer(high))),
      ),
    ),
    aml.scope('\\_GPE', aml.method('_E00', {}, aml.notify(aml.path('\\_SB.GENC'), aml.integer(0x80)))),
  ];
}
