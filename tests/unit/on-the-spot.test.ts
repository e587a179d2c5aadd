/** Which transfers the devices' own thread makes, by a clock that the test moves. */
import { afterEach, expect, test, vi } from 'vitest';
import { ON_THE_SPOT_BYTES, OnTheSpot } from '../../host-node/disk/on-the-spot.ts';
import { scratchDirectory } from '../support/machine.ts';

afterEach(() => {
  vi.restoreAllMocks();
});

test('a transfer that waited for the disk is followed by a pause of a hundred times as long', async (context) => {
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

  transfer(8);
  expect(spot.allows(4096)).toBe(false);
  nowMs += 799;
  expect(spot.allows(4096)).toBe(false);
  nowMs += 1;
  expect(spot.allows(4096)).toBe(true);

  // One that fails counts as well, and the error is the caller's.
  const failing = (): never => {
    nowMs += 5;
    throw new Error('EIO');
  };
  expect(() => spot.run(failing)).toThrow('EIO');
  expect(spot.allows(4096)).toBe(false);
  nowMs += 500;
  transfer(0.01);
  expect(spot.allows(4096)).toBe(true);
});

test('a path that is not there goes to the pool, which says so', async () => {
  expect(await OnTheSpot.of('/no/such/file')).toBeUndefined();
});
