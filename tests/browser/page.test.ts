/** The page in Chromium: a guest from its first instruction to its end, as a person sees it. */
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import {
  chromiumBrowser,
  chromiumMissing,
  closeChromium,
  linuxArgs,
  longTasks,
  openPage,
  PROMPT,
  servePage,
  takeScreenshots,
  typeLine,
  waitForScreen,
  watchPage,
  watchTasks,
} from '../support/browser.ts';
import { linuxMissing } from '../support/machine.ts';

/** Pictures of every state are made for docs/screenshots alone. */
const DOCUMENTING = process.env['WEBHYVE_SCREENSHOTS'] !== undefined;

beforeEach(async (context) => {
  const reason = chromiumMissing ?? (await linuxMissing());
  if (reason !== undefined) context.skip(reason);
}, 300_000);
afterAll(closeChromium);

describe('two processors', () => {
  test('boot, type, read, power off; the page stays alive and keeps its policy', async () => {
    const server = await servePage(await linuxArgs(['-c', '2']));
    const page = await (await chromiumBrowser()).newPage();
    try {
      const complaints = await watchPage(page);
      await watchTasks(page);
      await openPage(page, server.origin);
      expect(await page.evaluate(() => crossOriginIsolated)).toBe(true);
      expect(await page.textContent('#state-text')).toBe('Off');
      await takeScreenshots(page, 'off');
      await page.click('#start');
      await waitForScreen(page, PROMPT);
      expect(await page.textContent('#state-text')).toBe('Running');
      await takeScreenshots(page, 'running');
      expect(await page.textContent('#engine')).toBe('threads · JIT');

      await typeLine(page, 'nproc; echo $((6 * 7))');
      expect(await waitForScreen(page, /^42$/m)).toMatch(/^2$/m);
      await typeLine(page, 'dmesg | grep -E "unstable|warp|BUG:|Oops|lockup|stall"; echo clock $?');
      await waitForScreen(page, /^clock 1$/m);

      // Colours that no class stands for are styles of a cell, under a policy that allows no style attributes.
      await typeLine(page, "printf '\\033[38;2;18;52;86m\\033[48;2;255;250;240mtinted\\033[0m %s\\n' done");
      await waitForScreen(page, /^tinted done$/m);
      const tinted = await page.evaluate(() => {
        const cells = [...document.querySelectorAll('.xterm-rows span')];
        const cell = cells.find((span) => span.textContent === 'tinted');
        return cell && [getComputedStyle(cell).color, getComputedStyle(cell).backgroundColor];
      });
      expect(tinted).toEqual(['rgb(18, 52, 86)', 'rgb(255, 250, 240)']);

      // Both processors busy, and one prints: the guest waits for the terminal, and the page for nobody.
      await longTasks(page);
      await typeLine(page, 'clear; (while :; do :; done) & yes 0123456789 | head -n 60000; kill $!; echo flood over');
      await waitForScreen(page, /^0123456789$/m);
      await page.click('#show-files');
      await page.waitForSelector('#files:not([hidden])');
      if (DOCUMENTING) await takeScreenshots(page, 'files');
      await page.click('#show-files');
      await waitForScreen(page, /^flood over$/m);
      const tasks = await longTasks(page);
      const longest = Math.max(0, ...tasks);
      console.log(`the page's main thread was busy for more than 50 ms ${tasks.length} times, at most ${longest} ms`);
      // The budget of 50 ms is tests/browser/pace.test.ts's, which has the host to itself; here the page answered a click meanwhile.

      await page.click('#pause');
      await page.waitForSelector('body[data-state=paused]');
      if (DOCUMENTING) await takeScreenshots(page, 'paused');
      await page.click('#pause');
      await page.waitForSelector('body[data-state=running]');

      await page.click('#power-button');
      await page.waitForSelector('body[data-state=ended]');
      expect(await page.textContent('#curtain-title')).toBe('The guest powered the machine off.');
      await takeScreenshots(page, 'ended');
      expect(await page.textContent('#curtain-text')).toBe('bhyve would have ended with status 1 (poweroff).');

      expect(complaints.errors).toEqual([]);
      const paths = complaints.requests.map((url) => url.replace(server.origin, ''));
      expect(
        paths.filter(
          (path) => !/^\/($|page\.|chunk-|machine-worker|vcpu-worker|core\.wasm|icon\.svg|files\/)/.test(path),
        ),
      ).toEqual([]);
      expect(paths.filter((path) => path.startsWith('/files/')).sort()).toEqual([
        '/files/initramfs.cpio.gz',
        '/files/vmlinuz',
      ]);
    } finally {
      await page.close();
      await server.close();
    }
  });
});

