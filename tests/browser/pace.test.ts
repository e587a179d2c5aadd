/**
 * Figures for docs/browser.md, not limits: booting in Chromium beside Node in one run, a published snapshot at the shell, the longest task of the
 * page's main thread. WEBHYVE_PACE=1 on a machine that has nothing else to do.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { afterAll, beforeEach, expect, test } from 'vitest';
import {
  chromiumBrowser,
  chromiumMissing,
  closeChromium,
  linuxArgs,
  longTasks,
  openPage,
  PROMPT,
  servePage,
  servePublished,
  typeLine,
  waitForScreen,
  watchTasks,
} from '../support/browser.ts';
import { destroyTestMachines, linuxMissing, testMachine } from '../support/machine.ts';

const ROUNDS = 2;

/** By the page's own clock, in milliseconds. */
interface PaceMarks {
  readonly started: number;
  readonly running: number;
  readonly shell: number;
}

/** Notes when the page's Start is pressed, when its machine runs, and when its terminal has a prompt: what drives the browser has its own delays. */
async function watchShell(page: Page): Promise<void> {
  await page.addInitScript(() => {
    const marks: Record<string, number> = {};
    const mark = (name: string): void => {
      marks[name] ??= performance.now();
      Object.assign(globalThis, marks);
    };
    addEventListener('click', () => mark('started'), true);
    const timer = setInterval(() => {
      if (document.body?.dataset['state'] !== 'running') return;
      mark('running');
      const rows = [...document.querySelectorAll('.xterm-rows > div')].map((row) => row.textContent);
      if (!rows.some((row) => /^\/ # ?\s*$/.test(row.replaceAll('\u00a0', ' ')))) return;
      mark('shell');
      clearInterval(timer);
    }, 5);
  });
}

beforeEach(async (context) => {
  if (process.env['WEBHYVE_PACE'] === undefined) context.skip('WEBHYVE_PACE is not set');
  const reason = chromiumMissing ?? (await linuxMissing());
  if (reason !== undefined) context.skip(reason);
}, 300_000);
afterAll(async () => {
  await closeChromium();
  await destroyTestMachines();
});

test('booting beside Node; the main thread', { timeout: 600_000 }, async () => {
  const argv = await linuxArgs();
  const server = await servePage(argv);
  const page = await (await chromiumBrowser()).newPage();
  const seconds = { node: [] as number[], chromium: [] as number[] };
  try {
    await watchTasks(page);
    for (let round = 0; round < ROUNDS; round++) {
      const before = performance.now();
      await using node = await testMachine(argv);
      node.machine.start();
      await node.com1.expect('/ # ', { timeout: 150_000 });
      seconds.node.push((performance.now() - before) / 1000);
      await node.machine.destroy();

      await openPage(page, server.origin);
      await longTasks(page);
      const started = performance.now();
      await page.click('#start');
      await waitForScreen(page, PROMPT, 150_000);
      seconds.chromium.push((performance.now() - started) / 1000);
      console.log(`while booting, tasks of more than 50 ms: ${String(await longTasks(page))}`);
      await typeLine(
        page,
        'clear; (while :; do :; done) & yes 0123456789 | head -n 60000; kill $!; echo flood $((40+2))',
      );
      await waitForScreen(page, /^flood 42$/m, 150_000);
      console.log(`while a guest floods the terminal: ${String(await longTasks(page))}`);
      await page.click('#turn-off');
      await page.waitForSelector('body[data-state=off]');
    }
  } finally {
    await page.close();
    await server.close();
  }
  const format = (list: readonly number[]): string => list.map((value) => value.toFixed(2)).join(' ');
  const ratio = Math.min(...seconds.chromium) / Math.min(...seconds.node);
  console.log(`Node ${format(seconds.node)} s, Chromium ${format(seconds.chromium)} s: ${ratio.toFixed(2)} times`);
});

test('a published snapshot', { timeout: 600_000 }, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'webhyve-site-'));
  try {
    const { server } = await servePublished(folder, 'Pace');
    try {
      for (let round = 0; round < ROUNDS; round++) {
        // Nothing in any cache.
        const context = await (await chromiumBrowser()).newContext();
        const page = await context.newPage();
        await watchTasks(page);
        await watchShell(page);
        await page.goto(server.origin);
        await expect.poll(() => page.evaluate(() => crossOriginIsolated).catch(() => false)).toBe(true);
        await page.waitForSelector('#start:not([disabled])');
        await page.click('#start');
        await page.waitForSelector('body[data-state=running]');
        await page.keyboard.press('Enter');
        await waitForScreen(page, PROMPT);
        const { started, running, shell } = await page.evaluate(() => {
          const marks = globalThis as unknown as PaceMarks;
          return { started: marks.started, running: marks.running, shell: marks.shell };
        });
        console.log(
          `at the shell ${Math.round(shell - started)} ms after Start, running after ${Math.round(running - started)} ms; ` +
            `tasks of more than 50 ms: ${String(await longTasks(page))}`,
        );
        await context.close();
      }
    } finally {
      await server.close();
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
