/** One snapshot format, two hosts; and published folders, which start at the shell. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, expect, test } from 'vitest';
import {
  chromiumBrowser,
  chromiumMissing,
  closeChromium,
  linuxArgs,
  openPage,
  PROMPT,
  servePage,
  servePublished,
  typeLine,
  waitForScreen,
  watchPage,
} from '../support/browser.ts';
import { destroyTestMachines, linuxMissing, testMachine } from '../support/machine.ts';

beforeEach(async (context) => {
  const reason = chromiumMissing ?? (await linuxMissing());
  if (reason !== undefined) context.skip(reason);
}, 300_000);
afterAll(async () => {
  await closeChromium();
  await destroyTestMachines();
});

test('a machine saved under Node goes on in the tab, and the other way', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'webhyve-snapshot-'));
  const argv = await linuxArgs(['-s', '4,virtio-rnd']);
  const server = await servePage(argv);
  const page = await (await chromiumBrowser()).newPage();
  try {
    const file = join(folder, 'node.snapshot');
    {
      await using node = await testMachine(argv);
      node.machine.start();
      await node.com1.expect('/ # ', { timeout: 90_000 });
      await node.com1.run('from_node=carried; sleep 1000 &');
      writeFileSync(file, await node.machine.snapshot());
    }
    const complaints = await watchPage(page);
    await openPage(page, server.origin);
    await page.setInputFiles('#snapshot-picker', file);
    await page.waitForSelector('body[data-state=running]', { timeout: 60_000 });
    await page.click('#panels');
    await typeLine(page, 'echo $from_node; from_tab=back; jobs');
    expect(await waitForScreen(page, /^carried$/m)).toMatch(/sleep 1000/);
    const download = page.waitForEvent('download');
    await page.click('#save-snapshot');
    const saved = readFileSync(await (await download).path());
    await page.click('#turn-off');
    expect(complaints.errors).toEqual([]);

    await using again = await testMachine(argv, { restored: true });
    await again.machine.restore(new Uint8Array(saved));
    again.machine.start();
    again.com1.send('\n');
    const { output } = await again.com1.run('echo $from_node $from_tab; head -c 4 /dev/hwrng | wc -c', {
      timeout: 60_000,
    });
    expect(output).toMatch(/^carried back\n4\n$/);
  } finally {
    await page.close();
    await server.close();
    rmSync(folder, { recursive: true, force: true });
  }
});

test('a published folder starts at the shell on a server that sends no headers', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'webhyve-site-'));
  try {
    const { server, files } = await servePublished(folder, 'A <demo>');
    expect(files).toBe(3);
    let chunks = 0;
    server.server.on('request', ({ url = '' }: IncomingMessage) => {
      if (url.endsWith('.chunk')) chunks++;
    });
    const page = await (await chromiumBrowser()).newPage();
    try {
      const complaints = await watchPage(page);
      await page.goto(server.origin);
      // The service worker has taken the page over: shared memory without a header from the server.
      await expect
        .poll(() => page.evaluate(() => crossOriginIsolated).catch(() => false), { timeout: 20_000 })
        .toBe(true);
      await page.waitForSelector('#start:not([disabled])');
      expect(await page.title()).toBe('A <demo>');
      const before = performance.now();
      await page.click('#start');
      await page.waitForSelector('body[data-state=running]');
      await page.keyboard.press('Enter');
      await waitForScreen(page, PROMPT);
      console.log(`a published snapshot was at the shell ${Math.round(performance.now() - before)} ms after Start`);
      await typeLine(page, 'echo $((6 * 7))');
      await waitForScreen(page, /^42$/m);
      expect(await page.textContent('#engine')).toBe('threads · JIT');
      expect(complaints.errors).toEqual([]);
      // Kernel and initial RAM disk are named, but a restored machine needs neither.
      expect(complaints.requests.filter((url) => /vmlinuz|initramfs/.test(url))).toEqual([]);

      // The next time, the browser has what it needs: the names of chunks say what they hold.
      expect(chunks).toBeGreaterThan(3);
      chunks = 0;
      await openPage(page);
      await page.click('#start');
      await page.waitForSelector('body[data-state=running]');
      await page.keyboard.press('Enter');
      await waitForScreen(page, PROMPT);
      expect(chunks).toBe(0);
    } finally {
      await page.close();
      await server.close();
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
