import { expect, it } from 'vitest';
import type { TestCase } from 'vitest/node';
import { countTests, type CountedModule, renderReport } from '../support/report.ts';

type Result = ReturnType<TestCase['result']>;

function moduleOf(name: string, errors: number, results: Record<string, Result>): CountedModule {
  const tests = Object.entries(results).map(([fullName, result]) => ({ fullName, result: () => result }));
  return {
    moduleId: `/root/tests/${name}`,
    errors: () => Array<unknown>(errors).fill('e'),
    children: { allTests: () => tests },
  };
}

it('counts tests, files that do not load and stray errors, and names what was skipped', () => {
  const modules = [
    moduleOf('a.test.ts', 0, {
      good: { state: 'passed', errors: undefined },
      bad: { state: 'failed', errors: [] },
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
      '',
      '1 passed, 4 failed, 3 skipped',
      '',
    ].join('\n'),
  );
});

it('ends with the counts alone on the last line when all is well', () => {
  expect(renderReport({ passed: 5, failed: 0, skipped: [] })).toBe('\n5 passed, 0 failed, 0 skipped\n');
});
