/**
 * The test device `dummy` (10DD:0001): BAR0 has eight bytes of ports, BAR1 and BAR2 a page of memory each. A dword written to
 * port 4 raises the MSI message it names; a certain value written to any port raises them all.
 */
import type { AccessSize } from '../bus/port-bus.ts';
import type { StateFields } from '../platform/state-fields.ts';
import type { StateValue } from '../snapshot.ts';
import type { DeviceBuilder } from '../device-context.ts';
import { PciFunction } from './function.ts';

const PORT_BYTES = 8;
const MEMORY_BYTES = 4096;
const MSI_MESSAGES = 4;
const ALL_MESSAGES = 0xabcdef;

export class DummyDevice extends PciFunction {
  /** Contents of BAR0, BAR1 and BAR2. */
  readonly #contents = [new Uint8Array(PORT_BYTES), new Uint8Array(MEMORY_BYTES), new Uint8Array(MEMORY_BYTES)];

  constructor() {
    super('dummy', { vendorId: 0x10dd, deviceId: 0x0001, classCode: 0x02, subclass: 0x00 });
    this.addMsi(MSI_MESSAGES);
    this.addBar(0, 'io', PORT_BYTES);
    this.addBar(1, 'mem32', MEMORY_BYTES);
    this.addBar(2, 'mem32', MEMORY_BYTES);
  }

  protected override readBar(index: number, offset: number, size: AccessSize): number {
    const bytes = this.#contents[index];
    let value = 0;
    for (let i = 0; i < size; i++) value |= (bytes?.[offset + i] ?? 0xff) << (8 * i);
    return value >>> 0;
  }

  protected override writeBar(index: number, offset: number, size: AccessSize, value: number): void {
    const bytes = this.#contents[index];
    if (!bytes) return;
    for (let i = 0; i < size; i++) bytes[offset + i] = value >>> (8 * i);
    if (index !== 0 || !this.msiEnabled) return;
    if (offset === 4 && size === 4) this.raiseMsi(value % this.msiMessageCount);
    if (value === ALL_MESSAGES) for (let message = 0; message < this.msiMessageCount; message++) this.raiseMsi(message);
  }

  protected override resetDevice(): void {
    for (const bytes of this.#contents) bytes.fill(0);
  }

  protected override saveDevice(): { readonly [field: string]: StateValue } {
    return { contents: this.#contents.map((bytes) => ({ bytes: bytes.slice() })) };
  }

  protected override prepareDeviceRestore(fields: StateFields): () => void {
    const saved = fields.groups('contents', this.#contents.length);
    const images = this.#contents.map((bytes, index) => saved[index]?.bytes('bytes', bytes.length) ?? bytes);
    return () => this.#contents.forEach((bytes, index) => bytes.set(images[index] ?? bytes));
  }
}

export const buildDummy: DeviceBuilder = () => new DummyDevice();
