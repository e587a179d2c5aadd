/** The thread that waits for a tap device's frames and puts them into the ring. Plain JavaScript: threads load no TypeScript. */
import { createRequire } from 'node:module';
import { parentPort, workerData } from 'node:worker_threads';
import { beginWriting, endWriting, isStopped, mustTell, push, waitForRoom, waitForWriter } from './frame-ring.mjs';

const { fd, ring, libraryPath } = workerData;
const koffi = createRequire(import.meta.url)(libraryPath);
const libc = koffi.load('libc.so.6');
const pollDescriptor = koffi.struct({ fd: 'int', events: 'short', revents: 'short' });
const poll = libc.func('poll', 'int', [koffi.inout(koffi.pointer(pollDescriptor)), 'ulong', 'int']);
const read = libc.func('long read(int fd, _Out_ uint8_t *bytes, unsigned long count)');

const POLLIN = 1;
const POLLERR = 8;
/** How long the end of the ring's life may go unseen. */
const PATIENCE_MS = 100;
/** A 64 KiB packet with Ethernet's and virtio's headers. */
const buffer = new Uint8Array(65_536 + 64);

while (!isStopped(ring)) {
  const descriptor = { fd, events: POLLIN, revents: 0 };
  if (poll(descriptor, 1, PATIENCE_MS) <= 0) continue;
  if ((descriptor.revents & POLLERR) !== 0) throw new Error('the tap device is gone');
  if (!beginWriting(ring)) {
    // The devices' thread reads what came by itself.
    waitForWriter(ring, PATIENCE_MS);
    continue;
  }
  for (;;) {
    const length = read(fd, buffer, buffer.length);
    if (length <= 0) break;
    const frame = buffer.subarray(0, length);
    // The kernel's queue holds what comes meanwhile, and drops what is too much, as a card does.
    while (!push(ring, frame)) {
      if (isStopped(ring)) process.exit();
      if (mustTell(ring)) parentPort.postMessage(0);
      waitForRoom(ring, PATIENCE_MS);
    }
    if (mustTell(ring)) parentPort.postMessage(0);
  }
  endWriting(ring);
}
