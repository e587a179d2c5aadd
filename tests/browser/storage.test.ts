/** Disks in the page: dropped, kept in the browser, and copy-on-write over a server's; they outlive the page. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { beforeEach, expect, test } from 'vitest';
import {
  chromiumMissing,
  chromiumProfile,
  linuxArgs,
  openPage,
  PROMPT,
  servePage,
  typeLine,
  waitForScreen,
  watchPage,
} from '../support/browser.ts';
import { linuxMissing } from '../support/machine.ts';

beforeEach(async (context) => {
  const hasTool = spawnSync('mke2fs', ['-V']).status === 0;
  const reason = chromiumMissing ?? (hasTool ? undefined : 'mke2fs is not installed') ?? (await linuxMissing());
  if (reason !== undefined) context.skip(reason);
}, 300_000);

/** An ext2 image of 8 MiB with one file. */
function makeImage(folder: string, name: string, text: string): string {
  const tree = join(folder, `${name}.d`);
  mkdirSync(tree);
  writeFileSync(join(tree, 'greeting'), `${text}\n`);
  const path = join(folder, name);
  const { status, stderr } = spawnSync('mke2fs', ['-q', '-t', 'ext2', '-d', tree, path, '8M']);
  if (status !== 0) throw new Error(stderr.toString());
  return path;
}

/** Drops a file on the page, as the browser would tell it of one. */
async function dropFile(page: Page, path: string, name: string): Promise<void> {
  const bytes = readFileSync(path).toString('base64');
  await page.evaluate(
    ({ bytes, name }) => {
      const file = new File([Uint8Array.from(atob(bytes), (char) => char.charCodeAt(0))], name);
      const dataTransfer = new DataTransfer();
      dataTransfer.items.add(file);
      for (const type of ['dragenter', 'dragover', 'drop']) {
        document.body.dispatchEvent(new DragEvent(type, { dataTransfer, bubbles: true, cancelable: true }));
      }
    },
    { bytes, name },
  );
}

async function boot(page: Page): Promise<void> {
  await page.click('#start');
  await waitForScreen(page, PROMPT);
}

async function powerOff(page: Page): Promise<void> {
  await typeLine(page, 'umount -a -r; poweroff -f');
  await page.waitForSelector('body[data-state=ended]', { timeout: 30_000 });
}

test('a dropped image is mounted; changes to kept images and to a layer over a server are there after a reload', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'webhyve-storage-'));
  const profile = join(folder, 'profile');
  const dropped = makeImage(folder, 'dropped.img', 'from the dropped image');
  const base = makeImage(folder, 'base.img', 'from the server');
  const server = await servePage(await linuxArgs(['-s', `5,virtio-blk,opfs:layer?base=${base}`]));
  const context = await chromiumProfile(profile);
  try {
    const page = await context.newPage();
    const complaints = await watchPage(page);
    await openPage(page, server.origin);
    await dropFile(page, dropped, 'kept.img');
    await page.waitForSelector('#dropped[open]');
    await page.click('#dropped button[value=opfs]');
    await expect.poll(() => page.inputValue('#command-line')).toContain('-s 2,virtio-blk,opfs:kept.img');
    await dropFile(page, dropped, 'plain.img');
    await page.waitForSelector('#dropped[open]');
    await page.click('#dropped button[value=disk]');
    await expect.poll(() => page.inputValue('#command-line')).toContain('-s 3,virtio-blk,plain.img');

    await boot(page);
    await typeLine(page, 'for d in a b c; do mkdir /mnt/$d; mount /dev/vd$d /mnt/$d; cat /mnt/$d/greeting; done');
    const greetings = await waitForScreen(page, /from the server/);
    expect(greetings.match(/from the dropped image/g)).toHaveLength(2);
    await typeLine(page, 'for d in a b c; do echo changed in $d > /mnt/$d/change; done; sync; echo all $((20 + 3))');
    await waitForScreen(page, /^all 23$/m);

    await page.click('#show-files');
    const download = page.waitForEvent('download');
    await page.getByRole('button', { name: 'Download as the guest sees it plain.img' }).click();
    const saved = readFileSync(await (await download).path());
    expect(saved.length).toBe(8 * 2 ** 20);
    expect(saved.includes('changed in b')).toBe(true);
    await page.click('#show-files');
    await page.click('#panels');
    await powerOff(page);
    expect(readFileSync(base).includes('changed in c')).toBe(false);

    await openPage(page);
    await page.click('#show-files');
    await page.getByRole('button', { name: 'Use as disk opfs:kept.img' }).click();
    await page.click('#show-files');
    await boot(page);
    await typeLine(
      page,
      'for d in a b; do mkdir /mnt/$d; mount -r /dev/vd$d /mnt/$d; cat /mnt/$d/change; done; echo done',
    );
    const changes = await waitForScreen(page, /^done$/m);
    expect(changes).toMatch(/^changed in a$/m);
    expect(changes).toMatch(/^changed in c$/m);
    await powerOff(page);
    expect(complaints.errors).toEqual([]);
  } finally {
    await context.close();
    await server.close();
    rmSync(folder, { recursive: true, force: true });
  }
});
