/** Device memory without a core: the test says which pages the guest has stored to. */
import { DEVICE_RAM_PAGE_BYTES, pageRanges, type DeviceRam, type PageRange } from '../../devices/bus/device-ram.ts';

export class FakeDeviceRam implements DeviceRam {
  readonly bytes: Uint8Array;
  gpa: number | undefined;
  readonly #dirty = new Set<number>();

  constructor(lengthBytes: number) {
    this.bytes = new Uint8Array(new SharedArrayBuffer(lengthBytes));
    for (let page = 0; page < lengthBytes / DEVICE_RAM_PAGE_BYTES; page++) this.#dirty.add(page);
  }

  map(gpa: number | undefined): void {
    this.gpa = gpa;
  }

  /** What a store of the guest does. */
  store(offset: number, bytes: Uint8Array): void {
    this.bytes.set(bytes, offset);
    const last = Math.floor((offset + bytes.length - 1) / DEVICE_RAM_PAGE_BYTES);
    for (let page = Math.floor(offset / DEVICE_RAM_PAGE_BYTES); page <= last; page++) this.#dirty.add(page);
  }

  takeDirty(): PageRange[] {
    const pages = [...this.#dirty].sort((a, b) => a - b);
    this.#dirty.clear();
    return pageRanges(pages);
  }
}
