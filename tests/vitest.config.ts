import { defineConfig } from 'vitest/config';

/** `unit` needs nothing but this repository; `guest` boots real guests and compares with QEMU where it is installed. */
export default defineConfig({
  test: {
    root: new URL('..', import.meta.url).pathname,
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 30_000,
    projects: [
      { extends: true, test: { name: 'unit', include: ['tests/unit/**/*.test.ts', 'tests/core/**/*.test.ts'] } },
      {
        extends: true,
        test: { name: 'guest', include: ['tests/guest/**/*.test.ts'], fileParallelism: false, testTimeout: 180_000 },
      },
    ],
  },
});
