/** Chromium for tests: the programs of Debian, driven by playwright-core; pages and guests from servers of this process. */
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium, type Browser, type BrowserContext, type Page } from 'playwright-core';
import { bundleBrowser } from '../../host-node/setup/bundle-browser.mjs';
import { startDevServer, type DevServerOptions } from '../../host-node/web/dev-server.ts';
import { writeSite } from '../../host-node/web/site.ts';
import { serveStatic, type RunningServer } from '../../host-node/web/static-server.ts';
import { compileCore, compiledCorePath } from './compile-core.ts';
import { BASIC_ARGS, linuxGuest, QUICK_CMDLINE } from './machine.ts';
import { vcpuWorkerForTests } from './machine-worker.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** Where Linux distributions put it. */
const CHROMIUM_PATHS = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

/** Nothing but what the tests ask for goes over the network; containers have no sandbox of their own. */
export const CHROMIUM_ARGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

const chromiumPath = process.env['WEBHYVE_CHROMIUM'] ?? CHROMIUM_PATHS.find((path) => existsSync(path));

/** Why there is no browser to test in; undefined when there is one. For `context.skip(reason)`. */
export const chromiumMissing = chromiumPath === undefined ? 'chromium is not installed' : undefined;

let browser: Promise<Browser> | undefined;

/** The browser of this test file. */
export function chromiumBrowser(): Promise<Browser> {
  if (chromiumPath === undefined) throw new Error('no chromium');
  browser ??= chromium.launch({ executablePath: chromiumPath, headless: true, args: CHROMIUM_ARGS });
  return browser;
}

/** A browser with a profile on disk, whose private file system outlives its pages. */
export function chromiumProfile(folder: string): Promise<BrowserContext> {
  if (chromiumPath === undefined) throw new Error('no chromium');
  const options = { executablePath: chromiumPath, headless: true, args: CHROMIUM_ARGS };
  return chromium.launchPersistentContext(folder, options);
}

export async function closeChromium(): Promise<void> {
  const running = browser;
  browser = undefined;
  await (await running)?.close();
}

let bundled: Promise<string> | undefined;

/** The folder with what browsers load, built from the sources once per test process. */
export function browserBundle(): Promise<string> {
  bundled ??= (async () => {
    const outdir = join(root, 'build', 'test', `browser-${process.pid}`);
    mkdirSync(outdir, { recursive: true });
    process.once('exit', () => rmSync(outdir, { recursive: true, force: true }));
    await bundleBrowser({ core: await compiledCorePath('core-as/index.ts', 'release'), outdir });
    return outdir;
  })();
  return bundled;
}

/** Words of a command line that boots the Linux guest; `args` before the machine's name. */
export async function linuxArgs(args: readonly string[] = [], append = ''): Promise<string[]> {
  const { kernel, initrd } = await linuxGuest();
  const words = `${QUICK_CMDLINE} ${append}`.trim();
  return [...BASIC_ARGS, '-u', '-m', '256M', ...args, '-f', `kexec,${kernel},${initrd},${words}`, 'vm'];
}

/** The page on a server, open on a command line. */
export async function servePage(
  argv: readonly string[],
  options: Partial<Omit<DevServerOptions, 'argv'>> = {},
): Promise<RunningServer> {
  return startDevServer({
    argv,
    directory: process.cwd(),
    host: '127.0.0.1',
    port: 0,
    browserFolder: await browserBundle(),
    ...options,
  });
}

/** A published folder that starts at the shell of the Linux guest, on a server that sends no headers of its own. */
export async function servePublished(folder: string, title: string): Promise<{ server: RunningServer; files: number }> {
  const { files } = await writeSite({
    folder,
    argv: await linuxArgs(['-m', '128M']),
    directory: process.cwd(),
    title,
    snapshotAt: '/ # ',
    browserFolder: await browserBundle(),
    host: { core: await compileCore('core-as/index.ts', 'release'), workerUrl: await vcpuWorkerForTests() },
  });
  const find = (path: string): { file: string } => ({ file: join(folder, path === '/' ? 'index.html' : path) });
  return { server: await serveStatic({ find, headers: {} }, '127.0.0.1', 0), files };
}

