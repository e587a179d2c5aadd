/** A folder of a test file's own, with a runtime folder for machines that have a name. */
import { join } from 'node:path';
import { afterAll, beforeAll } from 'vitest';
import { scratchDirectory } from './machine.ts';

/** Makes the folder before the file's tests and removes it after them. The result's path is there once they run. */
export function useRuntimeFolder(): { readonly path: string } {
  let scratch = { path: '', remove: (): void => {} };
  let before: string | undefined;
  beforeAll(() => {
    scratch = scratchDirectory();
    before = process.env['WEBHYVE_RUNTIME_DIR'];
    process.env['WEBHYVE_RUNTIME_DIR'] = join(scratch.path, 'run');
  });
  afterAll(() => {
    if (before === undefined) delete process.env['WEBHYVE_RUNTIME_DIR'];
    else process.env['WEBHYVE_RUNTIME_DIR'] = before;
    scratch.remove();
  });
  return {
    get path() {
      return scratch.path;
    },
  };
}
