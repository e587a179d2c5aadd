/** grub-bhyve and bhyve as vm-bhyve and libvirt run them: Linux from an ext4 file system in an image, by GRUB's configuration there or by commands. */
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { killPrograms, programForTests, startProgram } from '../support/machine-program.ts';
import { BASIC_ARGS, linuxGuest, linuxMissing, QUICK_CMDLINE, scratchDirectory } from '../support/machine.ts';

const hasMke2fs = spawnSync('mke2fs', ['-V']).status === 0;

beforeEach(async (context) => {
  if (!hasMke2fs) context.skip('mke2fs is not installed');
  const missing = await linuxMissing();
  if (missing !== undefined) context.skip(missing);
}, 300_000);
afterEach(killPrograms);

test('the menu of an image, then commands on standard input', { timeout: 240_000 }, async () => {
  const scratch = scratchDirectory();
  const before = process.env['WEBHYVE_RUNTIME_DIR'];
  process.env['WEBHYVE_RUNTIME_DIR'] = join(scratch.path, 'run');
  try {
    const { kernel, initrd } = await linuxGuest();
    const boot = join(scratch.path, 'tree', 'boot');
    mkdirSync(join(boot, 'grub'), { recursive: true });
    copyFileSync(kernel, join(boot, 'vmlinuz-1'));
    copyFileSync(initrd, join(boot, 'initrd-1'));
    const entry = (word: string): string =>
      `linux /boot/vmlinuz-1 ${QUICK_CMDLINE} word=${word}\ninitrd /boot/initrd-1\n`;
    writeFileSync(
      join(boot, 'grub', 'grub.cfg'),
      `set default=1\nmenuentry a { ${entry('first')} }\nmenuentry b { search --set=root x; ${entry('second')} }\n`,
    );
    const image = join(scratch.path, 'disk.img');
    const made = spawnSync('mke2fs', ['-q', '-t', 'ext4', '-d', join(scratch.path, 'tree'), image, '128M']);
    expect(made.status).toBe(0);
    const map = join(scratch.path, 'device.map');
    writeFileSync(map, `(hd0) ${image}\n`);

    const load = async (input: string, ...words: string[]): Promise<void> => {
      const script = join(dirname(await programForTests()), 'grub-bhyve.js');
      const { status, stderr } = spawnSync(process.execPath, [script, ...words, 'vm'], { input, encoding: 'utf8' });
      expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    };
    for (const [word, input, words] of [
      ['second', '', ['-r', 'hd0', '-m', map, '-M', '256']],
      ['typed', `${entry('typed')}boot\n`, ['-r', 'hd0', '-g', 'none.cfg', '--device-map', map, '-M256M', '-S']],
    ] as const) {
      await load(input, ...words);
      const guest = await startProgram([...BASIC_ARGS, '-m', '256M', 'vm']);
      await guest.console.expect('/ # ', { timeout: 100_000 });
      const { output } = await guest.run('cat /proc/cmdline');
      expect(output.replaceAll('\r', '')).toBe(`BOOT_IMAGE=/boot/vmlinuz-1 ${QUICK_CMDLINE} word=${word}\n`);
      guest.console.send('poweroff -f\n');
      expect(await guest.ended).toEqual({ code: 1, signal: null });
      spawnSync(process.execPath, [join(dirname(await programForTests()), 'bhyvectl.js'), '--vm=vm', '--destroy']);
    }
  } finally {
    if (before === undefined) delete process.env['WEBHYVE_RUNTIME_DIR'];
    else process.env['WEBHYVE_RUNTIME_DIR'] = before;
    scratch.remove();
  }
});