test('a server without headers: one thread, and it says so', async () => {
  const server = await servePage(await linuxArgs(['-s', '4,virtio-net,fetch']), { isolated: false });
  const page = await (await chromiumBrowser()).newPage();
  try {
    const complaints = await watchPage(page);
    await openPage(page, server.origin);
    expect(await page.evaluate(() => crossOriginIsolated)).toBe(false);
    await page.click('#start');
    await waitForScreen(page, PROMPT);
    expect(await page.textContent('#engine')).toBe('inline · JIT');
    expect(await page.textContent('#messages')).toContain('no shared memory, so all processors share one thread');
    await typeLine(page, 'echo $((6 * 7))');
    await waitForScreen(page, /^42$/m);
    // The status line tells what the guest sends and receives, both ways, and then that it has stopped.
    const network = (): Promise<string | null> => page.textContent('#network-activity');
    await typeLine(page, 'until ip route | grep -q default; do sleep 0.2; done; ping -c 25 -i 0.2 -q 10.0.2.2');
    await expect
      .poll(network, { timeout: 30_000, interval: 200 })
      .toMatch(/^net ↓ [1-9]\S* \S*B\/s ↑ [1-9]\S* \S*B\/s$/);
    await waitForScreen(page, / 0% packet loss/);
    await expect.poll(network, { timeout: 30_000, interval: 200 }).toBe('net ↓ 0 B/s ↑ 0 B/s');
    // A reset ends bhyve, and the page starts it again.
    await typeLine(page, 'reboot -f');
    await page.waitForSelector('body[data-state=loading]');
    await page.waitForSelector('body[data-state=running]');
    await page.click('#turn-off');
    await page.waitForSelector('body[data-state=off]');
    expect(complaints.errors).toEqual([]);
  } finally {
    await page.close();
    await server.close();
  }
});

describe('the command line', () => {
  test('is completed, checked and refused as bhyve refuses it', async () => {
    const server = await servePage(['-s', '0,hostbridge', '-l', 'com1,stdio', 'vm']);
    const page = await (await chromiumBrowser()).newPage();
    try {
      const complaints = await watchPage(page);
      await openPage(page, server.origin);
      await page.fill('#command-line', '');
      await page.focus('#command-line');
      await page.keyboard.type('-s 3,virtio-b');
      await page.waitForSelector('#suggestions:not([hidden])');
      expect(await page.getAttribute('#command-line', 'aria-expanded')).toBe('true');
      await page.keyboard.press('ArrowDown');
      expect(await page.getAttribute('#command-line', 'aria-activedescendant')).toBe('suggestion-0');
      await page.keyboard.press('Tab');
      expect(await page.inputValue('#command-line')).toBe('-s 3,virtio-blk');
      await page.keyboard.press('Escape');

      await page.fill('#command-line', '-m nonsense vm');
      expect(await page.textContent('#command-problem')).not.toBe('');
      await page.fill('#command-line', '-s 0,hostbridge -s 31,lpc -l com1,stdio -f kexec,missing.img vm');
      await page.keyboard.press('Control+Enter');
      await page.waitForSelector('body[data-state=failed]');
      expect(await page.textContent('#curtain-text')).toMatch(/missing\.img: the server answers 404/);
      if (DOCUMENTING) await takeScreenshots(page, 'failed');
      // The browser itself reports the answer; nothing else went wrong.
      expect(complaints.errors.filter((text) => !text.includes('404'))).toEqual([]);

      await page.keyboard.press('F1');
      await page.fill('#help-search', 'virtio-rnd');
      expect(await page.textContent('#help-text')).toContain('-s slot,virtio-rnd');
      if (DOCUMENTING) await takeScreenshots(page, 'help');
      await page.keyboard.press('Escape');
    } finally {
      await page.close();
      await server.close();
    }
  });
});
