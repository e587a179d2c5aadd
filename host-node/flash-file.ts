/** A file of a boot ROM's variables. It is written as soon as the guest writes, so that nothing is lost with this process. */
import { writeSync } from 'node:fs';
import { open } from 'node:fs/promises';
import type { FlashStore } from '../devices/firmware/variable-flash.ts';

/** Opens a file for reading and writing. Rejects with the error of the call that failed. */
export async function openFlashFile(path: string): Promise<FlashStore> {
  const handle = await open(path, 'r+');
  const { size } = await handle.stat();
  let closed = false;
  return {
    lengthBytes: size,
    async read() {
      const bytes = new Uint8Array(size);
      for (let done = 0; done < size;) {
        const { bytesRead } = await handle.read(bytes, done, size - done, done);
        if (bytesRead === 0) break;
        done += bytesRead;
      }
      return bytes;
    },
    write(offset, bytes) {
      // In the system's hands, like a store to bhyve's shared mapping: the guest may read it back with the next instruction.
      for (let done = 0; done < bytes.length;) {
        done += writeSync(handle.fd, bytes, done, bytes.length - done, offset + done);
      }
    },
    async close() {
      if (closed) return;
      closed = true;
      await handle.close();
    },
  };
}
