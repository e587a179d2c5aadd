/** Debian's tpm2-tools in a guest, with the TPM that its swtpm computes for: random bytes, PCRs, and a secret sealed to a PCR. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { mountTools, toolsImage } from '../support/guest-tools.ts';
import { bootLinux, destroyTestMachines, linuxMissing, scratchDirectory } from '../support/machine.ts';

const PATIENCE_MS = 300_000;
const TOOLS = { image: 'tpm-tools-1.img', packages: ['tpm2-tools', 'bash', 'coreutils'], roomMib: 32 } as const;

let scratch = { path: '', remove: (): void => {} };
let swtpm: ChildProcess | undefined;

beforeEach(async (context) => {
  if (spawnSync('swtpm', ['--version']).status !== 0) context.skip('swtpm is missing');
  const missing = await linuxMissing('generic');
  if (missing !== undefined) context.skip(missing);
  try {
    toolsImage(TOOLS);
  } catch (error) {
    context.skip(`TPM tools for the guest: ${error instanceof Error ? error.message : String(error)}`);
  }
  scratch = scratchDirectory();
}, 600_000);
afterEach(async () => {
  await destroyTestMachines();
  swtpm?.kill();
  scratch.remove();
});

test('random bytes, a PCR extended, a secret unsealed only while the PCR holds', { timeout: PATIENCE_MS }, async () => {
  const socket = join(scratch.path, 'tpm.sock');
  swtpm = spawn('swtpm', [
    ...['socket', '--tpm2', '--tpmstate', `dir=${scratch.path}`, '--server', `type=unixio,path=${socket}`],
    ...['--flags', 'not-need-init,startup-clear'],
  ]);
  await expect.poll(() => existsSync(socket), { timeout: 60_000 }).toBe(true);
  await using guest = await bootLinux({
    variant: 'generic',
    timeLimit: PATIENCE_MS,
    args: ['-l', `tpm,swtpm,${socket}`, '-s', `3,virtio-blk,${toolsImage(TOOLS)},ro`],
  });
  const status = async (command: string): Promise<{ output: string; status: number }> =>
    guest.com1.run(command, { timeout: PATIENCE_MS });
  const run = async (command: string): Promise<string> => {
    const { output, status: code } = await status(command);
    expect(code, `status of: ${command}\n${output}`).toBe(0);
    return output;
  };
  await run('dmesg -n 1; true');
  await run(mountTools('/dev/vda'));
  await run('export TPM2TOOLS_TCTI=device:/dev/tpmrm0; cd /; ls /tools/dev/tpmrm0');

  // It ends its line no more than it has to.
  const bytes = async (): Promise<string> => (await run('t tpm2_getrandom --hex 32; echo')).trim();
  const first = await bytes();
  expect(first).toMatch(/^[0-9a-f]{64}$/);
  expect(await bytes()).not.toBe(first);

  const zeros = '0'.repeat(64);
  expect(await run('t tpm2_pcrread sha256:16')).toContain(`0x${zeros}`);
  const seal = [
    't tpm2_createprimary -Q -C o -c /tmp/primary',
    't tpm2_createpolicy -Q --policy-pcr -l sha256:16 -L /tmp/policy',
    'echo secret > /tools/tmp/secret',
    't tpm2_create -Q -C /tmp/primary -L /tmp/policy -i /tmp/secret -u /tmp/public -r /tmp/private',
    't tpm2_load -Q -C /tmp/primary -u /tmp/public -r /tmp/private -c /tmp/sealed',
  ];
  for (const command of seal) await run(command);
  expect(await run('t tpm2_unseal -c /tmp/sealed -p pcr:sha256:16')).toBe('secret\n');
  await run(`t tpm2_pcrextend 16:sha256=${'1'.repeat(64)}`);
  expect(await run('t tpm2_pcrread sha256:16')).not.toContain(zeros);
  const refused = await status('t tpm2_unseal -c /tmp/sealed -p pcr:sha256:16 2>&1');
  expect(refused.status).not.toBe(0);
  expect(refused.output).not.toMatch(/^secret$/m);
  expect(guest.machine.deviceErrors).toBe(0);
});
