/**
 * Debian's userland in the guest against the same tree on the host: every job must write the same bytes. Takes more than an hour and
 * needs root, so it runs only when asked for: USERLAND=1, or USERLAND=REGULAR-EXPRESSION for the jobs whose names match.
 * See docs/cpu-conformance.md. What both wrote stays in build/userland/work (out and guest/out).
 */
import { mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bootLinuxProgram, killPrograms, type Program } from '../support/machine-program.ts';
import { JOBS } from './userland/jobs.ts';
import { Userland, userlandMissing } from './userland/tree.ts';

const WANTED = process.env['USERLAND'];
const JOB_TIMEOUT_MS = 3_600_000;
const SETUP_TIMEOUT_MS = 1_800_000;

const missing = WANTED === undefined ? 'takes an hour: set USERLAND=1' : userlandMissing();
const pattern = new RegExp(WANTED === '1' ? '' : (WANTED ?? ''));
const jobs = JOBS.filter(({ name }) => pattern.test(name));
const digest = /^([0-9a-f]{64})$/m;

const disk = (slot: number, path: string): string[] => ['-s', `${slot},virtio-blk,${path}`];

const TITLE = 'Debian in the guest and on the host';
if (missing === undefined) describe(TITLE, compareAll);
else test(TITLE, (context) => context.skip(missing));

function compareAll(): void {
  let userland: Userland;
  let guest: Program;

  beforeAll(async () => {
    const directory = resolve(process.env['USERLAND_DIRECTORY'] ?? join('build', 'userland'));
    mkdirSync(directory, { recursive: true });
    userland = new Userland(directory);
    guest = await bootLinuxProgram({
      args: ['-c', '2', '-m', '2G', ...disk(3, `${userland.rootDisk},ro`), ...disk(4, userland.workDisk)],
    });
    const mounts = [
      'stty -echo',
      'mount -t ext4 -o ro /dev/vda /mnt',
      'mount -t ext4 /dev/vdb /mnt/work',
      'mount -t proc proc /mnt/proc',
      'mount --bind /dev /mnt/dev',
      'mount -t tmpfs tmpfs /mnt/tmp',
    ];
    for (const command of mounts) expect(await guest.run(command), command).toMatchObject({ status: 0 });
  }, SETUP_TIMEOUT_MS);

  afterAll(async () => {
    guest.console.send('umount /mnt/work; poweroff -f\n');
    await guest.ended;
    userland.collectGuestOutputs();
    await killPrograms();
  }, SETUP_TIMEOUT_MS);

  test.each(jobs)('$name', { timeout: JOB_TIMEOUT_MS }, async ({ name, words, transcendental, status = 0 }) => {
    const [hostDigest] = digest.exec(userland.onHost(['/work/run-job', ...words])) ?? [];
    expect(userland.hostOutput(words.join('-'))).toMatch(new RegExp(`^exit status ${status}\n*$`, 'm'));
    const startedMs = performance.now();
    const { output } = await guest.run(`chroot /mnt /work/run-job ${words.join(' ')}; sync`, JOB_TIMEOUT_MS);
    const [guestDigest] = digest.exec(output.replaceAll('\r', '')) ?? [];
    const seconds = ((performance.now() - startedMs) / 1000).toFixed(0);
    const verdict = guestDigest === undefined ? output : guestDigest === hostDigest ? 'same' : 'different';
    process.stderr.write(`${name}: ${verdict}, ${seconds} s\n`);
    expect(guestDigest, output).toBeDefined();
    if (transcendental === true) {
      userland.collectGuestOutputs();
      process.stderr.write(userland.accuracy(words.join('-')));
    } else expect(guestDigest, 'SHA-256 of the output').toBe(hostDigest);
  });
}
