/** A web server of this host's loopback for long transfers: it gives a stream of known MD5, and answers a PUT with the MD5 of what came. */
import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

const CHUNK = Buffer.alloc(1_000_000, 'webhyve-network\n');
const NUMBER_DIGITS = 15;

/** The same line again and again, numbered by the million, so that no two chunks are alike. */
function* bulk(lengthBytes: number): Generator<Buffer> {
  for (let at = 0; at < lengthBytes; at += CHUNK.length) {
    const chunk = Buffer.from(CHUNK.subarray(0, Math.min(CHUNK.length, lengthBytes - at)));
    chunk.write(at.toString().padStart(NUMBER_DIGITS));
    yield chunk;
  }
}

export interface BulkServer {
  readonly port: number;
  /** MD5 of what a GET brings, in hexadecimal. */
  readonly digest: string;
  close(): void;
}

/** Serves `lengthBytes`; the answer to a PUT is 32 hexadecimal digits and a line feed. */
export async function serveBulk(lengthBytes: number): Promise<BulkServer> {
  const server = createServer((request, response) => {
    if (request.method === 'PUT') {
      const hash = createHash('md5');
      request.on('data', (bytes: Buffer) => hash.update(bytes));
      request.on('end', () => response.end(`${hash.digest('hex')}\n`));
      return;
    }
    response.writeHead(200, { 'content-length': lengthBytes });
    const chunks = bulk(lengthBytes);
    const more = (): void => {
      for (let chunk = chunks.next(); !chunk.done; chunk = chunks.next()) {
        if (response.write(chunk.value)) continue;
        response.once('drain', more);
        return;
      }
      response.end();
    };
    more();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const hash = createHash('md5');
  for (const chunk of bulk(lengthBytes)) hash.update(chunk);
  return {
    port: (server.address() as AddressInfo).port,
    digest: hash.digest('hex'),
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}
