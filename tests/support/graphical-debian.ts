/**
 * Debian with Xorg, a window manager and X's own programs, and a German keyboard, on a disk with a GPT as an installation makes it: GRUB in the EFI
 * system partition, and root.
 */
import { execFileSync } from 'node:child_process';
import { closeSync, openSync, readSync, statSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { debianSystem, type DebianRecipe } from './debian-system.ts';
import { makeBootDisk } from './grub-media.ts';
import { scratchDirectory } from './machine.ts';

const MIB = 1 << 20;
const RECIPE: DebianRecipe = {
  name: 'debian-graphical-1-bookworm',
  packages: [
    ...['keyboard-configuration', 'console-setup', 'kbd', 'xkb-data'],
    ...['xserver-xorg-core', 'xserver-xorg-video-fbdev', 'xserver-xorg-input-libinput', 'xinit', 'xauth'],
    ...['x11-xserver-utils', 'x11-apps', 'twm', 'xterm', 'xfonts-base', 'mesa-utils', 'libgl1-mesa-dri', 'evtest'],
  ],
  root: 'LABEL=debian',
  finish: (tree, run) => {
    writeFileSync(
      join(tree, 'etc/default/keyboard'),
      'XKBMODEL="pc105"\nXKBLAYOUT="de"\nXKBVARIANT="nodeadkeys"\nXKBOPTIONS=""\nBACKSPACE="guess"\n',
    );
    // What the package's configuration makes of that for the console.
    run('setupcon', '--save-only', '--force');
  },
};

/** Copies a file into the disk from a byte on. */
function copyInto(disk: number, path: string, at: number): void {
  const from = openSync(path, 'r');
  const piece = Buffer.alloc(MIB);
  try {
    for (let done = 0; ;) {
      const count = readSync(from, piece, 0, MIB, done);
      if (count === 0) return;
      // Nothing need be written where there is nothing.
      if (piece.subarray(0, count).some((byte) => byte !== 0)) writeSync(disk, piece, 0, count, at + done);
      done += count;
    }
  } finally {
    closeSync(from);
  }
}

/** Makes the disk at `path`; its kernel prints to COM1 and the screen. Throws with the reason when it cannot be made here. */
export function graphicalDebian(path: string, title: string): void {
  const system = debianSystem(RECIPE);
  const work = scratchDirectory();
  try {
    const boot = join(work.path, 'esp.img');
    makeBootDisk(boot, {
      config: [
        ...['set timeout=3', `menuentry "${title}" {`, 'search --no-floppy --set=root --file /vmlinuz'],
        'linux /vmlinuz root=LABEL=debian rw console=ttyS0 console=tty0 loglevel=4 systemd.show_status=0',
        ...['initrd /initrd.img', '}'],
      ],
      files: { '/vmlinuz': system.kernel, '/initrd.img': system.initrd },
    });
    const whole = (file: string): number => Math.ceil(statSync(file).size / MIB);
    const [bootMib, rootMib] = [whole(boot), whole(system.disk)];
    const disk = openSync(path, 'w');
    try {
      writeSync(disk, Buffer.alloc(MIB), 0, MIB, (1 + bootMib + rootMib) * MIB);
      copyInto(disk, boot, MIB);
      copyInto(disk, system.disk, (1 + bootMib) * MIB);
    } finally {
      closeSync(disk);
    }
    const table = ['label: gpt', `start=1MiB, size=${bootMib}MiB, type=U`, `size=${rootMib}MiB, type=L`];
    execFileSync('sfdisk', ['-q', path], { input: table.join('\n'), stdio: ['pipe', 'pipe', 'pipe'] });
  } finally {
    work.remove();
  }
}
