/**
 * A SCSI logical unit without its transport: takes command descriptor blocks, moves data, answers with a status and sense data. Here are the
 * commands of every device type (SPC-4); disks add SBC-3, CD drives MMC-6. ATAPI and virtio-scsi share it.
 */
import { gather, scatter, viewsBytes } from '../block/scatter.ts';
import { modeParameters } from './mode-pages.ts';
import * as S from './sense.ts';
import { inquiryData, vitalProductData, type VpdPages } from './inquiry.ts';

/** One command with the memory that its data comes from or goes to. The CDB is a copy; the views are guest memory. */
export interface ScsiTask {
  /** At least 6 bytes; bytes that the transport did not deliver are zero. */
  readonly cdb: Uint8Array;
  readonly dataOut: readonly Uint8Array[];
  readonly dataIn: readonly Uint8Array[];
}

export interface ScsiResult {
  readonly status: number;
  /** With CHECK CONDITION. */
  readonly sense?: S.Sense;
  /** Bytes that the unit stored into {@link ScsiTask.dataIn}, from its start. */
  readonly dataInBytes: number;
  /** Bytes that it took from {@link ScsiTask.dataOut}. */
  readonly dataOutBytes: number;
}

/** Data that a command returns, or nothing. */
export type CommandOutcome = Uint8Array | void;
export type ScsiHandler = (task: ScsiTask) => CommandOutcome | TransferCount | Promise<CommandOutcome | TransferCount>;

/** What a command that moved data by itself, without a copy, has moved. */
export class TransferCount {
  constructor(
    readonly inBytes: number,
    readonly outBytes: number,
  ) {}
}

export interface ScsiCommandDeclaration {
  readonly cdbBytes: 6 | 10 | 12 | 16;
  readonly run: ScsiHandler;
  /** Allowed while a unit attention is pending, which it leaves alone (SAM-5 5.14). */
  readonly ignoresAttention?: boolean;
}

/** A unit's state in a snapshot. */
export type LogicalUnitState = Readonly<Record<string, number>>;

export interface ScsiIdentity {
  readonly vendor: string;
  readonly product: string;
  readonly revision: string;
  readonly serial: string;
}

/** Longest parameter list that a unit looks at: no command defined here has more. */
const MAX_PARAMETER_BYTES = 8192;
/** Unit attentions kept; the oldest goes when a host never asks. */
const MAX_ATTENTIONS = 4;

export const OP_TEST_UNIT_READY = 0x00;
export const OP_REQUEST_SENSE = 0x03;
export const OP_INQUIRY = 0x12;
export const OP_MODE_SELECT_6 = 0x15;
export const OP_MODE_SENSE_6 = 0x1a;
export const OP_START_STOP_UNIT = 0x1b;
export const OP_SEND_DIAGNOSTIC = 0x1d;
export const OP_MODE_SELECT_10 = 0x55;
export const OP_MODE_SENSE_10 = 0x5a;
export const OP_REPORT_LUNS = 0xa0;
export const OP_MAINTENANCE_IN = 0xa3;

const MI_REPORT_SUPPORTED_OPCODES = 0x0c;

export abstract class LogicalUnit {
  /** Commands that ended with CHECK CONDITION because of the host's request. */
  rejectedCommands = 0;
  /** Commands that the backend failed. */
  backendErrors = 0;
  protected readonly commands = new Map<number, ScsiCommandDeclaration>();
  readonly #attentions: S.Sense[] = [];
  /** Kept for REQUEST SENSE by transports that do not deliver sense data with the status (ATAPI). */
  #held: S.Sense = S.SENSE_NONE;

