/**
 * A ring of frames in shared memory, from one thread to one other. A record is its length (4 bytes) and the frame, padded to 4 bytes; one that
 * does not fit before the end of the ring starts at its beginning.
 */

const RING_BYTES = 4 * 1024 * 1024;
const CONTROL_BYTES = 32;
/**
 * Indices of the control words: bytes written and read since the start (modulo 2^31), the reader was told, the end has come, a thread is the
 * writer.
 */
const WRITTEN = 0;
const READ = 1;
const TOLD = 2;
const STOPPED = 3;
const WRITING = 4;
const WRAP = 0xffff_ffff;
const MODULUS = 2 ** 31;

export function createRing() {
  return new SharedArrayBuffer(CONTROL_BYTES + RING_BYTES);
}

const views = new WeakMap();

function viewsOf(ring) {
  let found = views.get(ring);
  if (!found) {
    found = {
      control: new Int32Array(ring, 0, CONTROL_BYTES / 4),
      lengths: new Uint32Array(ring, CONTROL_BYTES),
      bytes: new Uint8Array(ring, CONTROL_BYTES),
    };
    views.set(ring, found);
  }
  return found;
}

const recordBytes = (length) => 4 + ((length + 3) & ~3);

/** Becomes the writer; false: the other thread is. What is read from the device and put in between this and {@link endWriting} keeps its order. */
export function beginWriting(ring) {
  return Atomics.compareExchange(viewsOf(ring).control, WRITING, 0, 1) === 0;
}

export function endWriting(ring) {
  const { control } = viewsOf(ring);
  Atomics.store(control, WRITING, 0);
  Atomics.notify(control, WRITING);
}

/** Waits a while for the other thread to end writing. */
export function waitForWriter(ring, milliseconds) {
  Atomics.wait(viewsOf(ring).control, WRITING, 1, milliseconds);
}

/** Reader: true when no frame waits. Does not ask to be told, unlike {@link peek}. */
export function isEmpty(ring) {
  const { control } = viewsOf(ring);
  return Atomics.load(control, READ) === Atomics.load(control, WRITTEN);
}

/** Writer: puts a frame in; false when there is no room. */
export function push(ring, frame) {
  const { control, lengths, bytes } = viewsOf(ring);
  const written = Atomics.load(control, WRITTEN);
  const used = (written - Atomics.load(control, READ) + MODULUS) % MODULUS;
  const at = written % RING_BYTES;
  const needed = recordBytes(frame.length);
  const skipped = at + needed > RING_BYTES ? RING_BYTES - at : 0;
  if (used + skipped + needed > RING_BYTES) return false;
  if (skipped > 0) lengths[at >> 2] = WRAP;
  const start = skipped > 0 ? 0 : at;
  lengths[start >> 2] = frame.length;
  bytes.set(frame, start + 4);
  Atomics.store(control, WRITTEN, (written + skipped + needed) % MODULUS);
  return true;
}

/** Writer: true when the reader has to be told that there is something. */
export function mustTell(ring) {
  return Atomics.exchange(viewsOf(ring).control, TOLD, 1) === 0;
}

/** Writer: waits a while for room. */
export function waitForRoom(ring, milliseconds) {
  const { control } = viewsOf(ring);
  Atomics.wait(control, READ, Atomics.load(control, READ), milliseconds);
}

function skipWrap({ control, lengths }) {
  const read = Atomics.load(control, READ);
  if (read === Atomics.load(control, WRITTEN)) return undefined;
  const at = read % RING_BYTES;
  if (lengths[at >> 2] !== WRAP) return read;
  const next = (read + RING_BYTES - at) % MODULUS;
  Atomics.store(control, READ, next);
  return next === Atomics.load(control, WRITTEN) ? undefined : next;
}

/** Reader: a view of the oldest frame; undefined when there is none, and then the writer tells when one has come. */
export function peek(ring) {
  const found = viewsOf(ring);
  let read = skipWrap(found);
  if (read === undefined) {
    Atomics.store(found.control, TOLD, 0);
    // One may have come between the look and the note.
    read = skipWrap(found);
    if (read === undefined) return undefined;
  }
  const at = read % RING_BYTES;
  return found.bytes.subarray(at + 4, at + 4 + (found.lengths[at >> 2] ?? 0));
}

/** Reader: drops the oldest frame. */
export function consume(ring) {
  const { control, lengths } = viewsOf(ring);
  const read = Atomics.load(control, READ);
  const at = read % RING_BYTES;
  Atomics.store(control, READ, (read + recordBytes(lengths[at >> 2] ?? 0)) % MODULUS);
  Atomics.notify(control, READ);
}

/** Either side: the ring's life is over. */
export function stop(ring) {
  const { control } = viewsOf(ring);
  Atomics.store(control, STOPPED, 1);
  Atomics.notify(control, READ);
}

export function isStopped(ring) {
  return Atomics.load(viewsOf(ring).control, STOPPED) !== 0;
}
