/** An AHCI adapter from its variables: `port.N.type`, the block options of each port, and what the drive calls itself. */
import { AtaDisk } from '../ata/disk.ts';
import type { AtaDevice } from '../ata/command.ts';
import { PacketDevice } from '../ata/packet-device.ts';
import { defaultSerial } from '../block/default-serial.ts';
import { AHCI_PORT_OPTIONS } from '../config/declarations/block.ts';
import { readSettings } from '../config/settings-of.ts';
import { cdOpener, openDisk, type DeviceBuilder, type DeviceContext, type DeviceVariables } from '../device-context.ts';
import type { PciAddress } from '../pci/function.ts';
import { CdDrive } from '../scsi/cd-drive.ts';
import { ScsiCdrom } from '../scsi/cdrom.ts';
import { AhciController } from './controller.ts';
import { MAX_PORTS } from './registers.ts';

const DISK_MODEL = 'BHYVE SATA DISK';
const CD_MODEL = 'BHYVE SATA DVD ROM';

async function openDrive(
  context: DeviceContext,
  where: PciAddress,
  variables: DeviceVariables,
  port: number,
): Promise<AtaDevice | undefined> {
  const prefix = `port.${port}.`;
  const { type, nmrr, ser, rev, model } = readSettings(AHCI_PORT_OPTIONS, (name) => variables.get(prefix + name));
  if (type === undefined) return undefined;
  const path = variables.get(`${prefix}path`) ?? '';
  const serial = ser ?? defaultSerial(path);
  if (type === 'hd') {
    const backend = await openDisk(context, variables, prefix);
    const identity = { serial, revision: rev, model: model ?? DISK_MODEL, rotationRate: nmrr };
    return new AtaDisk({ backend, identity, nowNs: () => context.clock.nowNs() });
  }
  // A medium is never written, whatever the options say. Without a path the drive is empty.
  const open = cdOpener(context, variables, prefix);
  const medium = path === '' ? undefined : await open(path);
  const drive = new ScsiCdrom(medium, { vendor: 'BHYVE', product: 'BHYVE DVD-ROM', revision: rev, serial });
  context.addCdDrive(`pci.${where.bus}.${where.slot}.${where.func}.port.${port}`, new CdDrive(drive, open));
  return new PacketDevice(drive, { serial, revision: rev, model: model ?? CD_MODEL, rotationRate: 0 });
}

export const buildAhci: DeviceBuilder = async (context, where, variables) => {
  const drives: (AtaDevice | undefined)[] = [];
  try {
    for (let port = 0; port < MAX_PORTS; port++) drives.push(await openDrive(context, where, variables, port));
  } catch (error) {
    for (const drive of drives) await drive?.close();
    throw error;
  }
  const last = drives.findLastIndex((drive) => drive !== undefined);
  return new AhciController({ memory: context.memory, drives: drives.slice(0, last + 1) });
};
