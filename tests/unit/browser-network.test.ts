/** Network backends of a page, on what Node has of a page: BroadcastChannel and fetch(). */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, it } from 'vitest';
import { NO_OFFLOAD, type NetworkBackend } from '../../devices/backends/network.ts';
import { ChannelBackend, channelName, type FrameChannel } from '../../devices/net/channel-backend.ts';
import { HttpRequestReader } from '../../devices/net/nat/http-request.ts';
import { joined } from '../../devices/net/wire.ts';
import { createFetchNatHost } from '../../host-browser/backends/fetch-network.ts';

function listen(backend: NetworkBackend): Uint8Array[] {
  const received: Uint8Array[] = [];
  backend.open({
    offload: NO_OFFLOAD,
    receive: (frame) => received.push(joined(frame.parts)) > 0,
    drained: () => undefined,
    linkChanged: () => undefined,
  });
  return received;
}

it('two tabs hear one another on a channel', async () => {
  const open = (): ChannelBackend =>
    new ChannelBackend(new BroadcastChannel(channelName('lan')) as unknown as FrameChannel);
  const [a, b] = [open(), open()];
  const received = listen(b);
  const frame = Uint8Array.from({ length: 60 }, (_, index) => index);
  a.send({ parts: [frame.subarray(0, 9), frame.subarray(9)] });
  await expect.poll(() => received).toEqual([frame]);
  // What is no frame is counted.
  const stranger = new BroadcastChannel(channelName('lan'));
  stranger.postMessage('hello');
  await expect.poll(() => b.counters()['malformed messages']).toBe(1);
  stranger.close();
  await a.close();
  await b.close();
});

it('HTTP of a guest is fetched', async () => {
  const seen: string[] = [];
  const server = createServer((request, response) => {
    request.on('data', (chunk: Buffer) => seen.push(chunk.toString()));
    request.on('end', () => {
      seen.push(`${request.method} ${request.url} ${request.headers['x-guest']}`);
      response.writeHead(201, { 'x-answer': 'yes' });
      response.end('the page');
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const host = createFetchNatHost((delayMs, callback) => {
    const timer = setTimeout(callback, delayMs);
    return () => clearTimeout(timer);
  });
  let answer = '';
  const closed = new Promise<void>((resolve) => {
    const stream = host.connectTcp('198.18.0.1', 80, {
      connected: () => {
        const head = `POST /a?b HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nX-Guest: me\r\nContent-Length: 4\r\n\r\n`;
        stream.write(new TextEncoder().encode(head));
        stream.write(new TextEncoder().encode('body'));
      },
      data: (bytes) => (answer += new TextDecoder().decode(bytes)),
      ended: () => undefined,
      sent: () => undefined,
      closed: () => resolve(),
    });
  });
  await closed;
  server.close();
  expect(seen).toEqual(['body', 'POST /a?b me']);
  expect(answer).toMatch(
    /^HTTP\/1\.1 201 Created\r\nconnection: close\r\n(.*\r\n)*x-answer: yes\r\n(.*\r\n)*\r\nthe page$/,
  );
});

it.each([
  ['GET / HTTP/1.1\r\nHost: a\r\n\r\n', 1],
  ['GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n', 2],
  ['GET / HTTP/1.1\r\nHost: a', 0],
  ['nonsense\r\n\r\n', undefined],
  ['GET / HTTP/1.1\r\nHost: a/../b\r\n\r\n', undefined],
  ['POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n', undefined],
  ['POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 999999999\r\n\r\n', undefined],
])('requests in %j: %s', (text, count) => {
  expect(new HttpRequestReader().push(new TextEncoder().encode(text))?.length).toBe(count);
});
