/** bhyve's `fbuf`: a linear framebuffer behind a PCI BAR, and a few registers that say its size. */
import type { DisplayBackend } from '../backends/display.ts';
import { NoBackendError } from '../backends/kinds.ts';
import type { DeviceRam, PageRange } from '../bus/device-ram.ts';
import { allOnes, type AccessSize } from '../bus/port-bus.ts';
import { FBUF_OPTIONS } from '../config/declarations/desktop.ts';
import { readSettings } from '../config/settings-of.ts';
import type { DeviceBuilder, DeviceContext } from '../device-context.ts';
import type { Counters } from '../device.ts';
import { PciFunction } from '../pci/function.ts';
import type { StateFields } from '../platform/state-fields.ts';
import type { StateValue } from '../snapshot.ts';
import { Display, type Framebuffer } from './display.ts';
import { VgaPorts } from './vga-ports.ts';

const PCI_IDENTITY = { vendorId: 0xfb5d, deviceId: 0x40fb, classCode: 0x03, subclass: 0x00 } as const;

const REGISTERS_BAR = 0;
const FRAMEBUFFER_BAR = 1;
/** As in version 15 of bhyve: room for 3840 by 2160 pixels. */
export const FRAMEBUFFER_BYTES = 32 * 1024 * 1024;

/** Registers, little-endian; the guest may write any of them. */
const REGISTER_BYTES = 128;
const REG_SIZE = 0x00;
const REG_WIDTH = 0x04;
const REG_HEIGHT = 0x06;
const REG_DEPTH = 0x08;
const REG_REFRESH_RATE = 0x0a;
const DEPTH_BITS = 32;

export interface FbufOptions {
  readonly width: number;
  readonly height: number;
  /** The legacy VGA ports answer. */
  readonly vga: boolean;
}

export class Fbuf extends PciFunction implements Framebuffer {
  readonly display: Display;
  readonly pixels: Uint32Array;
  readonly #registers = new DataView(new ArrayBuffer(REGISTER_BYTES));
  readonly #ram: DeviceRam;
  readonly #options: FbufOptions;
  readonly #vga: VgaPorts | undefined;
  #backend: DisplayBackend | undefined;

  constructor(context: DeviceContext, options: FbufOptions) {
    super('fbuf', PCI_IDENTITY);
    this.#options = options;
    this.#ram = context.allocateRam(FRAMEBUFFER_BYTES);
    const { buffer, byteOffset, byteLength } = this.#ram.bytes;
    this.pixels = new Uint32Array(buffer, byteOffset, byteLength / 4);
    this.addBar(REGISTERS_BAR, 'mem32', REGISTER_BYTES);
    this.addRamBar(FRAMEBUFFER_BAR, this.#ram);
    this.addMsi(4);
    this.#vga = options.vga ? new VgaPorts(context.ports) : undefined;
    this.#setRegisters();
    this.display = new Display(this, context.input);
  }

  /** Shows the display with this backend from now on. */
  show(backend: DisplayBackend): void {
    this.#backend = backend;
    backend.show(this.display);
  }

  get width(): number {
    return this.#registers.getUint16(REG_WIDTH, true);
  }

  get height(): number {
    return this.#registers.getUint16(REG_HEIGHT, true);
  }

  takeDirty(): PageRange[] {
    return this.#ram.takeDirty();
  }

  #setRegisters(): void {
    new Uint8Array(this.#registers.buffer).fill(0);
    this.#registers.setUint32(REG_SIZE, FRAMEBUFFER_BYTES, true);
    this.#registers.setUint16(REG_WIDTH, this.#options.width, true);
    this.#registers.setUint16(REG_HEIGHT, this.#options.height, true);
    this.#registers.setUint16(REG_DEPTH, DEPTH_BITS, true);
    this.#registers.setUint16(REG_REFRESH_RATE, 0, true);
  }

  protected override readBar(index: number, offset: number, size: AccessSize): number {
    if (index !== REGISTERS_BAR) return this.#readPixels(offset, size);
    switch (size) {
      case 1:
        return this.#registers.getUint8(offset);
      case 2:
        return this.#registers.getUint16(offset, true);
      default:
        return this.#registers.getUint32(offset, true);
    }
  }

  protected override writeBar(index: number, offset: number, size: AccessSize, value: number): void {
    if (index !== REGISTERS_BAR) {
      this.#writePixels(offset, size, value);
      return;
    }
    switch (size) {
      case 1:
        this.#registers.setUint8(offset, value);
        break;
      case 2:
        this.#registers.setUint16(offset, value, true);
        break;
      default:
        this.#registers.setUint32(offset, value, true);
    }
  }

  // Where the guest has mapped the framebuffer as RAM nothing comes here; it may also have put it beyond what can be mapped.

  #readPixels(offset: number, size: AccessSize): number {
    let value = 0;
    for (let i = 0; i < size; i++) value |= (this.#ram.bytes[offset + i] ?? 0) << (8 * i);
    return (value & allOnes(size)) >>> 0;
  }

  #writePixels(offset: number, size: AccessSize, value: number): void {
    for (let i = 0; i < size; i++) this.#ram.bytes[offset + i] = value >>> (8 * i);
    this.display.touched(offset, size);
  }

  protected override startDevice(): void {
    // A snapshot may have been put in place since the picture was made.
    this.display.replaced();
  }

  protected override resetDevice(): void {
    this.#setRegisters();
    this.#vga?.reset();
    this.#ram.bytes.fill(0);
    this.display.replaced();
  }

  protected override async closeDevice(): Promise<void> {
    this.display.close();
    await this.#backend?.close();
  }

  protected override deviceCounters(): Counters {
    return { viewers: this.display.viewCount };
  }

  protected override saveDevice(): { readonly [field: string]: StateValue } {
    // The framebuffer itself is saved with the machine's memory.
    return { registers: new Uint8Array(this.#registers.buffer.slice(0)), vga: this.#vga?.save() ?? {} };
  }

  protected override prepareDeviceRestore(fields: StateFields): () => void {
    const registers = fields.bytes('registers', REGISTER_BYTES);
    const restoreVga = this.#vga?.prepareRestore(fields.group('vga'));
    return () => {
      new Uint8Array(this.#registers.buffer).set(registers);
      restoreVga?.();
      this.display.replaced();
    };
  }
}

/** Builds the framebuffer and opens what shows it. */
export const buildFbuf: DeviceBuilder = async (context, _where, variables) => {
  const { rfb, tcp, w, h, vga, wait, password, viewers, web } = readSettings(FBUF_OPTIONS, (name) =>
    variables.get(name),
  );
  // rfb comes first, but its default does not.
  const address = variables.get('rfb') === undefined && tcp ? tcp : rfb;
  const device = new Fbuf(context, { width: w, height: h, vga: vga === 'io' });
  context.addDisplay(device.display);
  let backend: DisplayBackend | undefined;
  try {
    backend = await context.open('display', { rfb: address, web, password, viewers });
  } catch (error) {
    // A machine without viewers still has machine.display.
    if (!(error instanceof NoBackendError)) throw error;
  }
  if (!backend) return device;
  device.show(backend);
  if (wait) context.holdStart(backend.firstViewer);
  return device;
};
