/** Runs a guest on QEMU's TCG, and assembles guests: what the recorder and the test share. */
import { execFileSync, spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { join } from 'node:path';

const QEMU = 'qemu-system-x86_64';
const QEMU_TIMEOUT_MS = 120_000;

/** The vendor decides whether SYSENTER works in long mode. */
const QEMU_OPTIONS = [
  ...['-accel', 'tcg', '-cpu', 'max,vendor=GenuineIntel', '-nodefaults', '-serial', 'stdio', '-display', 'none'],
  ...['-device', 'isa-debug-exit,iobase=0xf4,iosize=0x4', '-no-reboot', '-m', '128'],
];

const directory = fileURLToPath(new URL('.', import.meta.url));

export function guestSource(name: string): string {
  return join(directory, 'guests', `${name}.asm`);
}
export function guestImage(name: string): string {
  return join(directory, 'guests', `${name}.bin`);
}
export function expectedFile(name: string): string {
  return join(directory, 'expected', `${name}.txt`);
}

/** The version line of a program, or undefined when it is not installed. */
export function programVersion(program: string, option: string): string | undefined {
  const run = spawnSync(program, [option], { encoding: 'utf8' });
  return run.status === 0 ? run.stdout.split('\n')[0] : undefined;
}

export function qemuVersion(): string | undefined {
  return programVersion(QEMU, '--version');
}

export function nasmVersion(): string | undefined {
  return programVersion('nasm', '-v');
}

export function assemble(name: string, image: string): void {
  const include = `${join(directory, 'guests')}/`;
  execFileSync('nasm', ['-i', include, '-w-prefix-lock', '-f', 'bin', '-o', image, guestSource(name)], {
    stdio: ['ignore', 'inherit', 'inherit'],
  });
}

/** What the guest printed on COM1. */
export function runOnQemu(image: string, vcpus = 1): string {
  const run = spawnSync(QEMU, [...QEMU_OPTIONS, '-smp', String(vcpus), '-kernel', image], {
    encoding: 'latin1',
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: QEMU_TIMEOUT_MS,
  });
  if (run.error) throw run.error;
  return run.stdout.replaceAll('\r', '');
}
