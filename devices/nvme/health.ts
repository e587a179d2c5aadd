/** What the controller counts and shows in its log pages (NVM Express 1.4, 5.14.1). */
import type { StateFields } from '../platform/state-fields.ts';
import type { StateValue } from '../snapshot.ts';
import { paddedText } from '../block/scatter.ts';
import { TEMPERATURE } from './identify.ts';

const SPARE_PERCENT = 100;
const SPARE_THRESHOLD_PERCENT = 10;
const SECTOR_BYTES = 512;
/** Data units of the health log. */
const UNIT_SECTORS = 1000;
const LIMIT = Number.MAX_SAFE_INTEGER;

export interface CommandFailure {
  readonly queueId: number;
  readonly commandId: number;
  readonly status: number;
  readonly block: number;
  readonly namespaceId: number;
}

export class Health {
  readBytes = 0;
  writtenBytes = 0;
  readCommands = 0;
  writeCommands = 0;
  mediaErrors = 0;
  errors = 0;
  #lastFailure: CommandFailure | undefined;

  constructor(private readonly nowNs: () => number) {}

  /** The machine is switched on: as bhyve, whose every start begins with zeros. */
  reset(): void {
    this.readBytes = this.writtenBytes = this.readCommands = this.writeCommands = this.mediaErrors = this.errors = 0;
    this.#lastFailure = undefined;
  }

  failed(failure: CommandFailure): void {
    this.errors++;
    this.#lastFailure = failure;
  }

  /** Error information: one entry, the latest failure. */
  errorLog(): Uint8Array {
    const bytes = new Uint8Array(64);
    const failure = this.#lastFailure;
    if (!failure) return bytes;
    const view = new DataView(bytes.buffer);
    view.setBigUint64(0, BigInt(this.errors), true);
    view.setUint16(8, failure.queueId, true);
    view.setUint16(10, failure.commandId, true);
    view.setUint16(12, (failure.status << 1) & 0xffff, true);
    view.setUint16(14, 0xffff, true);
    view.setBigUint64(16, BigInt(Math.min(failure.block, LIMIT)), true);
    view.setUint32(24, failure.namespaceId, true);
    return bytes;
  }

  /** SMART / health information. */
  healthLog(temperatureWarning: boolean): Uint8Array {
    const bytes = new Uint8Array(512);
    const view = new DataView(bytes.buffer);
    const units = (count: number): bigint => BigInt(Math.ceil(count / SECTOR_BYTES / UNIT_SECTORS));
    bytes[0] = temperatureWarning ? 1 << 1 : 0;
    view.setUint16(1, TEMPERATURE, true);
    bytes[3] = SPARE_PERCENT;
    bytes[4] = SPARE_THRESHOLD_PERCENT;
    view.setBigUint64(32, units(this.readBytes), true);
    view.setBigUint64(48, units(this.writtenBytes), true);
    view.setBigUint64(64, BigInt(this.readCommands), true);
    view.setBigUint64(80, BigInt(this.writeCommands), true);
    view.setBigUint64(112, 1n, true); // power cycles
    view.setBigUint64(128, BigInt(Math.floor(this.nowNs() / 3.6e12)), true);
    view.setBigUint64(160, BigInt(this.mediaErrors), true);
    view.setBigUint64(176, BigInt(this.errors), true);
    return bytes;
  }

  save(): { [field: string]: StateValue } {
    const { readBytes, writtenBytes, readCommands, writeCommands, mediaErrors, errors } = this;
    return { readBytes, writtenBytes, readCommands, writeCommands, mediaErrors, errors };
  }

  prepareRestore(fields: StateFields): () => void {
    const readBytes = fields.integer('readBytes', LIMIT);
    const writtenBytes = fields.integer('writtenBytes', LIMIT);
    const readCommands = fields.integer('readCommands', LIMIT);
    const writeCommands = fields.integer('writeCommands', LIMIT);
    const mediaErrors = fields.integer('mediaErrors', LIMIT);
    const errors = fields.integer('errors', LIMIT);
    return () => {
      Object.assign(this, { readBytes, writtenBytes, readCommands, writeCommands, mediaErrors, errors });
    };
  }
}

/** Firmware slot information: slot 1 is active and holds revision 1.0. */
export function firmwareLog(): Uint8Array {
  const bytes = new Uint8Array(512);
  bytes[0] = 1;
  bytes.set(paddedText('1.0', 8), 8);
  return bytes;
}

/** Namespaces whose attributes changed: the one that there is, or none. */
export function changedNamespaceLog(changed: boolean): Uint8Array {
  const bytes = new Uint8Array(4096);
  if (changed) bytes[0] = 1;
  return bytes;
}
