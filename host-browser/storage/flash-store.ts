/** Where a boot ROM's variables (`-l bootrom,ROM,VARS`) are kept in a page. */
import type { FlashStore } from '../../devices/firmware/variable-flash.ts';
import { parseOpfsName, type FileSpace } from './file-space.ts';
import { explainQuota, openOpfsFile, readViews, writeViews } from './opfs.ts';

/** Changes go with the machine. */
function memoryStore(bytes: Uint8Array): FlashStore {
  return {
    lengthBytes: bytes.length,
    read: () => Promise.resolve(bytes.slice()),
    write: (offset, changed) => bytes.set(changed, offset),
    close: () => Promise.resolve(),
  };
}

/**
 * Opens the file of a boot ROM's variables: `opfs:NAME` is kept by this browser, `opfs:NAME?base=URL` too and begins as a copy of what the address
 * gives; of every other name the changes go with the machine. Rejects with a message for the user.
 */
export async function openFlashStore(
  path: string,
  files: FileSpace,
  message: (text: string) => void,
): Promise<FlashStore> {
  const opfs = parseOpfsName(path);
  if (!opfs) {
    const bytes = await files.readFile(path);
    message(`${path}: changes of the variables stay in memory and go with the machine`);
    return memoryStore(bytes);
  }
  const handle = await openOpfsFile(opfs.name, opfs.base !== undefined);
  try {
    if (opfs.base !== undefined && handle.getSize() === 0) {
      writeViews(handle, 0, [await files.readFile(opfs.base)]);
      handle.flush();
    }
  } catch (error) {
    // What was begun must not pass for a whole file the next time.
    handle.truncate(0);
    handle.close();
    throw await explainQuota(opfs.name, error);
  }
  const lengthBytes = handle.getSize();
  let closed = false;
  return {
    lengthBytes,
    read() {
      const bytes = new Uint8Array(lengthBytes);
      readViews(handle, 0, [bytes]);
      return Promise.resolve(bytes);
    },
    write(offset, bytes) {
      // In the browser's hands: it outlives this tab.
      if (!closed) writeViews(handle, offset, [bytes]);
    },
    close() {
      if (!closed) {
        closed = true;
        handle.flush();
        handle.close();
      }
      return Promise.resolve();
    },
  };
}
