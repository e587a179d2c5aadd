import { describe, expect, test } from 'vitest';
import { type HeldMemory, judge } from '../../bench/held-memory.mjs';

/** One sample a minute of a process that holds `resident(minute)` MiB while its guest has touched `touched(minute)`. */
const minutes = (
  count: number,
  resident: (minute: number) => number,
  touched = (_: number): number => 400,
): HeldMemory[] =>
  Array.from({ length: count }, (_, minute) => ({ residentMib: resident(minute), touchedMib: touched(minute) }));

describe('limits of an hour of mixed load', () => {
  test('a process that stays as it is keeps them', () => {
    expect(judge(minutes(60, () => 600)).kept).toBe(true);
  });

  test('more than 300 MiB beyond what the guest touched, once, are too much', () => {
    const { kept, lines } = judge(minutes(60, (minute) => (minute === 20 ? 701 : 600)));
    expect(kept).toBe(false);
    expect(lines[0]).toBe('FAILED: at most 301 MiB beyond what the guest touched, limit 300');
  });

  test('growth in the second half is too much, growth in the first is not', () => {
    const { kept, lines } = judge(minutes(60, (minute) => 500 + 2 * minute));
    expect(kept).toBe(false);
    expect(lines[1]).toBe('FAILED: the last quarter holds 5.2 % more than the third one, limit 3.0 %');
    expect(judge(minutes(60, (minute) => 500 + 2 * Math.min(minute, 30))).kept).toBe(true);
  });

  test('what the guest touches late is not growth', () => {
    const touched = (minute: number): number => 400 + 5 * minute;
    expect(judge(minutes(60, (minute) => 200 + touched(minute), touched)).kept).toBe(true);
  });

  test('a few samples say nothing about growth', () => {
    expect(judge(minutes(7, (minute) => 500 + 20 * minute)).lines[1]).toBe('too short to say whether it grows');
  });
});
