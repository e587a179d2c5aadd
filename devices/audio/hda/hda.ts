/** bhyve's `hda`: an Intel ICH7 High Definition Audio controller with one codec (HDA specification 1.0a). */
import type { AudioBackend } from '../../backends/audio.ts';
import { NoBackendError } from '../../backends/kinds.ts';
import type { GuestMemory } from '../../bus/guest-memory.ts';
import type { AccessSize } from '../../bus/port-bus.ts';
import { RegisterMap, wideRegister, type Register } from '../../bus/register-map.ts';
import { HDA_OPTIONS } from '../../config/declarations/desktop.ts';
import { readSettings } from '../../config/settings-of.ts';
import type { DeviceBuilder, DeviceContext } from '../../device-context.ts';
import type { Counters } from '../../device.ts';
import { PciFunction } from '../../pci/function.ts';
import type { StateFields } from '../../platform/state-fields.ts';
import type { StateValue } from '../../snapshot.ts';
import { HdaCodec, type Converter } from './codec.ts';
import { CommandRings, type CommandHost } from './command-rings.ts';
import * as R from './registers.ts';
import { HdaStream, type StreamHost } from './stream.ts';

const PCI_IDENTITY = { vendorId: 0x8086, deviceId: 0x27d8, classCode: 0x04, subclass: 0x03 } as const;
/** HDCTL of the ICH7: High Definition Audio mode, as opposed to AC '97. */
const HDCTL = 0x40;
const HD_AUDIO_MODE = 0x01;

export interface HdaBackends {
  readonly play: AudioBackend | undefined;
  readonly record: AudioBackend | undefined;
}

export class Hda extends PciFunction implements StreamHost, CommandHost {
  readonly memory: GuestMemory;
  readonly codec: HdaCodec | undefined;
  readonly streams: readonly HdaStream[];
  readonly #rings = new CommandRings(this);
  readonly #registers: RegisterMap;
  readonly #clock: DeviceContext['clock'];
  readonly #backends: HdaBackends;
  #cancelTimer: (() => void) | undefined;
  #control = 0;
  #wakeEnable = 0;
  #stateStatus = 0;
  #globalStatus = 0;
  #interruptControl = 0;
  #synchronize = 0;
  #positions: [low: number, high: number] = [0, 0];
  /** When WALCLK was 0, in machine time. */
  #wallOriginNs = 0;

