/** The library as its users write it: webhyve/vitest, a kernel, and a conversation with its shell. */
import { readFile } from 'node:fs/promises';
import { pathToFileURL } from 'node:url';
import { expect, test } from '../../host-node/vitest.ts';
import { compileCore } from '../support/compile-core.ts';
import { BASIC_ARGS, linuxGuest, linuxMissing, QUICK_CMDLINE } from '../support/machine.ts';
import { vcpuWorkerForTests } from '../support/machine-worker.ts';

test('boots, talks, and sees the power button', async ({ boot, skip }) => {
  const reason = await linuxMissing();
  if (reason !== undefined) skip(reason);
  const { kernel, initrd } = await linuxGuest();
  const vm = await boot(['-c', '2', '-m', '256M', ...BASIC_ARGS, 'library'], {
    kernel: await readFile(kernel),
    initrd: pathToFileURL(initrd),
    cmdline: QUICK_CMDLINE,
    core: await compileCore('core-as/index.ts', 'release'),
    workerUrl: await vcpuWorkerForTests(),
    timeLimit: 170_000,
  });
  const com1 = vm.consoles['com1'];
  if (!com1) throw new Error('no com1');
  await expect(com1).toPrint(/Linux version \d+\.\d+/, { timeout: 60_000 });
  await expect(com1).toPrint('webhyve guest ready', { timeout: 150_000 });
  await com1.expect('/ # ');
  expect(await com1.run('nproc; exit_with() { return $1; }; exit_with 7')).toEqual({ output: '2\n', status: 7 });
  await expect(com1.run('sleep 60', { timeout: 500 })).rejects.toThrow(
    /not printed within 500 ms; last lines.*sleep 60/s,
  );
  com1.send('\u0003');

  await vm.pause();
  expect(vm.registers(0).cr0 & 0x8000_0001n).toBe(0x8000_0001n);
  const { instructions } = vm.registers(0);
  await new Promise((resolve) => setTimeout(resolve, 100));
  expect(vm.registers(0).instructions).toBe(instructions);
  const stats = vm.stats(1);
  expect(stats['instructions retired']).toBe(vm.registers(1).instructions);
  expect(() => vm.stats(2)).toThrow('there is no vCPU 2');
  // What booting compiled, and what of that helpers had to run: Linux reads the flags at every lock.
  const jit = Object.fromEntries(Object.entries(vm.stats(0)).filter(([name]) => name.startsWith('jit ')));
  expect(jit['jit regions']).toBeGreaterThanOrEqual(jit['jit modules'] ?? 0n);
  for (const name of ['modules', 'bytes of WebAssembly', 'compile time (ns)', 'helper runs: PUSHF'])
    expect(jit[`jit ${name}`], name).toBeGreaterThan(0n);
  const retired = vm.stats(0)['instructions retired'] ?? 0n;
  const inRegions = jit['jit instructions in regions'] ?? 0n;
  expect(inRegions).toBeGreaterThan(retired / 4n);
  expect(inRegions).toBeLessThan(retired);
  for (const name of ['to an address in a register', 'aside', 'after a helper'])
    expect(jit[`jit regions left ${name}`], name).toBeGreaterThan(0n);
  expect(Object.keys(jit).filter((name) => /: \d+$/.test(name))).toEqual([]);
  vm.resume();

  expect(vm.powerButton()).toBe(true);
  com1.send('\npoweroff -f\n');
  expect(await vm.waitForExit({ timeout: 60_000 })).toMatchObject({ code: 1, reason: 'poweroff' });
  await expect(com1.expect('anything')).rejects.toThrow(/the machine ended \(poweroff\) before "anything"/);
  expect(com1.transcript).toContain('webhyve guest ready');
});
