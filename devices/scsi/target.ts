/**
 * A SCSI target: logical units by number, REPORT LUNS, and task management (SAM-5 7). Transports hand it commands with a LUN; they know
 * nothing of disks and drives.
 */
import { scatter } from '../block/scatter.ts';
import {
  OP_INQUIRY,
  OP_REPORT_LUNS,
  OP_REQUEST_SENSE,
  u32,
  type LogicalUnit,
  type ScsiResult,
  type ScsiTask,
} from './logical-unit.ts';
import { inquiryData } from './inquiry.ts';
import * as S from './sense.ts';

/** Numbers of the flat space addressing method (SAM-5 4.7.7.3). */
export const MAX_LUN = 16383;
/** Peripheral qualifier 3, device type 31: no unit can be there. */
const NO_UNIT = 0x7f;
const REPORT_ALL = 0x02;
const REPORT_WELL_KNOWN = 0x01;

export class ScsiTarget {
  readonly units: ReadonlyMap<number, LogicalUnit>;

  constructor(units: ReadonlyMap<number, LogicalUnit>) {
    for (const lun of units.keys()) if (lun < 0 || lun > MAX_LUN) throw new RangeError(`LUN ${lun}`);
    this.units = units;
  }

  /** Does a command of a unit, or of one that is not there. Never rejects. */
  execute(lun: number, task: ScsiTask): Promise<ScsiResult> {
    const unit = this.units.get(lun);
    const opcode = task.cdb[0];
    // REPORT LUNS is answered by every LUN of the target (SPC-4 6.33).
    if (opcode === OP_REPORT_LUNS && (unit || lun === 0)) return Promise.resolve(this.#reportLuns(task));
    if (unit) return unit.execute(task);
    return Promise.resolve(this.#missing(task));
  }

  /** A LUN without a unit still answers three commands (SPC-4 6.6.1, 6.33, 6.39). */
  #missing(task: ScsiTask): ScsiResult {
    const { cdb } = task;
    if (cdb[0] === OP_INQUIRY && ((cdb[1] ?? 0) & 1) === 0) {
      const nobody = { vendor: '', product: '', revision: '', serial: '' };
      const data = inquiryData(NO_UNIT, false, nobody).subarray(0, ((cdb[3] ?? 0) << 8) | (cdb[4] ?? 0));
      return { status: S.STATUS_GOOD, dataInBytes: scatter(task.dataIn, data), dataOutBytes: 0 };
    }
    if (cdb[0] === OP_REQUEST_SENSE) {
      const data = S.fixedSense(S.SENSE_LUN_NOT_SUPPORTED).subarray(0, cdb[4]);
      return { status: S.STATUS_GOOD, dataInBytes: scatter(task.dataIn, data), dataOutBytes: 0 };
    }
    return { status: S.STATUS_CHECK_CONDITION, sense: S.SENSE_LUN_NOT_SUPPORTED, dataInBytes: 0, dataOutBytes: 0 };
  }

  #reportLuns({ cdb, dataIn }: ScsiTask): ScsiResult {
    const select = cdb[2] ?? 0;
    const allocation = u32(cdb, 6);
    if (select > REPORT_ALL || allocation < 16) {
      return { status: S.STATUS_CHECK_CONDITION, sense: S.SENSE_INVALID_FIELD_IN_CDB, dataInBytes: 0, dataOutBytes: 0 };
    }
    const luns = select === REPORT_WELL_KNOWN ? [] : [...this.units.keys()].sort((a, b) => a - b);
    const bytes = new Uint8Array(8 + 8 * luns.length);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, 8 * luns.length);
    // Peripheral addressing up to 255, flat space beyond.
    for (const [index, lun] of luns.entries()) view.setUint16(8 + 8 * index, lun < 256 ? lun : 0x4000 | lun);
    const data = bytes.subarray(0, allocation);
    return { status: S.STATUS_GOOD, dataInBytes: scatter(dataIn, data), dataOutBytes: 0 };
  }

  /** A reset of one unit, or of all of them: the next command of each hears of it. */
  reset(lun?: number): void {
    for (const [number, unit] of this.units) {
      if (lun !== undefined && number !== lun) continue;
      unit.reset();
      unit.raiseAttention(lun === undefined ? S.SENSE_RESET : S.SENSE_DEVICE_RESET);
    }
  }
}
