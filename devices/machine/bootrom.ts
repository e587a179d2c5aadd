/** A boot ROM image in the last part of the 32-bit address space, and the flash chip below it (bhyve(8): -l bootrom). */
import { CFG_ROM_BYTES, CHUNKS, CHUNK_RAM, CHUNK_READONLY, CHUNK_SIZE } from '../../core-as/layout.ts';
import type { MmioBus } from '../bus/mmio-bus.ts';
import { BhyveExit, errnoText, type ConfigTree, type MachineSettings } from '../config/index.ts';
import { VariableFlash, type FlashStore } from '../firmware/variable-flash.ts';
import type { CoreExports, CoreState } from './core.ts';
import type { MachineHost } from './host.ts';

const EXIT_ERROR = 4;
const FOUR_GIB = 0x1_0000_0000;
const PAGE_BYTES = 4096;
/** Image and variables together. */
const MAX_ROM_BYTES = 16 * 1024 * 1024;

export interface BootRom {
  readonly image: Uint8Array;
  readonly variables: { readonly store: FlashStore; readonly contents: Uint8Array } | undefined;
}

function refusal(line: string): BhyveExit {
  return new BhyveExit(EXIT_ERROR, `${line}\n`);
}

/** Checks the sizes as bhyve does and in its order; `variableBytes` is undefined without variables. */
function checkSizes(tree: ConfigTree, romBytes: number, variableBytes: number | undefined): void {
  if (variableBytes !== undefined && (variableBytes > MAX_ROM_BYTES || variableBytes < PAGE_BYTES)) {
    throw refusal(`Invalid bootrom variable size ${variableBytes}`);
  }
  const totalBytes = romBytes + (variableBytes ?? 0);
  if (totalBytes > MAX_ROM_BYTES) throw refusal(`Invalid bootrom and variable aggregate size ${totalBytes}`);
  if (romBytes === 0) throw tree.exit(`ROM size ${romBytes} is invalid`);
  if (romBytes % PAGE_BYTES !== 0) throw tree.exit(`ROM size ${romBytes} is not a multiple of the page size`);
}

/** Reads the boot ROM and opens its variables, which the caller closes; undefined when none is configured. Exits as bhyve does. */
export async function loadBootRom(
  tree: ConfigTree,
  { bootrom, bootvars }: MachineSettings['lpc'],
  host: MachineHost,
): Promise<BootRom | undefined> {
  if (bootrom === undefined) return undefined;
  const image = await host.readFile(bootrom).catch((error: unknown) => {
    throw refusal(`Error opening bootrom "${bootrom}": ${errnoText(error)}`);
  });
  const store = bootvars === undefined ? undefined : await openVariables(bootvars, host);
  try {
    checkSizes(tree, image.length, store?.lengthBytes);
    return { image, variables: store && { store, contents: await store.read() } };
  } catch (error) {
    await store?.close();
    throw error;
  }
}

async function openVariables(path: string, host: MachineHost): Promise<FlashStore> {
  if (!host.openFlash) throw refusal(`bootvars: nothing here can keep "${path}"`);
  try {
    return await host.openFlash(path);
  } catch (error) {
    throw refusal(`Error opening bootrom variable file "${path}": ${errnoText(error)}`);
  }
}

/** Chunks of the RAM pool that a ROM takes. */
export function bootRomChunks(rom: BootRom | undefined): number {
  return Math.ceil((rom?.image.length ?? 0) / CHUNK_SIZE);
}

/** Maps the image so that its last byte is at 0xFFFFFFFF. Guest writes go to the MMIO door, where nothing answers. */
export function mapBootRom(state: CoreState, exports: Pick<CoreExports, 'commitChunk'>, rom: BootRom): void {
  const { image } = rom;
  const firstChunk = (FOUR_GIB - bootRomChunks(rom) * CHUNK_SIZE) / CHUNK_SIZE;
  let at = image.length - (FOUR_GIB - firstChunk * CHUNK_SIZE);
  for (let chunk = firstChunk; chunk < FOUR_GIB / CHUNK_SIZE; chunk++, at += CHUNK_SIZE) {
    state.setU32(CHUNKS + chunk * 4, CHUNK_RAM);
    const linear = exports.commitChunk(chunk) >>> 0;
    if (linear === 0) throw refusal('no memory for the boot ROM');
    const view = new Uint8Array(state.memory.buffer, linear, CHUNK_SIZE);
    const from = Math.max(0, at);
    view.set(image.subarray(from, at + CHUNK_SIZE), from - at);
    state.setU32(CHUNKS + chunk * 4, state.u32(CHUNKS + chunk * 4) | CHUNK_READONLY);
  }
  // What the image leaves of its lowest chunk belongs to the MMIO door.
  state.setU32(CFG_ROM_BYTES, image.length);
}

/** The flash chip directly below the image, when there are variables. Exits when another device has the place. */
export function plugVariables(mmio: MmioBus, { image, variables }: BootRom): VariableFlash | undefined {
  if (!variables) return undefined;
  try {
    return new VariableFlash(mmio, variables.store, variables.contents, FOUR_GIB - image.length);
  } catch (error) {
    throw refusal(error instanceof Error ? error.message : String(error));
  }
}
