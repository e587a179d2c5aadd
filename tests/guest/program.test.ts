/** The command with Linux in it: how it starts and ends, what it costs, and what the terminal goes through. */
import { spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { linuxMissing, scratchDirectory } from '../support/machine.ts';
import { bootLinuxProgram, killPrograms, linuxCommand, Program } from '../support/machine-program.ts';

beforeEach(async (context) => {
  const reason = await linuxMissing();
  if (reason !== undefined) context.skip(reason);
}, 300_000);
/** /proc/uptime counts hundredths. */
const CLOCK_STEP_SECONDS = 0.02;

afterEach(killPrograms);

test('a guest sleeps as long as it wants to and occupies what it touched', async () => {
  const program = await bootLinuxProgram({ args: ['-m', '2G'] });
  const { output: memory } = await program.run('cat /proc/meminfo');
  const touchedMib =
    (Number(/^MemTotal:\s+(\d+)/m.exec(memory)?.[1]) - Number(/^MemFree:\s+(\d+)/m.exec(memory)?.[1])) / 1024;
  // What the kernel took for itself before it counted: its image and its page structures.
  const kernelMib = 64 + 2048 / 64;
  expect(program.residentMib()).toBeLessThan(touchedMib + kernelMib + 200);

  // What an idle guest costs and how long its sleeps take on an idle host is measured by bench/idle.mjs; this holds on any host.
  const sleepSeconds = 3;
  const before = performance.now();
  const { output } = await program.run(`cut -d' ' -f1 /proc/uptime; sleep ${sleepSeconds}; cut -d' ' -f1 /proc/uptime`);
  const elapsedSeconds = (performance.now() - before) / 1000;
  const [from = 0, to = 0] = output.trim().split('\n').map(Number);
  expect(to - from).toBeGreaterThan(sleepSeconds - CLOCK_STEP_SECONDS);
  expect(elapsedSeconds).toBeGreaterThan(sleepSeconds - CLOCK_STEP_SECONDS);
  // The guest's clock runs no faster than the host's.
  expect(to - from).toBeLessThan(elapsedSeconds + 2 * CLOCK_STEP_SECONDS);

  // Writing touches memory; freeing it gives nothing back, and needs no more either.
  await program.run('dd if=/dev/zero of=/tmp/a bs=1M count=100; rm /tmp/a');
  expect(program.residentMib()).toBeLessThan(touchedMib + kernelMib + 100 + 200);

  // The power button: acpid of the guest powers off.
  program.signal('SIGTERM');
  expect(await program.ended).toEqual({ code: 1, signal: null });
  expect(program.console.transcript).toContain('reboot: Power down');
});

test('64 MiB of a disk: the sum is the host’s', { timeout: 400_000 }, async () => {
  const scratch = scratchDirectory();
  try {
    const image = join(scratch.path, 'disk.img');
    const bytes = randomBytes(64 << 20);
    writeFileSync(image, bytes);
    const program = await bootLinuxProgram({ args: ['-s', `3,virtio-blk,${image},ro`] });
    const { output } = await program.run('md5sum < /dev/vda', 300_000);
    expect(output).toBe(`${createHash('md5').update(bytes).digest('hex')}  -\n`);
  } finally {
    scratch.remove();
  }
});

test('typed ahead on a pipe, before there is a guest: nothing is lost', async () => {
  const [command, ...args] = await linuxCommand();
  const program = new Program(command, args);
  program.console.send("echo typed a''head\npoweroff -f\n");
  await program.console.expect(/^typed ahead\r/m, { timeout: 150_000 });
  expect(await program.ended).toEqual({ code: 1, signal: null });
});

test('halt ends with status 2', async () => {
  const [command, ...args] = await linuxCommand({ append: 'webhyve.run="halt -f"' });
  expect(await new Program(command, args).ended).toEqual({ code: 2, signal: null });
});

test('before Linux listens to the power button, SIGTERM ends the process', async () => {
  const [command, ...args] = await linuxCommand();
  const program = new Program(command, args);
  await program.console.expect('Linux version', { timeout: 150_000 });
  expect(program.console.transcript).not.toContain('ACPI: Interpreter enabled');
  program.signal('SIGTERM');
  expect(await program.ended).toEqual({ code: null, signal: 'SIGTERM' });
});

const hasScript = spawnSync('script', ['--version']).status === 0;

/** Runs a shell command on a pseudo-terminal. */
function onTerminal(command: string): Program {
  return new Program('script', ['-qec', command, '/dev/null']);
}

const quoted = (word: string): string => `'${word.replaceAll("'", `'\\''`)}'`;

/** Ends with what the terminal is like: "icanon" is its usual mode, "-icanon" what a raw one would be left in. */
async function terminalCommand(): Promise<string> {
  const command = (await linuxCommand()).map(quoted).join(' ');
  return `${command}; echo "status $?"; stty -a | tr ' ' '\\n' | grep -x -e icanon -e -icanon; echo finished`;
}

test.skipIf(!hasScript)('on a terminal: Ctrl-C is the guest’s, Ctrl-A x leaves, the mode is restored', async () => {
  const terminal = onTerminal(await terminalCommand());
  await terminal.console.expect('/ # ', { timeout: 150_000 });
  terminal.console.send('cat\r');
  await sleep(500);
  terminal.console.send('hello\r');
  // Once as the echo, once from cat.
  await terminal.console.expect(/hello\r+\nhello\r+\n/);
  terminal.console.send('\u0003');
  await terminal.console.expect('/ # ');
  terminal.console.send("echo still a''live\r");
  await terminal.console.expect('still alive');
  terminal.console.send('\u0001x');
  const { before } = await terminal.console.expect('finished');
  expect(before.replaceAll('\r', '')).toMatch(/status 1\nicanon\n$/);
});

test.skipIf(!hasScript).each(['SIGHUP', 'SIGINT', 'SIGQUIT'] as const)(
  '%s: the terminal is restored',
  async (signal) => {
    const terminal = onTerminal(await terminalCommand());
    await terminal.console.expect('Linux version', { timeout: 150_000 });
    // script -> sh -> node
    const child = (pid: number): number => Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim());
    process.kill(child(child(terminal.pid)), signal);
    const { before } = await terminal.console.expect('finished');
    expect(before.replaceAll('\r', '')).toMatch(/status 1\d\d\n(.*\n)*icanon\n$/);
  },
);
