/** bhyvectl and a Linux that feels it. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { machineFromArgs } from '../../host-node/index.ts';
import { runBhyvectl } from '../../host-node/registry/bhyvectl.ts';
import { Registry } from '../../host-node/registry/registry.ts';
import { openRuntimeDir } from '../../host-node/registry/runtime-dir.ts';
import { compileCore } from '../support/compile-core.ts';
import {
  BASIC_ARGS,
  bootLinux,
  destroyTestMachines,
  linuxGuest,
  linuxMissing,
  QUICK_CMDLINE,
} from '../support/machine.ts';
import { vcpuWorkerForTests } from '../support/machine-worker.ts';
import { useRuntimeFolder } from '../support/runtime-folder.ts';

const scratch = useRuntimeFolder();
beforeEach(async (context) => {
  const reason = await linuxMissing();
  if (reason !== undefined) context.skip(reason);
}, 300_000);
afterEach(destroyTestMachines);

/** The output of a call that must succeed. */
async function ctl(...options: string[]): Promise<string> {
  let [stdout, stderr] = ['', ''];
  const status = await runBhyvectl(['--vm=test', ...options], () => new Registry(openRuntimeDir()), {
    stdout: (text) => (stdout += text),
    stderr: (text) => (stderr += text),
  });
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  return stdout;
}

test('--inject-nmi reaches each processor; what is read is what the guest has', async () => {
  await using guest = await bootLinux({ args: ['-c', '2', '-m', '256M'], register: true });
  await ctl('--inject-nmi');
  await guest.com1.expect(/NMI received for unknown reason \w+ on CPU 0/, { timeout: 20_000 });
  await ctl('--inject-nmi', '--cpu=1');
  await guest.com1.expect(/NMI received for unknown reason \w+ on CPU 1/, { timeout: 20_000 });
  const { output: counts } = await guest.com1.run('grep NMI: /proc/interrupts');
  expect(counts).toMatch(/NMI:\s+1\s+1\s/);

  expect(await ctl('--get-active-cpus', '--get-suspended-cpus')).toBe(
    'active cpus:\t 0, 1\nsuspended cpus:\t (none)\n',
  );
  const all = await ctl('--get-all', '--cpu=1');
  // 64-bit mode with paging; the kernel half of the address space is where Linux idles.
  expect(all).toMatch(/^efer\[1\]\t\t0x[0-9a-f]{13}d01$/m);
  expect(all).toMatch(/^cr0\[1\]\t\t0x000000008005003[0-9a-f]$/m);
  expect(all).toMatch(/^gdtr\[1\]\t\t0xfffffe[0-9a-f]{10}\/0x0000007f$/m);
  const retired = async (): Promise<number> => {
    const texts = [await ctl('--get-stats'), await ctl('--get-stats', '--cpu=1')];
    return texts.reduce((sum, text) => sum + Number(/^instructions retired\s+(\d+)$/m.exec(text)?.[1]), 0);
  };
  const before = await retired();
  // An idle kernel may execute nothing for seconds.
  await guest.com1.run('true');
  const after = await retired();
  expect(before).toBeGreaterThan(1_000_000);
  expect(after).toBeGreaterThan(before);

  // The guest's own view of the clock that was set from outside.
  await ctl('--set-rtc-time=1000000000');
  const { output: rtc } = await guest.com1.run('cat /sys/class/rtc/rtc0/since_epoch');
  expect(Number(rtc) - 1_000_000_000).toBeGreaterThanOrEqual(0);
  expect(Number(rtc) - 1_000_000_000).toBeLessThan(10);
  expect(await ctl('--get-rtc-time')).toMatch(/^rtc time 0x3b9aca\w\w: Sun Sep 09 01:46:\d\d 2001\n$/);

  await ctl('--force-poweroff');
  expect(await guest.machine.waitForExit()).toMatchObject({ code: 1, reason: 'poweroff' });
});

test('--suspend on the way, -r goes on', async () => {
  const file = join(scratch.path, 'suspended');
  let uptime: number;
  {
    await using guest = await bootLinux({ args: ['-c', '2', '-m', '256M'], register: true });
    uptime = Number((await guest.com1.run('echo kept > /tmp/file; cut -d" " -f1 /proc/uptime')).output);
    await ctl(`--suspend=${file}`);
    expect(await guest.machine.waitForExit()).toMatchObject({ reason: 'destroyed' });
  }
  expect(readFileSync(`${file}.meta`, 'utf8')).toContain('"ncpus": 2');
  const { kernel, initrd } = await linuxGuest();
  // Processors, memory and the name come from the snapshot.
  const argv = [...BASIC_ARGS, '-f', `kexec,${kernel},${initrd},${QUICK_CMDLINE}`, '-r', file];
  await using machine = await machineFromArgs(argv, {
    core: await compileCore('core-as/index.ts', 'release'),
    workerUrl: await vcpuWorkerForTests(),
    register: true,
  });
  machine.start();
  const com1 = machine.consoles['com1'];
  if (!com1) throw new Error('no com1');
  expect(machine.name).toBe('test');
  expect((await com1.run('cat /tmp/file; nproc')).output).toBe('kept\n2\n');
  const uptimeAfter = Number((await com1.run('cut -d" " -f1 /proc/uptime')).output);
  expect(uptimeAfter).toBeGreaterThanOrEqual(uptime);
  // Time stood still for the guest while it was a file.
  expect(uptimeAfter - uptime).toBeLessThan(30);

  // Nobody else gets its name while it runs.
  await expect(machineFromArgs([...BASIC_ARGS, 'test'], { register: true })).rejects.toMatchObject({
    status: 4,
    stderrText: `vm_reinit: Device busy\nbhyve: a machine named "test" is running already (process ${process.pid})\n`,
  });
  expect(machine.running).toBe(true);
  await ctl('--force-reset');
  expect(await machine.waitForExit()).toMatchObject({ code: 0, reason: 'reset' });
});
