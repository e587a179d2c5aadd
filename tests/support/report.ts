/**
 * The end of a test run: every skipped test by name with its reason, every test that needed a second attempt with the error of
 * its first, then `N passed, N failed, N skipped` alone on the last
 * line, for scripts to read.
 */
import { relative } from 'node:path';
import type { Reporter, TestCase, TestModule } from 'vitest/node';

export interface Counts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: readonly NamedTest[];
  /** Passed at the second attempt only, with the first line of the first attempt's error: a fault to be found. */
  readonly unsteady: readonly NamedTest[];
}

interface NamedTest {
  readonly name: string;
  readonly reason: string;
}

/** What the counts are made of, as far as it is read here. */
type CountedTest = Pick<TestCase, 'fullName' | 'result' | 'diagnostic'>;
export interface CountedModule {
  readonly moduleId: string;
  readonly children: { allTests(): Iterable<CountedTest> };
  errors(): readonly unknown[];
}

/** A file that could not be loaded and an error outside all tests count as one failure each. */
export function countTests(modules: readonly CountedModule[], unhandledErrors: number, root: string): Counts {
  let passed = 0;
  let failed = unhandledErrors;
  const skipped: NamedTest[] = [];
  const unsteady: NamedTest[] = [];
  for (const module of modules) {
    failed += module.errors().length;
    for (const test of module.children.allTests()) {
      const result = test.result();
      const name = `${relative(root, module.moduleId)} > ${test.fullName}`;
      if (result.state === 'passed') {
        passed++;
        if (test.diagnostic()?.flaky) {
          unsteady.push({ name, reason: result.errors?.[0]?.message.split('\n', 1)[0] ?? 'no error was kept' });
        }
      } else if (result.state === 'failed') {
        failed++;
      } else {
        const note = result.state === 'skipped' ? result.note : undefined;
        const reason = note ?? (result.state === 'pending' ? 'it never ran' : 'marked in the source');
        skipped.push({ name, reason });
      }
    }
  }
  return { passed, failed, skipped, unsteady };
}

/** The text of the report, with its final newline. */
export function renderReport({ passed, failed, skipped, unsteady }: Counts): string {
  const lines = [
    ...skipped.map(({ name, reason }) => `skipped: ${name} (${reason})`),
    ...unsteady.map(({ name, reason }) => `passed at the second attempt: ${name} (${reason})`),
  ];
  if (lines.length > 0) lines.unshift('');
  return [...lines, '', `${passed} passed, ${failed} failed, ${skipped.length} skipped`, ''].join('\n');
}

export default class CountsReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly unknown[]): void {
    process.stdout.write(renderReport(countTests(modules, unhandledErrors.length, process.cwd())));
  }
}
