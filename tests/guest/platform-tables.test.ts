/** What Linux makes of the tables that say more than processors and buses: NUMA domains, and a TPM that Debian's swtpm computes for. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { bootLinux, destroyTestMachines, linuxMissing, scratchDirectory } from '../support/machine.ts';

beforeEach(async (context) => {
  const reason = await linuxMissing();
  if (reason !== undefined) context.skip(reason);
}, 300_000);
let swtpm: ChildProcess | undefined;
afterEach(async () => {
  await destroyTestMachines();
  swtpm?.kill();
});

const hasSwtpm = spawnSync('swtpm', ['--version']).status === 0;

test('NUMA domains and a TPM', { timeout: 240_000 }, async () => {
  const scratch = scratchDirectory();
  try {
    const socket = join(scratch.path, 'tpm.sock');
    if (hasSwtpm) {
      swtpm = spawn('swtpm', [
        ...['socket', '--tpm2', '--tpmstate', `dir=${scratch.path}`, '--server', `type=unixio,path=${socket}`],
        ...['--flags', 'not-need-init,startup-clear'],
      ]);
      await expect.poll(() => existsSync(socket), { timeout: 20_000 }).toBe(true);
    }
    const domains = ['-c', '2', '-n', 'id=0,size=192M,cpus=0', '-n', 'id=1,size=128M,cpus=1'];
    await using guest = await bootLinux({
      args: [...domains, ...(hasSwtpm ? ['-l', `tpm,swtpm,${socket}`] : [])],
    });
    const run = async (command: string): Promise<string> => (await guest.com1.run(command)).output;
    expect(await run('dmesg | grep -i SRAT')).toMatch(/SRAT: PXM 1 -> APIC 0x0*1 -> Node 1/);
    expect(await run('cat /sys/devices/system/node/online /sys/devices/system/node/node1/cpulist')).toBe('0-1\n1\n');
    const total = Number(/MemTotal:\s+(\d+)/.exec(await run('head -1 /sys/devices/system/node/node1/meminfo'))?.[1]);
    expect(total).toBeGreaterThan(80_000);
    expect(total).toBeLessThan(131_073);
    if (!hasSwtpm) return;
    // The kernel talked to it at the start: it has banks, and their registers can be read.
    expect(await run('cat /sys/class/tpm/tpm0/tpm_version_major')).toBe('2\n');
    expect(await run('ls /sys/class/tpm/tpm0/pcr-sha256 | wc -l')).toBe('24\n');
    const pcr = 'cat /sys/class/tpm/tpm0/pcr-sha256/16';
    expect(await run(pcr)).toBe(`${'0'.repeat(64)}\n`);
    expect(guest.machine.deviceErrors).toBe(0);
  } finally {
    scratch.remove();
  }
});