  /** A controller without any backend has no codec, as in bhyve. */
  constructor(context: DeviceContext, backends: HdaBackends, plays: boolean, records: boolean) {
    super('hda', PCI_IDENTITY);
    this.memory = context.memory;
    this.#clock = context.clock;
    this.#backends = backends;
    this.codec = plays || records ? new HdaCodec(plays, records) : undefined;
    this.streams = Array.from({ length: R.STREAMS }, (_, index) => new HdaStream(index, this));
    this.addBar(0, 'mem32', R.BAR_BYTES);
    this.requestIntx();
    this.setConfigByte(HDCTL, HD_AUDIO_MODE);
    this.#registers = new RegisterMap(this.#makeRegisters(), () => this.badAccesses++);
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Registers

  #makeRegisters(): Register[] {
    const fixed = (name: string, offset: number, bytes: 1 | 2 | 4, value: number): Register => {
      return { name, offset, bytes, read: () => value, write: () => undefined };
    };
    return [
      fixed('GCAP', 0x00, 2, R.GCAP),
      fixed('VMIN', 0x02, 1, 0),
      fixed('VMAJ', 0x03, 1, 1),
      fixed('OUTPAY', 0x04, 2, R.OUTPAY),
      fixed('INPAY', 0x06, 2, R.INPAY),
      {
        name: 'GCTL',
        offset: 0x08,
        bytes: 4,
        read: () => this.#control,
        write: (value) => this.#writeControl(value),
        writeWidth: 'bytes',
      },
      {
        name: 'WAKEEN',
        offset: 0x0c,
        bytes: 2,
        read: () => this.#wakeEnable,
        write: (value) => {
          this.#wakeEnable = value & 0x7fff;
        },
      },
      {
        name: 'STATESTS',
        offset: 0x0e,
        bytes: 2,
        read: () => this.#stateStatus,
        write: (value) => {
          this.#stateStatus &= ~value;
          this.changed();
        },
      },
      {
        name: 'GSTS',
        offset: 0x10,
        bytes: 2,
        read: () => this.#globalStatus,
        write: (value) => {
          this.#globalStatus &= ~value;
        },
      },
      fixed('OUTSTRMPAY', 0x18, 2, R.OUTPAY),
      fixed('INSTRMPAY', 0x1a, 2, R.INPAY),
      {
        name: 'INTCTL',
        offset: 0x20,
        bytes: 4,
        read: () => this.#interruptControl,
        write: (value) => {
          this.#interruptControl = value;
          this.changed();
        },
        writeWidth: 'bytes',
      },
      { name: 'INTSTS', offset: 0x24, bytes: 4, read: () => this.#interruptStatus(), write: () => undefined },
      { name: 'WALCLK', offset: 0x30, bytes: 4, read: () => this.#wallClock(), write: () => undefined },
      {
        name: 'SSYNC',
        offset: 0x38,
        bytes: 4,
        read: () => this.#synchronize,
        write: (value) => {
          this.#synchronize = value & (2 ** R.STREAMS - 1);
          this.runChanged();
        },
        writeWidth: 'bytes',
      },
      ...this.#rings.registers(),
      ...wideRegister(
        'DPBASE',
        0x70,
        () => this.#positions,
        (low, high) => {
          // Bit 0 enables; the address has 128-byte units (3.3.32).
          if (low !== undefined) this.#positions[0] = (low & ~0x7e) >>> 0;
          if (high !== undefined) this.#positions[1] = high;
        },
      ),
      ...this.streams.flatMap((stream) => [
        ...stream.registers(),
        {
          name: `SD${stream.index}LPIBA`,
          offset: R.LPIB_ALIAS + stream.index * R.STREAM_STRIDE,
          bytes: 4 as const,
          read: () => stream.position,
        },
      ]),
      { name: 'WALCLKA', offset: R.WALCLK_ALIAS, bytes: 4, read: () => this.#wallClock(), write: () => undefined },
    ];
  }

  protected override readBar(_index: number, offset: number, size: AccessSize): number {
    return this.#registers.read(offset, size);
  }

  protected override writeBar(_index: number, offset: number, size: AccessSize, value: number): void {
    // In reset nothing but the way out of it takes a write (4.2.2).
    if (this.#control & R.GCTL_RUNNING || (offset >= 0x08 && offset < 0x0c)) this.#registers.write(offset, size, value);
  }

  #writeControl(value: number): void {
    const wasRunning = (this.#control & R.GCTL_RUNNING) !== 0;
    const runs = (value & R.GCTL_RUNNING) !== 0;
    if (!runs) {
      this.#resetController();
      return;
    }
    this.#control = value & (R.GCTL_RUNNING | R.GCTL_UNSOLICITED);
    if (value & R.GCTL_FLUSH) this.#globalStatus |= R.GSTS_FLUSHED;
    if (wasRunning) return;
    this.#wallOriginNs = this.#clock.nowNs();
    // Codecs report themselves when the link comes out of reset (4.3).
    this.codec?.reset();
    this.#stateStatus = this.codec ? 1 : 0;
  }

  #resetController(): void {
    this.#control = 0;
    this.#wakeEnable = 0;
    this.#stateStatus = 0;
    this.#globalStatus = 0;
    this.#interruptControl = 0;
    this.#synchronize = 0;
    this.#positions = [0, 0];
    this.#wallOriginNs = 0;
    this.#rings.reset();
    for (const stream of this.streams) stream.reset();
    this.runChanged();
    this.changed();
  }

  #wallClock(): number {
    if (!(this.#control & R.GCTL_RUNNING)) return 0;
    return Math.floor(((this.#clock.nowNs() - this.#wallOriginNs) * R.WALL_TICKS_PER_US) / 1000) % 2 ** 32;
  }

  #interruptStatus(): number {
    let status = this.#rings.wantsInterrupt || this.#stateStatus & this.#wakeEnable ? R.INTCTL_CONTROLLER : 0;
    for (const stream of this.streams) if (stream.wantsInterrupt) status |= 1 << stream.index;
    return (status !== 0 ? status | R.INTCTL_GLOBAL : 0) >>> 0;
  }

  changed(): void {
    const enabled = (this.#interruptControl & R.INTCTL_GLOBAL) !== 0;
    const wanted = this.#interruptStatus() & this.#interruptControl & ~R.INTCTL_GLOBAL;
    this.setIntx(enabled && wanted !== 0);
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Codec and streams

  mayAccess(): boolean {
    return this.busMaster && !this.paused;
  }

  command(word: number): number | undefined {
    return word >>> 28 === 0 ? this.codec?.command(word) : undefined;
  }

  route(stream: HdaStream): { readonly converter: Converter; readonly backend: AudioBackend } | undefined {
    const backend = stream.isOutput ? this.#backends.play : this.#backends.record;
    const converter = stream.isOutput ? this.codec?.output : this.codec?.input;
    return backend && converter && stream.tag !== 0 && converter.stream === stream.tag
      ? { converter, backend }
      : undefined;
  }

  moved(stream: HdaStream): void {
    const [low, high] = this.#positions;
    if (!(low & 1)) return;
    const gpa = high * 2 ** 32 + (low & ~1) + 8 * stream.index;
    if (this.memory.contains(gpa, 4)) this.memory.writeU32(gpa, stream.position);
  }

  runChanged(): void {
    if (this.paused) return;
    const nowNs = this.#clock.nowNs();
    for (const stream of this.streams) {
      const runs = this.#runs(stream);
      if (runs && !this.#ticking.has(stream)) stream.startClock(nowNs);
      if (runs) this.#ticking.add(stream);
      else this.#ticking.delete(stream);
    }
    if (this.#ticking.size > 0 && !this.#cancelTimer) this.#schedule(0);
  }

  /** Streams whose clock runs. */
  readonly #ticking = new Set<HdaStream>();

  /** A stream that is held for synchronization does not run (3.3.15). */
  #runs(stream: HdaStream): boolean {
    return stream.running && !(this.#synchronize & (1 << stream.index));
  }

  #schedule(delayNs: number): void {
    this.#cancelTimer = this.#clock.at(this.#clock.nowNs() + delayNs, () => {
      this.#cancelTimer = undefined;
      this.#tick();
    });
  }

  #tick(): void {
    if (this.paused) return;
    const nowNs = this.#clock.nowNs();
    let nextNs = Infinity;
    for (const stream of [...this.#ticking]) {
      if (this.#runs(stream)) nextNs = Math.min(nextNs, stream.advance(nowNs));
    }
    if (this.#ticking.size > 0 && !this.#cancelTimer && Number.isFinite(nextNs)) this.#schedule(nextNs);
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Life cycle

  protected override startDevice(): void {
    this.#startTicking();
  }

  protected override pauseDevice(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    this.#ticking.clear();
  }

  protected override resumeDevice(): void {
    this.#startTicking();
  }

  #startTicking(): void {
    this.#rings.run();
    this.runChanged();
  }

  protected override busMasterChanged(enabled: boolean): void {
    if (enabled) this.#rings.run();
  }

  protected override resetDevice(): void {
    this.codec?.reset();
    this.#resetController();
  }

  protected override async closeDevice(): Promise<void> {
    this.#cancelTimer?.();
    this.#ticking.clear();
    await Promise.all([this.#backends.play?.close(), this.#backends.record?.close()]);
  }

  protected override deviceCounters(): Counters {
    return {
      commands: this.#rings.commands,
      'bad rings': this.#rings.errors,
      'bad streams': this.streams.reduce((sum, stream) => sum + stream.errors, 0),
      'unknown verbs': this.codec?.unknownVerbs ?? 0,
    };
  }

  protected override saveDevice(): { readonly [field: string]: StateValue } {
    return {
      control: this.#control,
      wakeEnable: this.#wakeEnable,
      stateStatus: this.#stateStatus,
      globalStatus: this.#globalStatus,
      interruptControl: this.#interruptControl,
      synchronize: this.#synchronize,
      positionsLow: this.#positions[0],
      positionsHigh: this.#positions[1],
      wallOriginNs: Math.floor(this.#wallOriginNs),
      rings: this.#rings.save(),
      codec: this.codec?.save() ?? {},
      streams: this.streams.map((stream) => stream.save()),
    };
  }

  protected override prepareDeviceRestore(fields: StateFields): () => void {
    const control = fields.integer('control', 0x101);
    const wakeEnable = fields.integer('wakeEnable', 0xffff);
    const stateStatus = fields.integer('stateStatus', 0xffff);
    const globalStatus = fields.integer('globalStatus', 0xffff);
    const interruptControl = fields.integer('interruptControl', 0xffffffff);
    const synchronize = fields.integer('synchronize', 2 ** R.STREAMS - 1);
    const positions: [number, number] = [
      fields.integer('positionsLow', 0xffffffff),
      fields.integer('positionsHigh', 0xffffffff),
    ];
    const wallOriginNs = fields.integer('wallOriginNs', Number.MAX_SAFE_INTEGER);
    const restoreRings = this.#rings.prepareRestore(fields.group('rings'));
    const restoreCodec = this.codec?.prepareRestore(fields.group('codec'));
    const groups = fields.groups('streams', R.STREAMS);
    const restoreStreams = this.streams.flatMap((stream, index) => {
      const group = groups[index];
      return group ? [stream.prepareRestore(group)] : [];
    });
    return () => {
      this.#control = control;
      this.#wakeEnable = wakeEnable;
      this.#stateStatus = stateStatus;
      this.#globalStatus = globalStatus;
      this.#interruptControl = interruptControl;
      this.#synchronize = synchronize;
      this.#positions = positions;
      this.#wallOriginNs = wallOriginNs;
      restoreRings();
      restoreCodec?.();
      for (const restore of restoreStreams) restore();
    };
  }
}

/** Builds the controller; what it plays to and records from is opened here. */
export const buildHda: DeviceBuilder = async (context, _where, variables) => {
  const { play, rec } = readSettings(HDA_OPTIONS, (name) => variables.get(name));
  const open = async (direction: 'play' | 'record', path: string | undefined): Promise<AudioBackend | undefined> => {
    if (path === undefined) return undefined;
    try {
      return await context.open('audio', { direction, path });
    } catch (error) {
      if (!(error instanceof NoBackendError)) throw error;
      context.log(`hda: nothing here ${direction === 'play' ? 'plays' : 'records'} sound`);
      return undefined;
    }
  };
  const backends = { play: await open('play', play), record: await open('record', rec) };
  return new Hda(context, backends, play !== undefined, rec !== undefined);
};
