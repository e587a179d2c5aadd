/** A guest with a screen and no operating system: tests/guest/asm/display-echo.asm. */
import { execFileSync, spawnSync } from 'node:child_process';
import { join } from 'node:path';

const SOURCE = new URL('../guest/asm/display-echo.asm', import.meta.url).pathname;

/** Words of its machine, without loader and name. */
export const DISPLAY_MACHINE = [
  ...['-m', '64M', '-s', '0,hostbridge', '-s', '31,lpc', '-s', '29,fbuf,w=640,h=480', '-l', 'com1,stdio'],
] as const;

/** Why it cannot be assembled here; undefined when it can. For `context.skip(reason)`. */
export const displayGuestMissing = spawnSync('nasm', ['-v']).status === 0 ? undefined : 'nasm is not installed';

/** Assembles it into a folder; returns the path of a multiboot kernel. */
export function displayGuest(folder: string): string {
  const path = join(folder, 'display-echo.bin');
  execFileSync('nasm', ['-f', 'bin', '-o', path, SOURCE]);
  return path;
}

/** Colour of the square that the guest draws for a key's XT code: 0xRRGGBB. */
export function squareColour(code: number): number {
  return (code * 0x3b2d11) & 0xffffff;
}
