/**
 * A CD/DVD drive over a read-only image of 2048-byte sectors (MMC-6): one data track in one session. The medium can be missing, ejected and
 * changed; the host learns of it by unit attentions and GET EVENT STATUS NOTIFICATION.
 */
import { sliceViews, viewsBytes } from '../block/scatter.ts';
import type { BlockBackend } from '../backends/block.ts';
import * as I from './inquiry.ts';
import {
  LogicalUnit,
  OP_START_STOP_UNIT,
  TransferCount,
  u16,
  u24,
  u32,
  type LogicalUnitState,
  type ScsiIdentity,
  type ScsiTask,
} from './logical-unit.ts';
import { modePage, PAGE_ERROR_RECOVERY } from './mode-pages.ts';
import * as S from './sense.ts';

export const OP_PREVENT_ALLOW = 0x1e;
export const OP_READ_CAPACITY = 0x25;
export const OP_READ_10 = 0x28;
export const OP_READ_SUBCHANNEL = 0x42;
export const OP_READ_TOC = 0x43;
export const OP_GET_CONFIGURATION = 0x46;
export const OP_GET_EVENT_STATUS = 0x4a;
export const OP_READ_DISC_INFORMATION = 0x51;
export const OP_READ_TRACK_INFORMATION = 0x52;
export const OP_READ_12 = 0xa8;
export const OP_READ_DVD_STRUCTURE = 0xad;
export const OP_SET_CD_SPEED = 0xbb;
export const OP_MECHANISM_STATUS = 0xbd;
export const OP_READ_CD = 0xbe;

const TYPE_CD = 0x05;
export const CD_SECTOR_BYTES = 2048;
/** Media larger than the largest CD are presented as DVD-ROM. */
const MAX_CD_SECTORS = 90 * 60 * 75;
const PROFILE_CD_ROM = 0x0008;
const PROFILE_DVD_ROM = 0x0010;
const LEAD_OUT_TRACK = 0xaa;
const MAX_TRANSFER_BYTES = 32 * 1024 * 1024;

const PAGE_TIMEOUT = 0x1d;
const PAGE_AUDIO = 0x0e;
const PAGE_CAPABILITIES = 0x2a;

const EVENT_CLASS_MEDIA = 4;
const MEDIA_EVENT_NONE = 0;
const MEDIA_EVENT_EJECT_REQUEST = 1;
const MEDIA_EVENT_NEW = 2;
const MEDIA_EVENT_REMOVAL = 3;

export class ScsiCdrom extends LogicalUnit {
  #medium: BlockBackend | undefined;
  #trayOpen = false;
  #prevented = false;
  #event = MEDIA_EVENT_NONE;
  /** An ejected medium stays in the tray until another takes its place: closing the tray loads it again. */
  #inTray: BlockBackend | undefined;

  /** The user has changed the medium: another machine that restores a snapshot of this one has that of its command line. */
  #changed = false;

