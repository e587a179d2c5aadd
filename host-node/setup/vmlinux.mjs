/** The kernel proper out of a bzImage (Linux, Documentation/arch/x86/boot.rst): an ELF file, which a PVH loader starts directly. */
import { gunzipSync } from 'node:zlib';
import { runCaptured, SetupError } from './common.mjs';

const SETUP_SECTORS = 0x1f1;
const HEADER_MAGIC = 0x202;
const PAYLOAD_OFFSET = 0x248;
const PAYLOAD_LENGTH = 0x24c;
const SECTOR = 512;

/** Compressors by their magic; the payload ends with the length of what it holds, except for gzip, whose format says so itself. */
const FORMATS = [
  { magic: [0xfd, 0x37, 0x7a, 0x58], command: ['xz', '-dc', '--single-stream'] },
  { magic: [0x28, 0xb5, 0x2f, 0xfd], command: ['zstd', '-dcq'] },
  { magic: [0x02, 0x21, 0x4c, 0x18], command: ['lz4', '-dcq'] },
  { magic: [0x1f, 0x8b], command: undefined },
];

export function uncompressedKernel(bzImage) {
  if (bzImage.toString('latin1', HEADER_MAGIC, HEADER_MAGIC + 4) !== 'HdrS') throw new SetupError('not a bzImage');
  const start = ((bzImage[SETUP_SECTORS] || 4) + 1) * SECTOR + bzImage.readUInt32LE(PAYLOAD_OFFSET);
  const payload = bzImage.subarray(start, start + bzImage.readUInt32LE(PAYLOAD_LENGTH));
  const format = FORMATS.find(({ magic }) => magic.every((byte, index) => payload[index] === byte));
  if (!format) throw new SetupError('the kernel is compressed in a way that this program does not know');
  let kernel;
  if (format.command === undefined) kernel = gunzipSync(payload);
  else {
    const [command, ...args] = format.command;
    const input = payload.subarray(0, payload.length - 4);
    const { status, stdout } = runCaptured(command, args, { input, stdio: ['pipe', 'pipe', 'pipe'] });
    if (status !== 0)
      throw new SetupError(`the kernel cannot be unpacked: the program ${command} is missing or failed`);
    kernel = stdout;
  }
  if (kernel.readUInt32BE(0) !== 0x7f454c46) throw new SetupError('the bzImage holds no ELF kernel');
  return kernel;
}
