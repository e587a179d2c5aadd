/** An NVMe controller from its variables. */
import type { BlockBackend } from '../backends/block.ts';
import { RamDisk } from '../block/ram-disk.ts';
import { NVME_OPTIONS } from '../config/declarations/block.ts';
import { readSettings } from '../config/settings-of.ts';
import {
  DeviceError,
  openDisk,
  type DeviceBuilder,
  type DeviceContext,
  type DeviceVariables,
} from '../device-context.ts';
import { NvmeController } from './controller.ts';
import { defaultEui64 } from './identify.ts';

const MIB = 1 << 20;
const SECTOR_SIZES = [512, 4096, 8192];

async function openBackend(
  context: DeviceContext,
  variables: DeviceVariables,
  ramMib: number | undefined,
  sectorBytes: number | undefined,
): Promise<BlockBackend> {
  if (ramMib !== undefined) {
    const disk = new RamDisk(ramMib * MIB, sectorBytes ?? 4096);
    context.keepContents(disk);
    return disk;
  }
  return openDisk(context, variables);
}

/** `eui64=`: as strtoull(3) with base 0 reads it. */
function parseEui64(text: string): bigint | undefined {
  if (!/^(0[xX][0-9a-fA-F]{1,16}|[0-9]{1,20})$/.test(text)) return undefined;
  const value = /^0[0-7]+$/.test(text) ? BigInt(`0o${text.slice(1)}`) : BigInt(text);
  return value < 1n << 64n ? value : undefined;
}

export const buildNvme: DeviceBuilder = async (context, { bus, slot, func }, variables) => {
  const settings = readSettings(NVME_OPTIONS, (name) => variables.get(name));
  const eui64 = settings.eui64 === undefined ? 0n : parseEui64(settings.eui64);
  if (eui64 === undefined) throw new DeviceError(`nvme: invalid eui64 "${settings.eui64}"`);
  const wanted = SECTOR_SIZES.find((size) => size === settings.sectsz);
  const backend = await openBackend(context, variables, settings.ram, wanted);
  const blockBytes = wanted ?? backend.logicalSectorBytes;
  if (blockBytes < backend.logicalSectorBytes) {
    await backend.close();
    throw new DeviceError(`nvme: sectsz=${blockBytes} is smaller than the sectors of the disk`);
  }
  return new NvmeController({
    memory: context.memory,
    clock: context.clock,
    backend,
    blockBytes,
    serial: settings.ser ?? `NVME-${slot}-${func}`,
    eui64: eui64 === 0n ? defaultEui64(context.vmName, bus, slot, func) : eui64,
    datasetManagement: settings.dsm === 'enable' || (settings.dsm !== 'disable' && backend.canDiscard),
    maxQueues: settings.maxq,
    maxEntries: settings.qsz,
    ioSlots: settings.ioslots,
  });
};
