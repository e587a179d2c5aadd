/** What a browser lacks, refuses or hides: no Atomics.waitAsync, a full quota, a tab in the background. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import {
  chromiumBrowser,
  chromiumMissing,
  chromiumProfile,
  closeChromium,
  openPage,
  servePage,
  waitForScreen,
  watchPage,
} from '../support/browser.ts';
import { DISPLAY_MACHINE, displayGuest, displayGuestMissing } from '../support/display-guest.ts';

let folder = '';
let words: string[] = [];

beforeEach((context) => {
  const reason = chromiumMissing ?? displayGuestMissing;
  if (reason !== undefined) context.skip(reason);
});
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'webhyve-limits-'));
  if (displayGuestMissing === undefined) words = [...DISPLAY_MACHINE, '-f', `multiboot,${displayGuest(folder)}`, 'vm'];
});
afterAll(async () => {
  rmSync(folder, { recursive: true, force: true });
  await closeChromium();
});

for (const isolated of [true, false]) {
  test(`a browser without Atomics.waitAsync, ${isolated ? 'with' : 'without'} shared memory`, async () => {
    const server = await servePage(words, { isolated });
    const page = await (await chromiumBrowser()).newPage();
    try {
      const complaints = await watchPage(page);
      await page.route('**/machine-worker.js', async (route) => {
        const response = await route.fetch();
        await route.fulfill({ response, body: `delete Atomics.waitAsync;${await response.text()}` });
      });
      await openPage(page, server.origin);
      await page.click('#start');
      await page.waitForSelector('body[data-state=running]');
      expect(await page.textContent('#engine')).toBe(isolated ? 'threads · JIT' : 'inline · JIT');
      await page.click('#tab-console-com1');
      await waitForScreen(page, /^ready$/m);
      await page.click('#tab-console-display');
      await page.keyboard.press('KeyA');
      await page.click('#tab-console-com1');
      await waitForScreen(page, /^k 1e\nk 9e$/m);
      await page.click('#turn-off');
      await page.waitForSelector('body[data-state=off]');
      expect(complaints.errors).toEqual([]);
    } finally {
      await page.close();
      await server.close();
    }
  });
}

test('a full quota is told in a sentence', async () => {
  const server = await servePage(['-s', '5,virtio-blk,opfs:large.img?size=64M', ...words]);
  // Files of a browser in memory have no quota.
  const context = await chromiumProfile(join(folder, 'profile'));
  try {
    const page = await context.newPage();
    const devtools = await context.newCDPSession(page);
    await openPage(page, server.origin);
    await devtools.send('Storage.overrideQuotaForOrigin', { origin: server.origin, quotaSize: 2 * 2 ** 20 });
    await page.click('#start');
    await page.waitForSelector('body[data-state=failed]', { timeout: 60_000 });
    expect(await page.textContent('#curtain-text')).toContain(
      "opfs:large.img: the browser's quota for this page is full",
    );
  } finally {
    await context.close();
    await server.close();
  }
});

test('a tab behind another one goes on', async () => {
  const server = await servePage(words);
  const context = await (await chromiumBrowser()).newContext();
  const page = await context.newPage();
  try {
    await openPage(page, server.origin);
    await page.click('#start');
    await page.click('#tab-console-com1');
    await waitForScreen(page, /^ready$/m);
    const other = await context.newPage();
    await other.bringToFront();
    const uptime = async (): Promise<string | null> => page.textContent('#uptime');
    const before = await uptime();
    await expect.poll(uptime, { timeout: 60_000, interval: 500 }).not.toBe(before);
    await page.evaluate(() => document.querySelector<HTMLElement>('#tab-console-display')?.click());
    await page.keyboard.press('KeyA');
    await page.evaluate(() => document.querySelector<HTMLElement>('#tab-console-com1')?.click());
    await waitForScreen(page, /^k 1e\nk 9e$/m);
  } finally {
    await context.close();
    await server.close();
  }
});
