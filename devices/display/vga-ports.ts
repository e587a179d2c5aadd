/**
 * The ports of a VGA without a picture (IBM VGA, 0x3C0 to 0x3DF): registers that hold what they are given, for guests that look for a VGA and
 * then use the framebuffer.
 */
import type { AccessSize, PortBus, PortHandler } from '../bus/port-bus.ts';
import type { StateFields } from '../platform/state-fields.ts';
import type { StateValue } from '../snapshot.ts';

export const VGA_FIRST_PORT = 0x3c0;
export const VGA_PORT_COUNT = 0x20;

const ATTRIBUTE = 0x3c0;
const ATTRIBUTE_READ = 0x3c1;
const MISC_WRITE = 0x3c2;
const SEQUENCER_INDEX = 0x3c4;
const SEQUENCER_DATA = 0x3c5;
const DAC_MASK = 0x3c6;
const DAC_READ_INDEX = 0x3c7;
const DAC_WRITE_INDEX = 0x3c8;
const DAC_DATA = 0x3c9;
const MISC_READ = 0x3cc;
const GRAPHICS_INDEX = 0x3ce;
const GRAPHICS_DATA = 0x3cf;
const CRTC_INDEX = 0x3d4;
const CRTC_DATA = 0x3d5;
const STATUS = 0x3da;

/** Vertical and horizontal retrace, as bhyve has it: always. */
const IN_RETRACE = 0x09;
const ATTRIBUTE_INDEX_MASK = 0x1f;
const DAC_BYTES = 256 * 3;
const DAC_LEVEL_MASK = 0x3f;

export class VgaPorts implements PortHandler {
  readonly #attributes = new Uint8Array(32);
  readonly #sequencer = new Uint8Array(256);
  readonly #graphics = new Uint8Array(256);
  readonly #crtc = new Uint8Array(256);
  readonly #dac = new Uint8Array(DAC_BYTES);
  #attributeIndex = 0;
  /** The next write to the attribute port is data. */
  #attributeData = false;
  #misc = 0;
  #sequencerIndex = 0;
  #graphicsIndex = 0;
  #crtcIndex = 0;
  #dacMask = 0xff;
  #dacRead = 0;
  #dacWrite = 0;

  constructor(ports: PortBus) {
    ports.claim('fbuf vga', VGA_FIRST_PORT, VGA_PORT_COUNT, this);
  }

  readPort(port: number, size: AccessSize): number {
    let value = 0;
    for (let i = 0; i < size; i++) value |= this.#read(port + i) << (8 * i);
    return value >>> 0;
  }

  writePort(port: number, size: AccessSize, value: number): void {
    for (let i = 0; i < size; i++) this.#write(port + i, (value >>> (8 * i)) & 0xff);
  }

  #read(port: number): number {
    switch (port) {
      case ATTRIBUTE:
        return this.#attributeIndex;
      case ATTRIBUTE_READ:
        return this.#attributes[this.#attributeIndex & ATTRIBUTE_INDEX_MASK] ?? 0;
      case SEQUENCER_INDEX:
        return this.#sequencerIndex;
      case SEQUENCER_DATA:
        return this.#sequencer[this.#sequencerIndex] ?? 0;
      case DAC_MASK:
        return this.#dacMask;
      case DAC_READ_INDEX:
        return 0;
      case DAC_WRITE_INDEX:
        return Math.floor(this.#dacWrite / 3);
      case DAC_DATA: {
        const level = this.#dac[this.#dacRead] ?? 0;
        this.#dacRead = (this.#dacRead + 1) % DAC_BYTES;
        return level;
      }
      case MISC_READ:
        return this.#misc;
      case GRAPHICS_INDEX:
        return this.#graphicsIndex;
      case GRAPHICS_DATA:
        return this.#graphics[this.#graphicsIndex] ?? 0;
      case CRTC_INDEX:
        return this.#crtcIndex;
      case CRTC_DATA:
        return this.#crtc[this.#crtcIndex] ?? 0;
      case STATUS:
        this.#attributeData = false;
        return IN_RETRACE;
      default:
        return 0;
    }
  }