  /** Without a medium the drive is empty. */
  constructor(medium: BlockBackend | undefined, identity: ScsiIdentity) {
    super(TYPE_CD, true, identity);
    this.#medium = medium;
    this.#inTray = medium;
    const { commands } = this;
    commands.set(OP_START_STOP_UNIT, { cdbBytes: 6, run: ({ cdb }) => this.#startStop(cdb) });
    commands.set(OP_PREVENT_ALLOW, {
      cdbBytes: 6,
      run: ({ cdb }) => {
        this.#prevented = ((cdb[4] ?? 0) & 1) !== 0;
      },
    });
    commands.set(OP_READ_CAPACITY, { cdbBytes: 10, run: () => this.#readCapacity() });
    commands.set(OP_READ_10, { cdbBytes: 10, run: (task) => this.#read(task, u32(task.cdb, 2), u16(task.cdb, 7)) });
    commands.set(OP_READ_12, { cdbBytes: 12, run: (task) => this.#read(task, u32(task.cdb, 2), u32(task.cdb, 6)) });
    commands.set(OP_READ_CD, { cdbBytes: 12, run: (task) => this.#readCd(task) });
    commands.set(OP_READ_SUBCHANNEL, { cdbBytes: 10, run: ({ cdb }) => this.#readSubchannel(cdb) });
    commands.set(OP_READ_TOC, { cdbBytes: 10, run: ({ cdb }) => this.#readToc(cdb) });
    commands.set(OP_GET_CONFIGURATION, {
      cdbBytes: 10,
      run: ({ cdb }) => this.#configuration(cdb),
      ignoresAttention: true,
    });
    commands.set(OP_GET_EVENT_STATUS, {
      cdbBytes: 10,
      run: ({ cdb }) => this.#eventStatus(cdb),
      ignoresAttention: true,
    });
    commands.set(OP_READ_DISC_INFORMATION, { cdbBytes: 10, run: ({ cdb }) => this.#discInformation(cdb) });
    commands.set(OP_READ_TRACK_INFORMATION, { cdbBytes: 10, run: ({ cdb }) => this.#trackInformation(cdb) });
    commands.set(OP_READ_DVD_STRUCTURE, { cdbBytes: 12, run: ({ cdb }) => this.#dvdStructure(cdb) });
    commands.set(OP_SET_CD_SPEED, { cdbBytes: 12, run: () => undefined });
    commands.set(OP_MECHANISM_STATUS, { cdbBytes: 12, run: ({ cdb }) => new Uint8Array(8).subarray(0, u16(cdb, 8)) });
  }

  get medium(): BlockBackend | undefined {
    return this.#medium;
  }

  get trayOpen(): boolean {
    return this.#trayOpen;
  }

  /** The guest asked that the medium stay where it is. */
  get removalPrevented(): boolean {
    return this.#prevented;
  }

  /** The user takes the medium out, whatever the guest wants. Returns it; closing it is the caller's task. */
  remove(): BlockBackend | undefined {
    const medium = this.#inTray;
    this.#inTray = undefined;
    this.#medium = undefined;
    this.#prevented = false;
    this.#changed = true;
    if (medium) this.#event = MEDIA_EVENT_REMOVAL;
    return medium;
  }

  /** The user puts a medium in and closes the tray. */
  insert(medium: BlockBackend): void {
    this.#inTray = medium;
    this.#trayOpen = false;
    this.#changed = true;
    this.#load();
  }

  /** The user presses the drive's button: the guest is asked when it holds the medium. */
  requestEject(): void {
    if (this.#prevented) this.#event = MEDIA_EVENT_EJECT_REQUEST;
    else this.#open();
  }

  override reset(): void {
    super.reset();
    this.#prevented = false;
    this.#event = MEDIA_EVENT_NONE;
  }

  /** The drive is switched on: it draws its tray in. */
  override powerOn(): void {
    this.reset();
    this.#trayOpen = false;
    this.#medium = this.#inTray;
  }

  override async close(): Promise<void> {
    await this.remove()?.close();
  }

  protected override saveSettings(): LogicalUnitState {
    return {
      trayOpen: this.#trayOpen ? 1 : 0,
      prevented: this.#prevented ? 1 : 0,
      event: this.#event,
      changed: this.#changed ? 1 : 0,
    };
  }

  protected override restoreSettings(state: LogicalUnitState): void {
    this.#trayOpen = state['trayOpen'] === 1;
    this.#prevented = state['prevented'] === 1;
    this.#event = (state['event'] ?? 0) & 0x0f;
    this.#medium = this.#trayOpen ? undefined : this.#inTray;
    if (state['changed'] !== 1 || this.#trayOpen) return;
    this.#prevented = false;
    if (this.#medium) this.#load();
    else this.#event = MEDIA_EVENT_REMOVAL;
  }

  #open(): void {
    if (this.#trayOpen) return;
    this.#trayOpen = true;
    if (this.#medium) this.#event = MEDIA_EVENT_REMOVAL;
    this.#medium = undefined;
  }

  #load(): void {
    this.#medium = this.#inTray;
    if (!this.#medium) return;
    this.#event = MEDIA_EVENT_NEW;
    this.raiseAttention(S.SENSE_MEDIUM_CHANGED);
  }

  #startStop(cdb: Uint8Array): void {
    const bits = cdb[4] ?? 0;
    if (bits & 0xf0 || (bits & 0x02) === 0) return; // power conditions, and a motor that always turns
    if (bits & 0x01) {
      if (this.#trayOpen) {
        this.#trayOpen = false;
        this.#load();
      }
      return;
    }
    if (this.#prevented) throw new S.CheckCondition(S.SENSE_REMOVAL_PREVENTED);
    this.#open();
  }

  protected override checkReady(): void {
    this.#loaded();
  }

  #loaded(): BlockBackend {
    if (this.#trayOpen) throw new S.CheckCondition(S.SENSE_TRAY_OPEN);
    if (!this.#medium) throw new S.CheckCondition(S.SENSE_MEDIUM_NOT_PRESENT);
    return this.#medium;
  }

  /** Whole sectors of the medium. An image of less than one still has one, half empty; see {@link #read}. */
  #sectors(medium: BlockBackend): number {
    return Math.floor(medium.sizeBytes / CD_SECTOR_BYTES);
  }

  get #profile(): number {
    if (!this.#medium) return 0;
    return this.#sectors(this.#medium) > MAX_CD_SECTORS ? PROFILE_DVD_ROM : PROFILE_CD_ROM;
  }

  protected override modePages(): ReadonlyMap<number, Uint8Array> {
    return new Map([
      [PAGE_ERROR_RECOVERY, modePage(PAGE_ERROR_RECOVERY, [0, 5, 0, 0, 0, 0, 0, 0, 0, 0])],
      [PAGE_AUDIO, modePage(PAGE_AUDIO, [4, 0, 0, 0, 0, 75, 1, 0xff, 2, 0xff, 0, 0, 0, 0])],
      [PAGE_TIMEOUT, modePage(PAGE_TIMEOUT, [0, 0, 0, 0, 0, 0, 0, 0])],
      [PAGE_CAPABILITIES, this.#capabilities()],
    ]);
  }

  /** C/DVD capabilities and mechanical status (MMC-6 E.3.3): reads CD-R, CD-RW, DVD; tray; locks. */
  #capabilities(): Uint8Array {
    const body: number[] = Array.from({ length: 24 }, () => 0);
    body[0] = 0x3b;
    body[2] = 0x71;
    body[3] = 0x60;
    body[4] = this.#prevented ? 0x2b : 0x29;
    body.splice(6, 2, 0x02, 0xc2); // 706 KiB/s, the obsolete maximum speed
    body.splice(10, 2, 0x00, 0x10); // 16 KiB of buffer
    body.splice(12, 2, 0x02, 0xc2);
    return modePage(PAGE_CAPABILITIES, body);
  }

  protected override modeHeader(): { deviceSpecific: number; blockDescriptor: Uint8Array } {
    return { deviceSpecific: 0, blockDescriptor: new Uint8Array(0) };
  }

  protected override vpdPages(): I.VpdPages {
    return new Map([
      [I.VPD_UNIT_SERIAL, I.serialPage(this.identity.serial)],
      [I.VPD_DEVICE_ID, I.deviceIdPage(this.identity)],
    ]);
  }

  #readCapacity(): Uint8Array {
    const sectors = this.#sectors(this.#loaded());
    const bytes = new Uint8Array(8);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, Math.max(sectors - 1, 0));
    view.setUint32(4, CD_SECTOR_BYTES);
    return bytes;
  }

  async #read(task: ScsiTask, lba: number, sectors: number): Promise<TransferCount> {
    const medium = this.#loaded();
    if (lba + sectors > this.#sectors(medium)) throw new S.CheckCondition(S.SENSE_LBA_OUT_OF_RANGE);
    const lengthBytes = sectors * CD_SECTOR_BYTES;
    if (lengthBytes > MAX_TRANSFER_BYTES) throw new S.CheckCondition(S.SENSE_INVALID_FIELD_IN_CDB);
    if (viewsBytes(task.dataIn) < lengthBytes) throw new S.CheckCondition(S.SENSE_DATA_TOO_SHORT);
    if (lengthBytes > 0) {
      try {
        await medium.read(lba * CD_SECTOR_BYTES, sliceViews(task.dataIn, 0, lengthBytes));
      } catch {
        this.backendErrors++;
        throw new S.CheckCondition({ ...S.SENSE_UNRECOVERED_READ_ERROR, information: lba });
      }
    }
    return new TransferCount(lengthBytes, 0);
  }

  /** READ CD of user data alone (MMC-6 6.19): the image holds nothing else of a sector. */
  #readCd(task: ScsiTask): Promise<TransferCount> | TransferCount {
    const { cdb } = task;
    const expected = ((cdb[1] ?? 0) >> 2) & 7;
    const fields = cdb[9] ?? 0;
    this.#loaded();
    if (expected !== 0 && expected !== 2) throw new S.CheckCondition(S.SENSE_ILLEGAL_MODE_FOR_TRACK);
    const sectors = u24(cdb, 6);
    if (sectors === 0 || (fields & 0xf8) === 0) return new TransferCount(0, 0);
    if ((fields & 0xf8) !== 0x10 || (fields & 0x06) !== 0 || cdb[10] !== 0) {
      throw new S.CheckCondition(S.SENSE_INVALID_FIELD_IN_CDB);
    }
    return this.#read(task, u32(cdb, 2), sectors);
  }

  #readToc(cdb: Uint8Array): Uint8Array {
    const sectors = this.#sectors(this.#loaded());
    const inMsf = ((cdb[1] ?? 0) & 0x02) !== 0;
    // Format in byte 2, or in the two high bits of byte 9 as older hosts put it.
    const format = (cdb[2] ?? 0) & 0x0f || (cdb[9] ?? 0) >> 6;
    const start = cdb[6] ?? 0;
    let body: number[];
    if (format === 0) {
      if (start > 1 && start !== LEAD_OUT_TRACK) throw new S.CheckCondition(S.SENSE_INVALID_FIELD_IN_CDB);
      const track = [0, 0x14, 1, 0, ...address(0, inMsf)];
      body = [1, 1, ...(start <= 1 ? track : []), 0, 0x14, LEAD_OUT_TRACK, 0, ...address(sectors, inMsf)];
    } else if (format === 1) {
      body = [1, 1, 0, 0x14, 1, 0, ...address(0, inMsf)];
    } else if (format === 2) {
      const raw = (point: number, minute: number, second: number, frame: number): number[] => [
        1,
        0x14,
        0,
        point,
        0,
        0,
        0,
        0,
        minute,
        second,
        frame,
      ];
      const [, minute = 0, second = 0, frame = 0] = address(sectors, true);
      body = [
        1,
        1,
        ...raw(0xa0, 1, 0, 0),
        ...raw(0xa1, 1, 0, 0),
        ...raw(0xa2, minute, second, frame),
        ...raw(1, 0, 2, 0),
      ];
    } else {
      throw new S.CheckCondition(S.SENSE_INVALID_FIELD_IN_CDB);
    }
    return Uint8Array.from([body.length >> 8, body.length & 0xff, ...body]).subarray(0, u16(cdb, 7));
  }

  #readSubchannel(cdb: Uint8Array): Uint8Array {
    this.#loaded();
    // Audio status "no current status", and no sub-channel data: nothing plays.
    const bytes = Uint8Array.from([0, 0x15, 0, 0]);
    return bytes.subarray(0, u16(cdb, 7));
  }

  #discInformation(cdb: Uint8Array): Uint8Array {
    this.#loaded();
    const bytes = new Uint8Array(34);
    bytes.set([0, 32, 0x0e, 1, 1, 1, 1, 0x20]); // complete disc, complete last session
    bytes.fill(0xff, 17, 24);
    return bytes.subarray(0, u16(cdb, 7));
  }

  #trackInformation(cdb: Uint8Array): Uint8Array {
    const sectors = this.#sectors(this.#loaded());
    const bytes = new Uint8Array(36);
    bytes.set([0, 34, 1, 1, 0, 0x04, 0x01, 0]);
    new DataView(bytes.buffer).setUint32(24, sectors);
    return bytes.subarray(0, u16(cdb, 7));
  }

  /** Physical format information of a DVD-ROM (MMC-6 6.22.3.2.1). */
  #dvdStructure(cdb: Uint8Array): Uint8Array {
    const sectors = this.#sectors(this.#loaded());
    if (this.#profile !== PROFILE_DVD_ROM || cdb[7] !== 0) throw new S.CheckCondition(S.SENSE_INVALID_FIELD_IN_CDB);
    const bytes = new Uint8Array(4 + 2048);
    const view = new DataView(bytes.buffer);
    view.setUint16(0, bytes.length - 2);
    bytes.set([0x01, 0x02, 0x01, 0x00], 4);
    view.setUint32(8, 0x30000);
    view.setUint32(12, 0x30000 + sectors - 1);
    return bytes.subarray(0, u16(cdb, 8));
  }

  /** GET CONFIGURATION (MMC-6 6.6): profile list, core, removable medium, reading features. */
  #configuration(cdb: Uint8Array): Uint8Array {
    const requestType = (cdb[1] ?? 0) & 3;
    const first = u16(cdb, 2);
    const profile = this.#profile;
    const feature = (
      code: number,
      current: boolean,
      version: number,
      data: readonly number[],
    ): [number, boolean, number[]] => [
      code,
      current,
      [code >> 8, code & 0xff, (version << 2) | (current ? 1 : 0) | (code <= 3 ? 2 : 0), data.length, ...data],
    ];
    const all = [
      feature(0x0000, true, 0, [
        ...[PROFILE_DVD_ROM >> 8, PROFILE_DVD_ROM & 0xff, profile === PROFILE_DVD_ROM ? 1 : 0, 0],
        ...[PROFILE_CD_ROM >> 8, PROFILE_CD_ROM & 0xff, profile === PROFILE_CD_ROM ? 1 : 0, 0],
      ]),
      feature(0x0001, true, 2, [0, 0, 0, 2, 1, 0, 0, 0]), // core: ATAPI, asynchronous events
      feature(0x0003, true, 0, [0x29, 0, 0, 0]), // removable medium: tray, eject, lock
      feature(0x0010, profile !== 0, 0, [0, 0, 8, 0, 0, 1, 0, 0]), // random readable, 2048 bytes
      feature(0x001e, profile === PROFILE_CD_ROM, 2, [0, 0, 0, 0]),
      feature(0x001f, profile === PROFILE_DVD_ROM, 1, [0, 0, 0, 0]),
    ];
    const wanted = all.filter(([code, current]) =>
      requestType === 2 ? code === first : code >= first && (requestType === 0 || current),
    );
    const data = wanted.flatMap(([, , bytes]) => bytes);
    const length = 4 + data.length;
    const bytes = Uint8Array.from([0, 0, length >> 8, length & 0xff, 0, 0, profile >> 8, profile & 0xff, ...data]);
    return bytes.subarray(0, u16(cdb, 7));
  }

  #eventStatus(cdb: Uint8Array): Uint8Array {
    const polled = ((cdb[1] ?? 0) & 1) !== 0;
    // Nothing happens by itself here: a host that wants to be called back is refused, as most drives do.
    if (!polled) throw new S.CheckCondition(S.SENSE_INVALID_FIELD_IN_CDB);
    const supported = 1 << EVENT_CLASS_MEDIA;
    if (((cdb[4] ?? 0) & supported) === 0) return Uint8Array.from([0, 2, 0x80, supported]).subarray(0, u16(cdb, 7));
    const status = (this.#medium ? 0x02 : 0) | (this.#trayOpen ? 0x01 : 0);
    const event = this.#event;
    this.#event = MEDIA_EVENT_NONE;
    return Uint8Array.from([0, 6, EVENT_CLASS_MEDIA, supported, event, status, 0, 0]).subarray(0, u16(cdb, 7));
  }
}

/** An address of the table of contents: logical block, or minute, second and frame counted from the lead-in's end. */
function address(sector: number, inMsf: boolean): number[] {
  if (!inMsf) return [(sector >>> 24) & 0xff, (sector >>> 16) & 0xff, (sector >>> 8) & 0xff, sector & 0xff];
  const frame = sector + 150;
  return [0, Math.min(Math.floor(frame / 75 / 60), 0xff), Math.floor(frame / 75) % 60, frame % 75];
}
