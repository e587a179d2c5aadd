/** A page's sound without a page: the backends in the machine's Worker, and the queue of the audio thread. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { PlayQueue } from '../../host-browser/audio/play-queue.ts';
import type { PlayerSamples } from '../../host-browser/audio/protocol.ts';
import { openPageAudio } from '../../host-browser/worker/page-audio.ts';
import type { AudioBackend } from '../../devices/backends/audio.ts';

const STEREO = { sampleRateHz: 48_000, channels: 2 };

const opened: { readonly backend: AudioBackend; readonly port: () => MessagePort | undefined }[] = [];
// No far end falls asleep because the computer is busy.
beforeEach(() => {
  vi.useFakeTimers({ toFake: ['performance'] });
});
afterEach(async () => {
  vi.useRealTimers();
  for (const { backend, port } of opened.splice(0)) {
    await backend.close();
    port()?.close();
  }
});

async function open(direction: 'play' | 'record'): Promise<{ backend: AudioBackend; port: () => MessagePort }> {
  let far: MessagePort | undefined;
  const backend = await openPageAudio({ direction, path: '/dev/dsp0' }, (asked, port) => {
    expect(asked).toBe(direction);
    far = port;
  });
  opened.push({ backend, port: () => far });
  return {
    backend,
    port: () => {
      if (!far) throw new Error('the page was not asked');
      return far;
    },
  };
}

/** Interleaved frames whose samples tell their place. */
function frames(first: number, count: number): Int16Array {
  return Int16Array.from({ length: 2 * count }, (_, index) =>
    index % 2 === 0 ? first + index / 2 : -(first + (index - 1) / 2),
  );
}

function bytesOf(samples: Int16Array): Uint8Array {
  return new Uint8Array(samples.buffer, samples.byteOffset, samples.byteLength);
}

test('what the guest plays reaches the audio thread sample by sample, and the guest waits for it', async () => {
  const { backend, port } = await open('play');
  // Nobody is asked for speakers before there is a sound.
  expect(port).toThrow('was not asked');
  backend.begin(STEREO);
  const queue = new PlayQueue();
  let pushed = 0;
  port().onmessage = ({ data }: MessageEvent<PlayerSamples>) => {
    queue.push(data.samples);
    pushed += data.samples.length / 2;
  };
  let sent = 0;
  const heard: number[] = [];
  let refused = false;
  const left = new Float32Array(128);
  const right = new Float32Array(128);
  while (heard.length < 24_000) {
    while (sent < 24_000 && backend.play(bytesOf(frames(sent, 480)))) sent += 480;
    if (sent < 24_000) refused = true;
    await expect.poll(() => pushed).toBe(sent);
    // The audio thread takes 10 ms, and says so.
    let taken = 0;
    for (let i = 0; i < 8; i++) {
      const count = queue.take(left, right);
      taken += count;
      for (let at = 0; at < count; at++) {
        heard.push(Math.round((left[at] ?? 0) * 32_768));
        expect(right[at]).toBe(0 - (left[at] ?? 0));
      }
    }
    port().postMessage({ frames: taken });
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  expect(refused).toBe(true);
  expect(heard).toEqual(Array.from({ length: 24_000 }, (_, index) => index));
});

test('a short sound is played although nothing follows, and silence comes after it', () => {
  const queue = new PlayQueue();
  queue.push(frames(1, 100));
  const left = new Float32Array(128);
  const right = new Float32Array(128);
  let waited = 0;
  while (queue.take(left, right) === 0) waited += 128;
  expect(waited).toBeLessThan(48_000);
  expect([...left.subarray(98, 102)].map((sample) => Math.round(sample * 32_768))).toEqual([99, 100, 0, 0]);
});

test('what the microphone hears is recorded in order; other paths are refused', async () => {
  const { backend, port } = await open('record');
  backend.begin(STEREO);
  const into = new Uint8Array(4 * 480);
  expect(backend.record(into)).toBe(false);
  port().postMessage({ samples: frames(0, 300) });
  port().postMessage({ samples: frames(300, 300) });
  await expect.poll(() => backend.record(into)).toBe(true);
  expect([...new Int16Array(into.buffer)]).toEqual([...frames(0, 480)]);
  // A microphone that is refused is silence, not a wait for ever.
  expect(backend.record(into)).toBe(false);
  vi.advanceTimersByTime(2000);
  expect(backend.record(into)).toBe(true);
  expect(into.every((byte) => byte === 0)).toBe(true);
  await expect(openPageAudio({ direction: 'play', path: 'out.wav' }, () => undefined)).rejects.toThrow(
    'hda: out.wav: in a page sound goes to and comes from /dev/dsp',
  );
});
