/**
 * A whole Debian with systemd on a virtio-blk disk: it boots without a complaint in the kernel's log or a failed unit, and all of the kernel's
 * ciphers pass their own tests. Takes some minutes of processor time, root, and debootstrap the first time, so it runs only when asked for:
 * DEBIAN=1.
 */
import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { debianSystem, debianSystemMissing, type DebianSystem } from '../support/debian-system.ts';
import { BASIC_ARGS, scratchDirectory } from '../support/machine.ts';
import { killPrograms, type Program, startProgram } from '../support/machine-program.ts';

const TIMEOUT_MS = 1_200_000;
const COMMAND_TIMEOUT_MS = 900_000;
const missing = process.env['DEBIAN'] === undefined ? 'takes minutes: set DEBIAN=1' : debianSystemMissing();

/** What Debian's kernel says on every machine. */
const EVERYWHERE = [/CONFIG_IMA_DISABLE_HTABLE is disabled/];
/** Modules that are no ciphers: a benchmark, which ends by an error. */
const NOT_LOADED = ['tcrypt'];

const TITLE = 'Debian with systemd';
if (missing === undefined) describe(TITLE, bootDebian);
else test(TITLE, (context) => context.skip(missing));

function bootDebian(): void {
  let system: DebianSystem;
  let scratch = { path: '', remove: (): void => {} };

  beforeAll(() => {
    system = debianSystem();
    scratch = scratchDirectory();
    return () => scratch.remove();
  }, TIMEOUT_MS);
  afterEach(killPrograms);

  /** Boots to a shell of root on COM1. Nothing but the shell writes to it then: the kernel is quiet, and so is systemd. */
  async function boot(vcpus: number): Promise<Program> {
    const disk = join(scratch.path, `disk-${vcpus}.img`);
    copyFileSync(system.disk, disk);
    const words = 'console=ttyS0 root=/dev/vda rw quiet loglevel=1 systemd.show_status=0';
    const guest = await startProgram([
      ...BASIC_ARGS,
      // In one socket: Linux measures delays once for each, and prints that it cannot on a host without processors to spare.
      ...['-c', `cpus=${vcpus},sockets=1,cores=${vcpus}`, '-m', '1G', '-s', `2,virtio-blk,${disk}`],
      ...['-s', '3,virtio-rnd', '-s', '4,virtio-net,slirp', '-f', `kexec,${system.kernel},${system.initrd},${words}`],
      `debian-${process.pid}-${vcpus}`,
    ]);
    await guest.console.expect('debian login: ', { timeout: COMMAND_TIMEOUT_MS });
    guest.console.send('root\n');
    await guest.console.expect('# ', { timeout: COMMAND_TIMEOUT_MS });
    // A shell that neither edits lines nor prompts.
    guest.console.send('exec env PS1= dash\n');
    expect(await guest.run('stty -echo; systemctl is-system-running --wait', COMMAND_TIMEOUT_MS)).toMatchObject({
      output: expect.stringContaining('running\n') as string,
      status: 0,
    });
    return guest;
  }

  const complaints = async (guest: Program): Promise<string[]> => {
    const { output } = await guest.run('dmesg --color=never --level=emerg,alert,crit,err,warn', COMMAND_TIMEOUT_MS);
    const lines = output.split('\n').filter((line) => line !== '');
    return lines.filter((line) => !EVERYWHERE.some((known) => known.test(line)));
  };

  test.each([1, 2, 4])('%i vCPUs: nothing failed, nothing to complain of', { timeout: TIMEOUT_MS }, async (vcpus) => {
    const guest = await boot(vcpus);
    expect((await guest.run('nproc')).output).toBe(`${vcpus}\n`);
    expect((await guest.run('systemctl --failed --no-legend --plain')).output).toBe('');
    expect(await complaints(guest)).toEqual([]);
    guest.console.send('poweroff\n');
    // bhyve's status after a power-off.
    expect(await guest.ended).toEqual({ code: 1, signal: null });
  });

  test.each([1, 2])('%i vCPUs: every cipher passes the kernel’s tests', { timeout: TIMEOUT_MS }, async (vcpus) => {
    const guest = await boot(vcpus);
    const find = 'cd /lib/modules/$(uname -r)/kernel && find crypto arch/x86/crypto -name "*.ko*"';
    const { output } = await guest.run(`${find} | sed 's,.*/,,; s/[.]ko.*//' | sort`);
    const modules = output.split('\n').filter((name) => name !== '' && !NOT_LOADED.includes(name));
    expect(modules.length).toBeGreaterThan(100);
    for (const name of modules) {
      expect(await guest.run(`modprobe ${name} 2>&1`, COMMAND_TIMEOUT_MS), name).toEqual({ output: '', status: 0 });
    }
    const tested = await guest.run(`sed -n 's/^selftest *: //p' /proc/crypto | sort | uniq -c`);
    expect(tested.output).toMatch(/^ *\d+ passed\n$/);
    expect(await complaints(guest)).toEqual([]);
  });
}