/** Opens the page, or loads it again, and waits until it can be used. */
export async function openPage(page: Page, address?: string): Promise<void> {
  if (address === undefined) await page.reload();
  else await page.goto(address);
  await page.waitForSelector('#start:not([disabled])');
}

/** Notes every task of the page's main thread that takes more than 50 ms, from its next address on. */
export async function watchTasks(page: Page): Promise<void> {
  await page.addInitScript(() => {
    const tasks: number[] = [];
    new PerformanceObserver((list) => {
      for (const { duration } of list.getEntries()) tasks.push(Math.round(duration));
    }).observe({ type: 'longtask' });
    Object.assign(globalThis, { longTasks: tasks });
  });
}

/** Milliseconds of the tasks noted since the last call. */
export function longTasks(page: Page): Promise<number[]> {
  return page.evaluate(() => (globalThis as unknown as { longTasks: number[] }).longTasks.splice(0));
}

/** What a page said that nobody wanted to hear: errors, and violations of its content security policy. */
export interface PageComplaints {
  readonly errors: string[];
  /** Addresses of everything that was fetched. */
  readonly requests: string[];
}

/** Listens to a page from its beginning. */
export async function watchPage(page: Page): Promise<PageComplaints> {
  const complaints: PageComplaints = { errors: [], requests: [] };
  page.on('pageerror', (error) => complaints.errors.push(String(error.stack ?? error.message)));
  page.on('console', (message) => {
    if (message.type() === 'error') complaints.errors.push(message.text());
  });
  page.on('request', (request) => complaints.requests.push(request.url()));
  page.on('dialog', (dialog) => void dialog.accept());
  await page.addInitScript(() => {
    addEventListener('securitypolicyviolation', (event) => {
      console.error(`policy: ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`);
    });
  });
  return complaints;
}

/** What the terminal that is shown has on its screen. */
export function screenText(page: Page): Promise<string> {
  return page.evaluate(() => {
    const rows = [...document.querySelectorAll('[role=tabpanel]:not([hidden]) .xterm-rows > div')];
    return rows.map((row) => (row.textContent ?? '').replaceAll('\u00a0', ' ').trimEnd()).join('\n');
  });
}

/** Waits until the terminal shows a text. */
export async function waitForScreen(page: Page, pattern: RegExp, timeoutMs = 60_000): Promise<string> {
  const end = Date.now() + timeoutMs;
  for (;;) {
    const text = await screenText(page);
    if (pattern.test(text)) return text;
    if (Date.now() > end)
      throw new Error(`${String(pattern)} was not shown within ${timeoutMs} ms; the terminal has:\n${text}`);
    await page.waitForTimeout(100);
  }
}

/** Types a line into the terminal, as a person would. */
export async function typeLine(page: Page, line: string): Promise<void> {
  await page.keyboard.type(line);
  await page.keyboard.press('Enter');
}

export const PROMPT = /\/ # ?$/m;

/**
 * Pictures of a state of the page, as a person would see it: on a desk and in the hand, light and dark. They go to artifacts/screenshots, or to the folder
 * that WEBHYVE_SCREENSHOTS names (docs/screenshots, when the page has changed).
 */
export async function takeScreenshots(page: Page, state: string): Promise<void> {
  const folder = join(root, process.env['WEBHYVE_SCREENSHOTS'] ?? 'artifacts/screenshots');
  mkdirSync(folder, { recursive: true });
  const before = page.viewportSize();
  for (const [device, size] of Object.entries({
    desktop: { width: 1280, height: 800 },
    phone: { width: 390, height: 780 },
  })) {
    await page.setViewportSize(size);
    for (const colorScheme of ['light', 'dark'] as const) {
      // Colours that are on their way from one scheme to the other are no state of the page.
      await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
      await page.screenshot({ path: join(folder, `${state}-${device}-${colorScheme}.png`), scale: 'css' });
    }
  }
  await page.emulateMedia({ colorScheme: null, reducedMotion: null });
  if (before) await page.setViewportSize(before);
}
