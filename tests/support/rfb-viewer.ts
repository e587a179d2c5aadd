/** An RFB client at the end of a socket. */
import { connect, type Socket } from 'node:net';
import { RfbClient } from './rfb-client.ts';

/** An error of the socket is its end, which the client hears of. */
export function viewerOver(socket: Socket): RfbClient {
  const client = new RfbClient((bytes) => socket.write(bytes));
  socket.on('data', (bytes: Buffer) => client.receive(bytes));
  socket.on('error', () => undefined);
  socket.on('close', () => client.closed());
  return client;
}

/** A viewer that has been let in without a password and takes ZRLE, copies, new sizes and the names of keys' places (QEMU's extended key events). */
export async function openViewer(
  where: { readonly path: string } | { readonly host: string; readonly port: number },
): Promise<RfbClient> {
  const client = viewerOver(connect(where));
  const refusal = await client.open();
  if (refusal !== undefined) throw new Error(`the viewer was refused: ${refusal}`);
  await client.init();
  client.setEncodings(16, 1, -223, -258);
  return client;
}
