/** A boot ROM image in the last part of the 32-bit address space (bhyve(8): -l bootrom). */
import { CHUNKS, CHUNK_RAM, CHUNK_READONLY, CHUNK_SIZE } from '../../core-as/layout.ts';
import type { CoreExports, CoreState } from './core.ts';

const FOUR_GIB = 0x1_0000_0000;
const PAGE_BYTES = 4096;
export const MAX_ROM_BYTES = 16 * 1024 * 1024;

export class BootRomError extends Error {
  override readonly name = 'BootRomError';
}

/** Checks the size as bhyve does. */
export function checkBootRom(path: string, rom: Uint8Array): void {
  if (rom.length % PAGE_BYTES !== 0) {
    throw new BootRomError(`ROM size ${rom.length} is not a multiple of the page size`);
  }
  if (rom.length < PAGE_BYTES || rom.length > MAX_ROM_BYTES) {
    throw new BootRomError(`ROM size ${rom.length} is invalid (${path})`);
  }
}

/** Chunks of the RAM pool that a ROM takes. */
export function bootRomChunks(romBytes: number): number {
  return Math.ceil(romBytes / CHUNK_SIZE);
}

/** Maps the ROM so that its last byte is at 0xFFFFFFFF. Guest writes go to the MMIO door, where nothing answers. */
export function mapBootRom(state: CoreState, exports: Pick<CoreExports, 'commitChunk'>, rom: Uint8Array): void {
  const firstChunk = (FOUR_GIB - bootRomChunks(rom.length) * CHUNK_SIZE) / CHUNK_SIZE;
  let at = rom.length - (FOUR_GIB - firstChunk * CHUNK_SIZE);
  for (let chunk = firstChunk; chunk < FOUR_GIB / CHUNK_SIZE; chunk++, at += CHUNK_SIZE) {
    state.setU32(CHUNKS + chunk * 4, CHUNK_RAM);
    const linear = exports.commitChunk(chunk) >>> 0;
    if (linear === 0) throw new BootRomError('no memory for the boot ROM');
    const view = new Uint8Array(state.memory.buffer, linear, CHUNK_SIZE);
    view.fill(0xff);
    const from = Math.max(0, at);
    view.set(rom.subarray(from, at + CHUNK_SIZE), from - at);
    state.setU32(CHUNKS + chunk * 4, state.u32(CHUNKS + chunk * 4) | CHUNK_READONLY);
  }
}
