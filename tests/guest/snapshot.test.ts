/** A Linux that is saved in the middle of its work and goes on in another machine. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { restore, snapshot } from '../../host-node/index.ts';
import {
  BASIC_ARGS,
  bootLinux,
  destroyTestMachines,
  linuxGuest,
  linuxMissing,
  QUICK_CMDLINE,
  testMachine,
} from '../support/machine.ts';

beforeEach(async (context) => {
  const reason = await linuxMissing();
  if (reason !== undefined) context.skip(reason);
}, 300_000);
afterEach(destroyTestMachines);

test('Linux goes on where it was saved', { timeout: 240_000 }, async () => {
  const args = ['-c', '2', '-m', '256M'];
  let saved: Uint8Array;
  let uptimeBefore: number;
  {
    await using guest = await bootLinux({ args });
    const { output } = await guest.com1.run(
      'head -c 1000000 /dev/urandom > /tmp/data; md5sum < /tmp/data > /tmp/sum; echo ok',
    );
    expect(output).toBe('ok\n');
    // Something that is under way on the other processor while the snapshot is made.
    guest.com1.send('(i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; echo $i > /tmp/counted) &\n');
    uptimeBefore = Number((await guest.com1.run('cut -d" " -f1 /proc/uptime')).output);
    saved = await snapshot(guest.machine);
    expect(guest.machine.running).toBe(true);
    expect((await guest.com1.run('echo still here')).output).toBe('still here\n');
  }
  expect(saved.length).toBeLessThan(256 * 2 ** 20);

  const { kernel, initrd } = await linuxGuest();
  await using guest = await testMachine([
    ...BASIC_ARGS,
    ...args,
    '-f',
    `kexec,${kernel},${initrd},${QUICK_CMDLINE}`,
    'test',
  ]);
  await restore(guest.machine, saved);
  guest.machine.start();
  const run = async (command: string): Promise<string> => (await guest.com1.run(command, { timeout: 60_000 })).output;
  expect(await run('md5sum < /tmp/data | cmp - /tmp/sum && echo same')).toBe('same\n');
  const uptime = Number(await run('cut -d" " -f1 /proc/uptime'));
  expect(uptime).toBeGreaterThanOrEqual(uptimeBefore);
  expect(uptime).toBeLessThan(uptimeBefore + 60);
  expect(await run('wait; cat /tmp/counted')).toContain('200000\n');
  expect(await run('sleep 1; dmesg | grep -E "BUG|stall|Oops|unstable|lockup"; nproc')).toBe('2\n');
  guest.com1.send('poweroff -f\n');
  expect(await guest.machine.exited).toMatchObject({ code: 1 });
});
