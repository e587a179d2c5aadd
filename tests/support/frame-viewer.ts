/**
 * A viewer in a process of its own, for tests/guest/display-pace.test.ts: `SOCKET ENCODING SECONDS` shows the picture for so long, asks for the next
 * one whenever it has drawn one, and prints how many pictures' worth of pixels it drew a second.
 */
import { connect } from 'node:net';
import { viewerOver } from './rfb-viewer.ts';

const [path = '', encoding = '0', seconds = '1'] = process.argv.slice(2);
const socket = connect({ path });
const client = viewerOver(socket);
await client.open();
await client.init();
client.setEncodings(Number(encoding));
client.request(false);
await client.update();
const startMs = performance.now();
const endMs = startMs + Number(seconds) * 1000;
const before = client.drawnPixels;
while (performance.now() < endMs) {
  client.request(true);
  await client.update();
}
const pictures = (client.drawnPixels - before) / (client.width * client.height);
console.log(((pictures / (performance.now() - startMs)) * 1000).toFixed(1));
socket.destroy();