  constructor(
    /** Peripheral device type (SPC-4 6.6.2): 0 a disk, 5 a CD drive. */
    readonly deviceType: number,
    readonly removable: boolean,
    readonly identity: ScsiIdentity,
  ) {
    const add = (opcode: number, cdbBytes: 6 | 10 | 12 | 16, run: ScsiHandler, ignoresAttention = false): void => {
      this.commands.set(opcode, { cdbBytes, run, ignoresAttention });
    };
    add(OP_TEST_UNIT_READY, 6, () => this.checkReady());
    add(OP_REQUEST_SENSE, 6, ({ cdb }) => this.#requestSense(cdb), true);
    add(OP_INQUIRY, 6, ({ cdb }) => this.#inquiry(cdb), true);
    add(OP_REPORT_LUNS, 12, () => singleLun(), true);
    add(OP_MODE_SENSE_6, 6, ({ cdb }) => this.#modeSense(cdb, false));
    add(OP_MODE_SENSE_10, 10, ({ cdb }) => this.#modeSense(cdb, true));
    add(OP_MODE_SELECT_6, 6, (task) => this.#modeSelect(task, false));
    add(OP_MODE_SELECT_10, 10, (task) => this.#modeSelect(task, true));
    // Every self-test passes: there is nothing mechanical to test.
    add(OP_SEND_DIAGNOSTIC, 6, () => undefined);
    add(OP_MAINTENANCE_IN, 12, ({ cdb }) => this.#maintenanceIn(cdb));
  }

  /** Throws CheckCondition when the medium cannot be used. */
  protected abstract checkReady(): void;
  /** Gives the backend back. */
  abstract close(): Promise<void>;
  /** The machine is switched on. */
  abstract powerOn(): void;
  /** Mode pages by their number, current values; changeable bits are all zero unless {@link setModePage} takes them. */
  protected abstract modePages(): ReadonlyMap<number, Uint8Array>;
  /** Device-specific byte of the mode parameter header and the block descriptor, which may be empty. */
  protected abstract modeHeader(): { readonly deviceSpecific: number; readonly blockDescriptor: Uint8Array };
  protected abstract vpdPages(): VpdPages;

  /** Bits of a mode page that MODE SELECT changes; none by default. */
  protected changeableModePage(page: number, current: Uint8Array): Uint8Array {
    const mask = new Uint8Array(current.length);
    mask.set([page, current.length - 2]);
    return mask;
  }

  /** MODE SELECT of a page whose changeable bits differ from now. */
  protected setModePage(_page: number, _bytes: Uint8Array): void {}

  /** A condition of the unit that the next command reports. */
  raiseAttention(sense: S.Sense): void {
    if (this.#attentions.some(({ asc, ascq }) => asc === sense.asc && ascq === sense.ascq)) return;
    if (this.#attentions.length === MAX_ATTENTIONS) this.#attentions.shift();
    this.#attentions.push(sense);
  }

  /** A reset of the unit: what it remembers of its host is gone. */
  reset(): void {
    this.#attentions.length = 0;
    this.#held = S.SENSE_NONE;
  }

  /** Sense data that the host will ask for. */
  holdSense(sense: S.Sense): void {
    this.#held = sense;
  }

  get heldSense(): S.Sense {
    return this.#held;
  }

  /** The unit's state as numbers below 2^32, for snapshots: pending conditions, and the settings that a host changed. */
  save(): LogicalUnitState {
    const state: Record<string, number> = { ...this.saveSettings(), held: packSense(this.#held) };
    for (let i = 0; i < MAX_ATTENTIONS; i++) {
      const attention = this.#attentions[i];
      state[`attention${i}`] = attention ? packSense(attention) : 0;
    }
    return state;
  }

  /** Numbers that are missing or make no sense count as the state after power-on. */
  restore(state: LogicalUnitState): void {
    this.#held = unpackSense(state['held'] ?? 0);
    this.#attentions.length = 0;
    for (let i = 0; i < MAX_ATTENTIONS; i++) {
      const packed = state[`attention${i}`] ?? 0;
      if (packed !== 0) this.#attentions.push(unpackSense(packed));
    }
    this.restoreSettings(state);
  }

  protected abstract saveSettings(): LogicalUnitState;
  protected abstract restoreSettings(state: LogicalUnitState): void;

  /** Does what a command says. Never rejects: whatever goes wrong is in the result. */
  async execute(task: ScsiTask): Promise<ScsiResult> {
    const command = this.commands.get(task.cdb[0] ?? 0);
    try {
      if (!command) throw new S.CheckCondition(S.SENSE_INVALID_OPCODE);
      if (!command.ignoresAttention) {
        const attention = this.#attentions.shift();
        if (attention) throw new S.CheckCondition(attention);
      }
      const outcome = await command.run(task);
      if (outcome instanceof TransferCount) {
        return { status: S.STATUS_GOOD, dataInBytes: outcome.inBytes, dataOutBytes: outcome.outBytes };
      }
      const dataInBytes = outcome ? scatter(task.dataIn, outcome) : 0;
      return { status: S.STATUS_GOOD, dataInBytes, dataOutBytes: 0 };
    } catch (error) {
      let sense: S.Sense = S.SENSE_INTERNAL_FAILURE;
      if (error instanceof S.CheckCondition) {
        ({ sense } = error);
        if (sense.key === S.KEY_ILLEGAL_REQUEST || sense.key === S.KEY_DATA_PROTECT) this.rejectedCommands++;
      } else {
        this.backendErrors++;
      }
      return { status: S.STATUS_CHECK_CONDITION, sense, dataInBytes: 0, dataOutBytes: 0 };
    }
  }

  /** The parameter list of a command; throws when the transport delivered less than the CDB says. */
  protected parameterList(task: ScsiTask, lengthBytes: number): Uint8Array {
    if (lengthBytes > MAX_PARAMETER_BYTES) throw new S.CheckCondition(S.SENSE_PARAMETER_LIST_LENGTH);
    if (viewsBytes(task.dataOut) < lengthBytes) throw new S.CheckCondition(S.SENSE_DATA_TOO_SHORT);
    return gather(task.dataOut, lengthBytes);
  }

  #requestSense(cdb: Uint8Array): Uint8Array {
    const sense = this.#attentions.shift() ?? this.#held;
    this.#held = S.SENSE_NONE;
    const bytes = (cdb[1] ?? 0) & 1 ? S.descriptorSense(sense) : S.fixedSense(sense);
    return bytes.subarray(0, cdb[4]);
  }

  #inquiry(cdb: Uint8Array): Uint8Array {
    const allocation = u16(cdb, 3);
    if ((cdb[1] ?? 0) & 1) {
      const page = vitalProductData(this.deviceType, cdb[2] ?? 0, this.vpdPages());
      if (!page) throw new S.CheckCondition(S.SENSE_INVALID_FIELD_IN_CDB);
      return page.subarray(0, allocation);
    }
    if (cdb[2] !== 0) throw new S.CheckCondition(S.SENSE_INVALID_FIELD_IN_CDB);
    return inquiryData(this.deviceType, this.removable, this.identity).subarray(0, allocation);
  }

  #modeSense(cdb: Uint8Array, long: boolean): Uint8Array {
    const control = (cdb[2] ?? 0) >> 6;
    const page = (cdb[2] ?? 0) & 0x3f;
    const subpage = cdb[3] ?? 0;
    // 3 asks for saved values, which nothing here keeps.
    if (control === 3) throw new S.CheckCondition(S.SENSE_SAVING_NOT_SUPPORTED);
    if (subpage !== 0 && subpage !== 0xff) throw new S.CheckCondition(S.SENSE_INVALID_FIELD_IN_CDB);
    const pages = this.modePages();
    const wanted = page === 0x3f ? [...pages.keys()].sort((a, b) => a - b) : [page];
    const parts: Uint8Array[] = [];
    for (const number of wanted) {
      const current = pages.get(number);
      if (!current) throw new S.CheckCondition(S.SENSE_INVALID_FIELD_IN_CDB);
      parts.push(control === 1 ? this.changeableModePage(number, current) : current);
    }
    const { deviceSpecific, blockDescriptor } = this.modeHeader();
    const descriptor = (cdb[1] ?? 0) & 0x08 ? new Uint8Array(0) : blockDescriptor;
    const bytes = modeParameters(long, deviceSpecific, descriptor, parts);
    return bytes.subarray(0, long ? u16(cdb, 7) : cdb[4]);
  }

  #modeSelect(task: ScsiTask, long: boolean): void {
    const { cdb } = task;
    const lengthBytes = long ? u16(cdb, 7) : (cdb[4] ?? 0);
    const savePages = ((cdb[1] ?? 0) & 0x01) !== 0;
    const pageFormat = ((cdb[1] ?? 0) & 0x10) !== 0;
    if (savePages || (!pageFormat && lengthBytes > 0)) throw new S.CheckCondition(S.SENSE_INVALID_FIELD_IN_CDB);
    if (lengthBytes === 0) return;
    const list = this.parameterList(task, lengthBytes);
    const headerBytes = long ? 8 : 4;
    if (list.length < headerBytes) throw new S.CheckCondition(S.SENSE_PARAMETER_LIST_LENGTH);
    const pages = this.modePages();
    const changes: [number, Uint8Array][] = [];
    for (let at = headerBytes + (long ? u16(list, 6) : (list[3] ?? 0)); at < list.length;) {
      const page = (list[at] ?? 0) & 0x3f;
      const current = pages.get(page);
      const bytes = list.subarray(at, at + 2 + (list[at + 1] ?? 0));
      if (!current || bytes.length !== current.length) {
        throw new S.CheckCondition(current ? S.SENSE_PARAMETER_LIST_LENGTH : S.SENSE_INVALID_FIELD_IN_PARAMETERS);
      }
      const changeable = this.changeableModePage(page, current);
      for (let i = 2; i < bytes.length; i++) {
        const differs = (bytes[i] ?? 0) ^ (current[i] ?? 0);
        if (differs & ~(changeable[i] ?? 0)) throw new S.CheckCondition(S.SENSE_INVALID_FIELD_IN_PARAMETERS);
      }
      changes.push([page, bytes]);
      at += bytes.length;
    }
    for (const [page, bytes] of changes) this.setModePage(page, bytes);
  }

  /** REPORT SUPPORTED OPERATION CODES (SPC-4 6.35): all commands, or one. */
  #maintenanceIn(cdb: Uint8Array): Uint8Array {
    if (((cdb[1] ?? 0) & 0x1f) !== MI_REPORT_SUPPORTED_OPCODES) {
      throw new S.CheckCondition(S.SENSE_INVALID_FIELD_IN_CDB);
    }
    const allocation = Math.min(u32(cdb, 6), MAX_PARAMETER_BYTES);
    const options = (cdb[2] ?? 0) & 0x07;
    const opcode = cdb[3] ?? 0;
    const serviceAction = u16(cdb, 4);
    if (options === 0) {
      const codes = this.#supportedCommands();
      const bytes = new Uint8Array(4 + 8 * codes.length);
      const view = new DataView(bytes.buffer);
      view.setUint32(0, 8 * codes.length);
      for (const [index, { code, action, cdbBytes }] of codes.entries()) {
        const at = 4 + 8 * index;
        bytes[at] = code;
        view.setUint16(at + 2, action ?? 0);
        bytes[at + 5] = action === undefined ? 0 : 1;
        view.setUint16(at + 6, cdbBytes);
      }
      return bytes.subarray(0, allocation);
    }
    const found = this.#supportedCommands().find(
      ({ code, action }) => code === opcode && (action === undefined || action === serviceAction),
    );
    const cdbBytes = found?.cdbBytes ?? 0;
    const bytes = new Uint8Array(4 + cdbBytes);
    // 3: supported as the standard says; 1: not supported.
    bytes[1] = found ? 3 : 1;
    bytes[3] = cdbBytes;
    if (found) {
      bytes.fill(0xff, 5, 4 + cdbBytes);
      bytes[4] = opcode;
      if (found.action !== undefined) bytes[5] = 0xe0 | found.action;
    }
    return bytes.subarray(0, allocation);
  }

  #supportedCommands(): { code: number; action: number | undefined; cdbBytes: number }[] {
    const list: { code: number; action: number | undefined; cdbBytes: number }[] = [];
    for (const [code, { cdbBytes }] of this.commands) {
      const actions = this.serviceActions(code);
      if (actions.length === 0) list.push({ code, action: undefined, cdbBytes });
      for (const action of actions) list.push({ code, action, cdbBytes });
    }
    return list;
  }

  /** Service actions of an operation code that has some. */
  protected serviceActions(opcode: number): readonly number[] {
    return opcode === OP_MAINTENANCE_IN ? [MI_REPORT_SUPPORTED_OPCODES] : [];
  }
}

function packSense({ key, asc, ascq }: S.Sense): number {
  return (key << 16) | (asc << 8) | ascq;
}

function unpackSense(packed: number): S.Sense {
  return { key: (packed >> 16) & 0xf, asc: (packed >> 8) & 0xff, ascq: packed & 0xff };
}

/** REPORT LUNS of a unit that is alone: LUN 0. A target with several answers in its place. */
function singleLun(): Uint8Array {
  const bytes = new Uint8Array(16);
  bytes[3] = 8;
  return bytes;
}

/** Big-endian fields of CDBs and parameter data; bytes beyond the end are zero. */
export function u16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
}

export function u24(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 16) | u16(bytes, at + 1);
}

export function u32(bytes: Uint8Array, at: number): number {
  return u16(bytes, at) * 0x10000 + u16(bytes, at + 2);
}

/** Exact below 2^53; anything above is beyond every disk. */
export function u64(bytes: Uint8Array, at: number): number {
  return u32(bytes, at) * 2 ** 32 + u32(bytes, at + 4);
}