  #write(port: number, value: number): void {
    switch (port) {
      case ATTRIBUTE:
        if (this.#attributeData) this.#attributes[this.#attributeIndex & ATTRIBUTE_INDEX_MASK] = value;
        else this.#attributeIndex = value;
        this.#attributeData = !this.#attributeData;
        break;
      case MISC_WRITE:
        this.#misc = value;
        break;
      case SEQUENCER_INDEX:
        this.#sequencerIndex = value;
        break;
      case SEQUENCER_DATA:
        this.#sequencer[this.#sequencerIndex] = value;
        break;
      case DAC_MASK:
        this.#dacMask = value;
        break;
      case DAC_READ_INDEX:
        this.#dacRead = value * 3;
        break;
      case DAC_WRITE_INDEX:
        this.#dacWrite = value * 3;
        break;
      case DAC_DATA:
        this.#dac[this.#dacWrite] = value & DAC_LEVEL_MASK;
        this.#dacWrite = (this.#dacWrite + 1) % DAC_BYTES;
        break;
      case GRAPHICS_INDEX:
        this.#graphicsIndex = value;
        break;
      case GRAPHICS_DATA:
        this.#graphics[this.#graphicsIndex] = value;
        break;
      case CRTC_INDEX:
        this.#crtcIndex = value;
        break;
      case CRTC_DATA:
        this.#crtc[this.#crtcIndex] = value;
        break;
    }
  }

  reset(): void {
    for (const registers of [this.#attributes, this.#sequencer, this.#graphics, this.#crtc, this.#dac])
      registers.fill(0);
    this.#setScalars([0, 0, 0, 0, 0, 0, 0xff, 0, 0]);
  }

  #scalars(): number[] {
    return [
      this.#attributeIndex,
      this.#attributeData ? 1 : 0,
      this.#misc,
      this.#sequencerIndex,
      this.#graphicsIndex,
      this.#crtcIndex,
      this.#dacMask,
      this.#dacRead,
      this.#dacWrite,
    ];
  }

  #setScalars(values: readonly number[]): void {
    const [attributeIndex = 0, attributeData = 0, misc = 0, sequencer = 0, graphics = 0, crtc = 0, ...dac] = values;
    const [mask = 0xff, read = 0, write = 0] = dac;
    this.#attributeIndex = attributeIndex & 0xff;
    this.#attributeData = attributeData !== 0;
    this.#misc = misc & 0xff;
    this.#sequencerIndex = sequencer & 0xff;
    this.#graphicsIndex = graphics & 0xff;
    this.#crtcIndex = crtc & 0xff;
    this.#dacMask = mask & 0xff;
    this.#dacRead = read % DAC_BYTES;
    this.#dacWrite = write % DAC_BYTES;
  }

  save(): { readonly [field: string]: StateValue } {
    return {
      attributes: this.#attributes.slice(),
      sequencer: this.#sequencer.slice(),
      graphics: this.#graphics.slice(),
      crtc: this.#crtc.slice(),
      dac: this.#dac.slice(),
      scalars: this.#scalars(),
    };
  }

  prepareRestore(fields: StateFields): () => void {
    const arrays = [
      [this.#attributes, fields.bytes('attributes', 32)],
      [this.#sequencer, fields.bytes('sequencer', 256)],
      [this.#graphics, fields.bytes('graphics', 256)],
      [this.#crtc, fields.bytes('crtc', 256)],
      [this.#dac, fields.bytes('dac', DAC_BYTES)],
    ] as const;
    const scalars = fields.integers('scalars', 9, DAC_BYTES);
    return () => {
      for (const [registers, saved] of arrays) registers.set(saved);
      this.#setScalars(scalars);
    };
  }
}
