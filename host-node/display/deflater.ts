/** Stream compression for RFB clients, on the thread pool. */
import { constants, createDeflate } from 'node:zlib';
import type { Deflater } from '../../devices/display/rfb/update-writer.ts';

/** One continuous zlib stream, at the speed that bhyve compresses with. */
export function createDeflater(): Deflater {
  const stream = createDeflate({ level: constants.Z_BEST_SPEED, flush: constants.Z_SYNC_FLUSH });
  let parts: Buffer[] = [];
  const collect = (): void => {
    for (let part = stream.read() as Buffer | null; part !== null; part = stream.read() as Buffer | null)
      parts.push(part);
  };
  // The stream waits for its reader when a piece gives more than it keeps.
  stream.on('readable', collect);
  stream.on('error', () => undefined);
  return {
    deflate: (bytes) =>
      new Promise((resolve, reject) => {
        stream.write(bytes, (error) => {
          if (error) {
            reject(error);
            return;
          }
          collect();
          const whole = Buffer.concat(parts);
          parts = [];
          resolve(whole);
        });
      }),
    close: () => stream.destroy(),
  };
}
