import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { defineConfig } from 'vitest/config';

/** Machines of this run are registered apart from the user's own, and from other runs'. */
const runtimeDirectory = mkdtempSync(join(tmpdir(), 'webhyve-test-'));

/**
 * `unit` needs nothing but this repository; `guest` boots guests, real and assembled, and compares with QEMU where it is
 * installed; `browser` drives the page in Chromium and Firefox, one file at a time. One project runs after the other.
 */
export default defineConfig({
  test: {
    root: new URL('..', import.meta.url).pathname,
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 90_000,
    // Guests run beside whatever else the machine does. The report names each test that needed it: a fault to be found.
    retry: 1,
    expect: { poll: { timeout: 20_000 } },
    env: { WEBHYVE_RUNTIME_DIR: process.env['WEBHYVE_RUNTIME_DIR'] ?? runtimeDirectory },
    reporters: ['default', new URL('./support/report.ts', import.meta.url).pathname],
    projects: [
      {
        extends: true,
        test: {
          name: 'unit',
          include: ['tests/unit/**/*.test.ts', 'tests/core/**/*.test.ts'],
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: {
          name: 'guest',
          include: ['tests/guest/**/*.test.ts', 'tests/system/**/*.test.ts'],
          testTimeout: 180_000,
          hookTimeout: 180_000,
          sequence: { groupOrder: 1 },
        },
      },
      {
        extends: true,
        test: {
          name: 'browser',
          include: ['tests/browser/**/*.test.ts'],
          fileParallelism: false,
          testTimeout: 180_000,
          hookTimeout: 180_000,
          sequence: { groupOrder: 2 },
        },
      },
    ],
  },
});
