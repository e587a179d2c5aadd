/** A SCSI adapter from its variables: targets and logical units over images. */
import { defaultSerial } from '../block/default-serial.ts';
import { SCSI_TARGET_OPTIONS } from '../config/declarations/virtio.ts';
import { readSettings } from '../config/settings-of.ts';
import {
  cdOpener,
  DeviceError,
  openDisk,
  type DeviceBuilder,
  type DeviceContext,
  type DeviceVariables,
} from '../device-context.ts';
import type { PciAddress } from '../pci/function.ts';
import { CdDrive } from '../scsi/cd-drive.ts';
import { ScsiCdrom } from '../scsi/cdrom.ts';
import { ScsiDisk } from '../scsi/disk.ts';
import type { LogicalUnit } from '../scsi/logical-unit.ts';
import { MAX_LUN, ScsiTarget } from '../scsi/target.ts';
import { virtioOptions } from './device.ts';
import { VirtioScsi } from './scsi.ts';

/** FreeBSD's port of its target layer. */
const CTL_PATH = /^\/dev\/cam\/ctl/;
/** Units that one adapter may have. */
const MAX_UNITS = 256;

/** Names as the CAM target layer gives them, so that guests find what they find under bhyve. */
const DISK = { vendor: 'FREEBSD', product: 'CTLDISK', revision: '0001' };
const CD = { vendor: 'FREEBSD', product: 'CTLCDROM', revision: '0001' };

type TargetSettings = ReturnType<typeof readSettings<typeof SCSI_TARGET_OPTIONS>>;

async function openUnit(
  context: DeviceContext,
  where: PciAddress,
  variables: DeviceVariables,
  prefix: string,
  { backend, ser }: TargetSettings,
): Promise<LogicalUnit> {
  const path = variables.get(`${prefix}path`) ?? '';
  if (backend === 'ctl' || (backend === undefined && CTL_PATH.test(path))) throw noTargetLayer(path);
  const serial = ser ?? defaultSerial(path);
  if (backend !== 'cd') return new ScsiDisk(await openDisk(context, variables, prefix), { ...DISK, serial });
  const open = cdOpener(context, variables, prefix);
  const drive = new ScsiCdrom(await open(path), { ...CD, serial });
  const { bus, slot, func } = where;
  context.addCdDrive(`pci.${bus}.${slot}.${func}.${prefix.slice(0, -1)}`, new CdDrive(drive, open));
  return drive;
}

function noTargetLayer(path: string): DeviceError {
  return new DeviceError(
    `virtio-scsi: ${path} is a port of FreeBSD's SCSI target layer; name an image with target=[id:]PATH`,
  );
}

/** The variables of an adapter in the old spelling, with `dev` alone, as one target. */
function oneTarget(variables: DeviceVariables): DeviceVariables {
  const dev = variables.get('dev') ?? '/dev/cam/ctl';
  if (CTL_PATH.test(dev)) throw noTargetLayer(dev);
  return { get: (name) => (name === 'target.0.path' ? dev : variables.get(name)) };
}

export const buildVirtioScsi: DeviceBuilder = async (context, where, given) => {
  const variables = given.get('target.0.path') === undefined ? oneTarget(given) : given;
  const units = new Map<number, Map<number, LogicalUnit>>();
  try {
    for (let index = 0; index < MAX_UNITS; index++) {
      const prefix = `target.${index}.`;
      if (variables.get(`${prefix}path`) === undefined) continue;
      const settings = readSettings(SCSI_TARGET_OPTIONS, (name) => variables.get(prefix + name));
      const ofTarget = units.get(settings.id) ?? new Map<number, LogicalUnit>();
      units.set(settings.id, ofTarget);
      const lun = settings.lun ?? (ofTarget.size === 0 ? 0 : Math.max(...ofTarget.keys()) + 1);
      if (ofTarget.has(lun) || lun > MAX_LUN)
        throw new DeviceError(`virtio-scsi: target ${settings.id} has LUN ${lun} twice`);
      ofTarget.set(lun, await openUnit(context, where, variables, prefix, settings));
    }
  } catch (error) {
    for (const ofTarget of units.values()) for (const unit of ofTarget.values()) await unit.close();
    throw error;
  }
  const targets = new Map([...units].map(([id, ofTarget]) => [id, new ScsiTarget(ofTarget)]));
  return new VirtioScsi({ ...virtioOptions(context), targets });
};
