/** The e1000's interrupt moderation against the host's timers. */
import { expect, test } from 'vitest';
import { InterruptCauses } from '../../devices/net/e1000/interrupts.ts';
import { INT_RXT0 } from '../../devices/net/e1000/registers.ts';
import { FakeClock } from '../support/fake-clock.ts';

/** Unit of ITR (manual, 13.4.18). */
const ITR_UNIT_NS = 256;
const MILLISECOND_NS = 1_000_000;

function card(intervalNs: number): { clock: FakeClock; causes: InterruptCauses; rises: number[] } {
  const clock = new FakeClock(MILLISECOND_NS);
  const rises: number[] = [];
  const causes = new InterruptCauses(clock, (asserted) => {
    if (asserted) rises.push(clock.nowNs());
  });
  causes.itr = intervalNs / ITR_UNIT_NS;
  causes.enable(INT_RXT0);
  return { clock, causes, rises };
}

test('an interval that the timers cannot measure does not hold the answer to a request', () => {
  // What Linux asks for at 20,000 interrupts a second.
  const { clock, causes, rises } = card(195 * ITR_UNIT_NS);
  causes.raise(INT_RXT0);
  expect(causes.take()).toBe(INT_RXT0);
  clock.advance(10_000);
  causes.raise(INT_RXT0);
  expect(rises).toEqual([MILLISECOND_NS, MILLISECOND_NS + 10_000]);
});

test('a longer interval is kept', () => {
  const { clock, causes, rises } = card(40_000 * ITR_UNIT_NS);
  causes.raise(INT_RXT0);
  causes.take();
  clock.advance(MILLISECOND_NS);
  causes.raise(INT_RXT0);
  expect(rises).toHaveLength(1);
  clock.advance(100 * MILLISECOND_NS);
  expect(rises).toHaveLength(2);
  // By the end of the interval, or in its last millisecond.
  const apartNs = (rises[1] ?? 0) - (rises[0] ?? 0);
  expect(apartNs).toBeGreaterThan(40_000 * ITR_UNIT_NS - MILLISECOND_NS);
  expect(apartNs).toBeLessThanOrEqual(40_000 * ITR_UNIT_NS);
});

test('masked causes wait for the driver, however long, and rise once', () => {
  const { clock, causes, rises } = card(195 * ITR_UNIT_NS);
  causes.raise(INT_RXT0);
  causes.take();
  causes.disable(INT_RXT0);
  for (let frame = 0; frame < 10; frame++) causes.raise(INT_RXT0);
  clock.advance(MILLISECOND_NS);
  expect(rises).toHaveLength(1);
  causes.enable(INT_RXT0);
  expect(rises).toHaveLength(2);
});
