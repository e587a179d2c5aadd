/** ISO 9660 (ECMA-119) with the names of Rock Ridge (IEEE P1282), for reading. */
import { ImageError, imageFiles, MAX_FILE_BYTES, type ImageFiles, type ImageNode, type ReadRange } from './image.ts';

const SECTOR_BYTES = 2048;
const FIRST_DESCRIPTOR = 16;
const MAX_DESCRIPTORS = 16;
const DESCRIPTOR_PRIMARY = 1;
const DESCRIPTOR_END = 255;
const ROOT_RECORD = 156;
const FLAG_DIRECTORY = 2;
const RECORD_HEADER_BYTES = 33;
const MAX_CONTINUATIONS = 32;

const latin = (bytes: Uint8Array): string => String.fromCharCode(...bytes);

/** A directory record (ECMA-119, 9.1). */
class IsoNode implements ImageNode {
  readonly #extent: number;
  readonly #sizeBytes: number;
  readonly #isDirectory: boolean;

  constructor(
    private readonly readRange: ReadRange,
    record: Uint8Array,
    private readonly linkTarget: string | undefined,
  ) {
    const view = new DataView(record.buffer, record.byteOffset, record.byteLength);
    this.#extent = view.getUint32(2, true);
    this.#sizeBytes = view.getUint32(10, true);
    this.#isDirectory = (view.getUint8(25) & FLAG_DIRECTORY) !== 0;
  }

  get type(): ImageNode['type'] {
    if (this.linkTarget !== undefined) return 'link';
    return this.#isDirectory ? 'directory' : 'file';
  }

  contents(): Promise<Uint8Array> {
    if (this.linkTarget !== undefined) return Promise.resolve(new TextEncoder().encode(this.linkTarget));
    if (this.#sizeBytes > MAX_FILE_BYTES)
      throw new ImageError('A file of the ISO 9660 image is too large for a loader.');
    return this.readRange(this.#extent * SECTOR_BYTES, this.#sizeBytes);
  }

  async #entries(): Promise<Map<string, IsoNode>> {
    const entries = new Map<string, IsoNode>();
    const bytes = await this.contents();
    for (let at = 0; at < bytes.length;) {
      const length = bytes[at] ?? 0;
      if (length === 0) {
        // Records do not cross sectors: the next one begins the next sector.
        at = (Math.floor(at / SECTOR_BYTES) + 1) * SECTOR_BYTES;
        continue;
      }
      const nameBytes = bytes[at + 32] ?? 0;
      if (length < RECORD_HEADER_BYTES + nameBytes || at + length > bytes.length) {
        throw new ImageError('A directory of the ISO 9660 image is damaged.');
      }
      const record = bytes.subarray(at, at + length);
      at += length;
      const plain = latin(record.subarray(RECORD_HEADER_BYTES, RECORD_HEADER_BYTES + nameBytes));
      if (plain === '\0' || plain === '\u0001') continue;
      const systemUse = record.subarray(RECORD_HEADER_BYTES + nameBytes + (nameBytes % 2 === 0 ? 1 : 0));
      const { name, target } = await rockRidge(this.readRange, systemUse);
      entries.set(
        name ?? plain.replace(/;\d+$/, '').replace(/\.$/, '').toLowerCase(),
        new IsoNode(this.readRange, record, target),
      );
    }
    return entries;
  }

  async child(name: string): Promise<ImageNode | undefined> {
    return (await this.#entries()).get(name);
  }

  async names(): Promise<string[]> {
    return [...(await this.#entries()).keys()].sort();
  }
}

/** The name (NM) and the target of a symbolic link (SL) that Rock Ridge gives a record; a part may lie elsewhere (CE). */
async function rockRidge(
  readRange: ReadRange,
  systemUse: Uint8Array,
): Promise<{ readonly name: string | undefined; readonly target: string | undefined }> {
  let name: string | undefined;
  let target: string | undefined;
  let area: Uint8Array | undefined = systemUse;
  for (let count = 0; area && count < MAX_CONTINUATIONS; count++) {
    let next: Uint8Array | undefined;
    for (let at: number = 0; at + 4 <= area.length;) {
      const length: number = area[at + 2] ?? 0;
      if (length < 4 || at + length > area.length) break;
      const entry: Uint8Array = area.subarray(at, at + length);
      const signature = latin(entry.subarray(0, 2));
      if (signature === 'NM' && length > 5) name = (name ?? '') + new TextDecoder().decode(entry.subarray(5));
      else if (signature === 'SL' && length > 5) target = (target ?? '') + linkComponents(entry.subarray(5));
      else if (signature === 'CE' && length >= 28) {
        const view = new DataView(entry.buffer, entry.byteOffset, entry.byteLength);
        next = await readRange(
          view.getUint32(4, true) * SECTOR_BYTES + view.getUint32(12, true),
          Math.min(view.getUint32(20, true), SECTOR_BYTES),
        );
      }
      at += length;
    }
    area = next;
  }
  return { name, target: target?.replace(/(?<=.)\/$/, '') };
}

/** Components of a link: flags, length, text; each but the root ends with a slash here. */
function linkComponents(bytes: Uint8Array): string {
  let text = '';
  for (let at = 0; at + 2 <= bytes.length;) {
    const flags = bytes[at] ?? 0;
    const length = bytes[at + 1] ?? 0;
    if (flags & 8) text = '/';
    else if (flags & 4) text += '../';
    else if (flags & 2) text += './';
    else text += `${new TextDecoder().decode(bytes.subarray(at + 2, at + 2 + length))}${flags & 1 ? '' : '/'}`;
    at += 2 + length;
  }
  return text;
}

/** The file system, if there is an ISO 9660 one. */
export async function openIso9660(readRange: ReadRange): Promise<ImageFiles | undefined> {
  for (let index = 0; index < MAX_DESCRIPTORS; index++) {
    const sector = await readRange((FIRST_DESCRIPTOR + index) * SECTOR_BYTES, SECTOR_BYTES).catch(() => undefined);
    if (!sector || latin(sector.subarray(1, 6)) !== 'CD001' || sector[0] === DESCRIPTOR_END) return undefined;
    if (sector[0] !== DESCRIPTOR_PRIMARY) continue;
    return imageFiles('ISO 9660', new IsoNode(readRange, sector.subarray(ROOT_RECORD, ROOT_RECORD + 34), undefined));
  }
  return undefined;
}
