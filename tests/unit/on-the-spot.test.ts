/** Which transfers the devices' own thread makes, by a clock that the test moves. */
import { afterEach, expect, test, vi } from 'vitest';
import { ON_THE_SPOT_BYTES, OnTheSpot } from '../../host-node/disk/on-the-spot.ts';
import { scratchDirectory } from '../support/machine.ts';

afterEach(() => {
  vi.restoreAllMocks();
});

test('transfers that waited for the disk are followed by a pause, so that they take 1 % of the time', async (context) => {
  const scratch = scratchDirectory();
  const spot = await OnTheSpot.of(scratch.path);
  scratch.remove();
  if (!spot) return context.skip('the files of this host may be far away');
  let nowMs = 1000;
  vi.spyOn(performance, 'now').mockImplementation(() => nowMs);
  const transfer = (tookMs: number): string =>
    spot.run(() => {
      nowMs += tookMs;
      return 'done';
    });

  expect(transfer(0.01)).toBe('done');
  expect(spot.allows(4096)).toBe(true);
  expect(spot.allows(ON_THE_SPOT_BYTES)).toBe(true);
  expect(spot.allows(ON_THE_SPOT_BYTES + 1)).toBe(false);

  // One late transfer, which a busy processor makes, changes nothing.
  transfer(8);
  expect(spot.allows(4096)).toBe(true);
  transfer(12);
  expect(spot.allows(4096)).toBe(false);
  // 20 ms less 1 % of the time since the first of them: at 10 ms the pause is over.
  nowMs += 979;
  expect(spot.allows(4096)).toBe(false);
  nowMs += 10;
  expect(spot.allows(4096)).toBe(true);

  // One that fails counts as well, and the error is the caller's.
  const failing = (): never => {
    nowMs += 5;
    throw new Error('EIO');
  };
  expect(() => spot.run(failing)).toThrow('EIO');
  expect(spot.allows(4096)).toBe(false);
  nowMs += 600;
  expect(spot.allows(4096)).toBe(true);

  // A disk that is always late has the thread for 1 % of the time.
  let waitedMs = 0;
  const fromMs = nowMs;
  while (nowMs < fromMs + 100_000) {
    if (spot.allows(4096)) {
      transfer(7);
      waitedMs += 7;
    }
    nowMs += 1;
  }
  expect(waitedMs).toBeGreaterThan(900);
  expect(waitedMs).toBeLessThan(1100);
});

test('a path that is not there goes to the pool, which says so', async () => {
  expect(await OnTheSpot.of('/no/such/file')).toBeUndefined();
});
