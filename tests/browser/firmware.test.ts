/**
 * BHYVE's firmware in a tab: its logo and its Shell on the canvas, typed into with a keyboard and with the keys that a phone has on its screen; a
 * variable that this browser keeps. WEBHYVE_FIRMWARE names a folder with BHYVE_CODE.fd and BHYVE_VARS.fd.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { afterAll, beforeEach, expect, test } from 'vitest';
import {
  chromiumBrowser,
  chromiumMissing,
  chromiumProfile,
  closeChromium,
  openPage,
  servePage,
  takeScreenshots,
  waitForScreen,
  watchPage,
} from '../support/browser.ts';
import { FIRMWARE_CODE, FIRMWARE_VARIABLES, firmwareMissing } from '../support/firmware.ts';

const WAIT_MS = 300_000;
const KEY_MS = 80;
const TEST_MS = 900_000;

beforeEach((context) => {
  const reason = firmwareMissing ?? chromiumMissing;
  if (reason !== undefined) context.skip(reason);
});
afterAll(closeChromium);

const MACHINE = [
  ...['-c', '1', '-m', '512M', '-s', '0,hostbridge', '-s', '29,fbuf,w=800,h=600', '-s', '30,xhci,tablet'],
  ...['-s', '31,lpc', '-l', 'com1,stdio'],
] as const;

/** How many of the display's pixels have a colour that the test tells. */
function countPixels(page: Page, [least, most]: readonly [number, number]): Promise<number> {
  return page.evaluate(
    ([low = 0, high = 0]) => {
      const canvas = document.querySelector('canvas');
      const copy = new OffscreenCanvas(800, 600);
      const context = copy.getContext('2d');
      if (!canvas || !context) return 0;
      context.drawImage(canvas, 0, 0);
      const { data } = context.getImageData(0, 0, 800, 600);
      let found = 0;
      for (let at = 0; at < data.length; at += 4) {
        const colour = ((data[at] ?? 0) << 16) | ((data[at + 1] ?? 0) << 8) | (data[at + 2] ?? 0);
        if (colour >= low && colour <= high) found++;
      }
      return found;
    },
    [least, most] as const,
  );
}

const WHITE = [0xfefefe, 0xffffff] as const;
/** The Shell's prompt. */
const YELLOW = [0xf0f000, 0xffff80] as const;

/** Starts the machine, sees the logo, and stops the countdown of startup.nsh. */
async function reachShell(page: Page, press: (code: string) => Promise<void>): Promise<void> {
  await page.waitForSelector('body[data-state=running]');
  await expect.poll(() => countPixels(page, WHITE), { timeout: WAIT_MS }).toBeGreaterThan(3000);
  await page.click('#tab-console-com1');
  await waitForScreen(page, /startup\.nsh/, WAIT_MS);
  await page.click('#tab-console-display');
  await press('Escape');
  await expect.poll(() => countPixels(page, YELLOW), { timeout: WAIT_MS }).toBeGreaterThan(50);
}

/** Types as a person does, who holds Shift (the display takes places of keys, not characters) and is no faster than the 16 bytes of a PS/2 keyboard. */
async function typeAtDisplay(page: Page, text: string): Promise<void> {
  const shifted = new Map([...')!@#$%^&*('].map((character, digit) => [character, `Digit${digit}`]));
  for (const character of text) {
    const key = /[A-Z]/.test(character) ? `Key${character}` : character === '_' ? 'Minus' : shifted.get(character);
    await page.keyboard.press(key === undefined ? character : `Shift+${key}`, { delay: KEY_MS });
    await page.waitForTimeout(KEY_MS);
  }
  await page.keyboard.press('Enter');
}

const VARIABLE = 'Kept -guid 12345678-1234-1234-1234-123456789abc';

test('the Shell, typed into through the canvas; a variable that the browser keeps', { timeout: TEST_MS }, async () => {
  const profile = mkdtempSync(join(tmpdir(), 'webhyve-firmware-'));
  const kept = 'opfs:vars.fd?base=variables.fd';
  const server = await servePage([...MACHINE, '-l', `bootrom,${FIRMWARE_CODE},${kept}`, 'vm']);
  const context = await chromiumProfile(profile);
  try {
    await context.route('**/variables.fd', (route) => route.fulfill({ path: FIRMWARE_VARIABLES }));
    const page = await context.newPage();
    await page.setViewportSize({ width: 1280, height: 800 });
    const complaints = await watchPage(page);
    await openPage(page, server.origin);
    await page.click('#start');
    await reachShell(page, (code) => page.keyboard.press(code));
    await typeAtDisplay(page, 'echo A-b_C!');
    await typeAtDisplay(page, `setvar ${VARIABLE} -bs -nv =4142`);
    await takeScreenshots(page, 'firmware');
    await page.click('#tab-console-com1');
    await waitForScreen(page, /^A-b_C!$/m, WAIT_MS);
    const set = await waitForScreen(page, /-nv =4142[^]*Shell>/, WAIT_MS);
    expect(set).not.toContain('Unable to set');
    await page.click('#turn-off');
    await page.waitForSelector('body[data-state=off]');

    // Another page of this browser, another day.
    await openPage(page);
    await page.click('#start');
    await reachShell(page, (code) => page.keyboard.press(code));
    await typeAtDisplay(page, `setvar ${VARIABLE}`);
    await page.click('#tab-console-com1');
    await waitForScreen(page, /41 ?42/, WAIT_MS);
    expect(complaints.errors).toEqual([]);
  } finally {
    await context.close();
    await server.close();
    rmSync(profile, { recursive: true, force: true });
  }
});

test('a phone: the Shell by the keys on the screen', { timeout: TEST_MS }, async () => {
  const server = await servePage([...MACHINE, '-l', `bootrom,${FIRMWARE_CODE},${FIRMWARE_VARIABLES}`, 'vm']);
  const phone = { viewport: { width: 390, height: 780 }, deviceScaleFactor: 3, hasTouch: true, isMobile: true };
  const context = await (await chromiumBrowser()).newContext(phone);
  const page = await context.newPage();
  try {
    await openPage(page, server.origin);
    await page.tap('#start');
    const tap = (code: string): Promise<void> => page.tap(`.screen-key[data-code=${code}]`);
    await page.waitForSelector('.screen-keys:not([hidden])', { timeout: WAIT_MS });
    await reachShell(page, tap);
    for (const code of ['KeyE', 'KeyC', 'KeyH', 'KeyO', 'Space', 'ShiftLeft', 'KeyP', 'KeyH', 'Digit1', 'Enter']) {
      await tap(code);
    }
    await takeScreenshots(page, 'firmware-phone');
    await page.tap('#tab-console-com1');
    await waitForScreen(page, /^Ph1$/m, WAIT_MS);
  } finally {
    await context.close();
    await server.close();
  }
});
