import { expect, it } from 'vitest';
import type { TestCase } from 'vitest/node';
import { countTests, type CountedModule, renderReport } from '../support/report.ts';

type Result = ReturnType<TestCase['result']>;

/** A test whose result carries errors though it passed needed a second attempt. */
function moduleOf(name: string, errors: number, results: Record<string, Result>): CountedModule {
  const tests = Object.entries(results).map(([fullName, result]) => ({
    fullName,
    result: () => result,
    diagnostic: () => ({
      slow: false,
      heap: undefined,
      duration: 1,
      startTime: 0,
      retryCount: 0,
      repeatCount: 0,
      flaky: result.state === 'passed' && result.errors !== undefined,
    }),
  }));
  return {
    moduleId: `/root/tests/${name}`,
    errors: () => Array<unknown>(errors).fill('e'),
    children: { allTests: () => tests },
  };
}

it('counts tests, files that do not load and stray errors, and names what was skipped or unsteady', () => {
  const modules = [
    moduleOf('a.test.ts', 0, {
      good: { state: 'passed', errors: undefined },
      bad: { state: 'failed', errors: [] },
      late: { state: 'passed', errors: [{ name: 'Error', message: 'no prompt\nlast lines', stacks: [] }] },
      'outer > left out': { state: 'skipped', errors: undefined, note: 'iasl is not installed' },
      'marked one': { state: 'skipped', errors: undefined, note: undefined },
    }),
    moduleOf('b.test.ts', 1, {}),
    moduleOf('c.test.ts', 0, { forgotten: { state: 'pending', errors: undefined } }),
  ];
  expect(renderReport(countTests(modules, 2, '/root'))).toBe(
    [
      '',
      'skipped: tests/a.test.ts > outer > left out (iasl is not installed)',
      'skipped: tests/a.test.ts > marked one (marked in the source)',
      'skipped: tests/c.test.ts > forgotten (it never ran)',
      'passed at the second attempt: tests/a.test.ts > late (no prompt)',
      '',
      '2 passed, 4 failed, 3 skipped',
      '',
    ].join('\n'),
  );
});

it('ends with the counts alone on the last line when all is well', () => {
  expect(renderReport({ passed: 5, failed: 0, skipped: [], unsteady: [] })).toBe('\n5 passed, 0 failed, 0 skipped\n');
});
