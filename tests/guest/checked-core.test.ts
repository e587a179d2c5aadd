/** Linux on the build of the core that has assertions: interpreter and region compiler keep their rules while a system boots and works. */
import { afterEach, beforeEach, test } from 'vitest';
import { compileCore } from '../support/compile-core.ts';
import { bootLinux, destroyTestMachines, linuxMissing } from '../support/machine.ts';

const PATIENCE_MS = 150_000;

beforeEach(async (context) => {
  const reason = await linuxMissing();
  if (reason !== undefined) context.skip(reason);
});
afterEach(destroyTestMachines);

test('a build with assertions boots Linux and computes a checksum', { timeout: 2 * PATIENCE_MS }, async () => {
  const core = await compileCore('core-as/index.ts', 'checked');
  await using guest = await bootLinux({ core, args: ['-c', '2', '-m', '256M'] });
  guest.com1.send('head -c 3000000 /dev/zero | md5sum\n');
  await guest.com1.expect('c9fc2d3dd83ab67a129ac10b09c9ebbb', { timeout: PATIENCE_MS });
});
