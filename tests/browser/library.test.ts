/** The library in pages of their own: the examples, a package on another origin, and what bundlers make of it. */
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build as esbuild } from 'esbuild';
import type { Page } from 'playwright-core';
import { build as vite } from 'vite';
import { afterAll, beforeEach, expect, test } from 'vitest';
import { ISOLATION_HEADERS, serveStatic, type RunningServer } from '../../host-node/web/static-server.ts';
import { contentSecurityPolicy } from '../../host-node/web/page-files.ts';
import { browserBundle, chromiumBrowser, chromiumMissing, closeChromium, watchPage } from '../support/browser.ts';
import { linuxGuest, linuxMissing, multibootPayload } from '../support/machine.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

beforeEach((context) => {
  if (chromiumMissing !== undefined) context.skip(chromiumMissing);
});
afterAll(closeChromium);

/** Writes "hi" to COM1 and halts for ever. */
const SAYS_HI = [0xba, 0xf8, 0x03, 0, 0, 0xb0, 0x68, 0xee, 0xb0, 0x69, 0xee, 0xfa, 0xf4];

/** A page's script that runs that machine with the library that `importer` imports, and leaves what became of it in `result`. */
function scriptFor(importer: string, options = '{}'): string {
  const kernel = JSON.stringify([...multibootPayload(SAYS_HI)]);
  return `${importer}
    const words = ['-m', '64M', '-s', '0,hostbridge', '-s', '31,lpc', '-l', 'com1,stdio', 'hi'];
    try {
      const machine = await Machine.fromArgs(words, { kernel: new Uint8Array(${kernel}), ...${options} });
      const printed = machine.consoles.com1.expect('hi');
      await machine.start();
      await printed;
      globalThis.result = { reason: (await machine.exited).reason, backend: machine.description.backend };
    } catch (error) {
      globalThis.result = { error: String(error) };
    }`;
}

const PAGE = '<!doctype html><meta charset="utf-8"><title>t</title><script type="module" src="./app.js"></script>';

async function serveFolder(folder: string, headers: Readonly<Record<string, string>>): Promise<RunningServer> {
  const find = (path: string): { file: string } => ({ file: join(folder, path === '/' ? 'index.html' : path) });
  return serveStatic({ find, headers }, '127.0.0.1', 0);
}

async function resultOf(page: Page): Promise<unknown> {
  const result = (): Promise<unknown> => page.evaluate(() => (globalThis as { result?: unknown }).result);
  await expect.poll(result, { timeout: 60_000 }).toBeDefined();
  return result();
}

async function runApp(folder: string): Promise<unknown> {
  const headers = { ...ISOLATION_HEADERS, 'content-security-policy': contentSecurityPolicy(['data:']) };
  const server = await serveFolder(folder, headers);
  const page = await (await chromiumBrowser()).newPage();
  try {
    const complaints = await watchPage(page);
    await page.goto(server.origin);
    const result = await resultOf(page);
    expect(complaints.errors.filter((text) => !text.includes('404'))).toEqual([]);
    return result;
  } finally {
    await page.close();
    await server.close();
  }
}

function scratch(): { folder: string; remove: () => void } {
  const folder = mkdtempSync(join(tmpdir(), 'webhyve-app-'));
  return { folder, remove: () => rmSync(folder, { recursive: true, force: true }) };
}

async function copyBundle(folder: string, filter: (name: string) => boolean): Promise<void> {
  const bundle = await browserBundle();
  mkdirSync(folder, { recursive: true });
  for (const name of readdirSync(bundle)) if (filter(name)) copyFileSync(join(bundle, name), join(folder, name));
}

test('bundled with esbuild, the workers and the core copied beside it', async () => {
  const { folder, remove } = scratch();
  try {
    const source = join(folder, 'source.js');
    writeFileSync(
      source,
      scriptFor(`import { Machine } from ${JSON.stringify(join(await browserBundle(), 'index.js'))};`),
    );
    await esbuild({
      entryPoints: [source],
      outfile: join(folder, 'app.js'),
      bundle: true,
      format: 'esm',
      logLevel: 'error',
    });
    await copyBundle(folder, (name) => /^(machine-worker\.js|vcpu-worker\.js|core\.wasm)$/.test(name));
    writeFileSync(join(folder, 'index.html'), PAGE);
    expect(await runApp(folder)).toEqual({ reason: 'halt', backend: 'thread' });
  } finally {
    remove();
  }
});

test('bundled with Vite, which finds the workers and the core itself', async () => {
  const { folder, remove } = scratch();
  try {
    await copyBundle(join(folder, 'webhyve'), (name) => !name.endsWith('.map'));
    writeFileSync(join(folder, 'app.js'), scriptFor(`import { Machine } from './webhyve/index.js';`));
    writeFileSync(join(folder, 'index.html'), PAGE);
    await vite({
      root: folder,
      base: './',
      logLevel: 'error',
      configFile: false,
      build: { outDir: 'out', target: 'es2022' },
    });
    expect(await runApp(join(folder, 'out'))).toEqual({ reason: 'halt', backend: 'thread' });
  } finally {
    remove();
  }
});

test('imported from another origin, as from a CDN', async () => {
  const cdn = await serveFolder(await browserBundle(), {
    'access-control-allow-origin': '*',
    'cross-origin-resource-policy': 'cross-origin',
    'cross-origin-embedder-policy': 'require-corp',
  });
  const { folder, remove } = scratch();
  writeFileSync(join(folder, 'index.html'), PAGE);
  writeFileSync(join(folder, 'app.js'), scriptFor(`const { Machine } = await import('${cdn.origin}/index.js');`));
  const server = await serveFolder(folder, ISOLATION_HEADERS);
  const page = await (await chromiumBrowser()).newPage();
  try {
    await page.goto(server.origin);
    expect(await resultOf(page)).toEqual({ reason: 'halt', backend: 'thread' });
  } finally {
    await page.close();
    await server.close();
    await cdn.close();
    remove();
  }
});

/** The examples, the library in `webhyve/` and the guest beside them. */
async function serveExamples(): Promise<RunningServer> {
  const bundle = await browserBundle();
  const { kernel, initrd } = await linuxGuest();
  return serveStatic(
    {
      find: (path) => {
        if (path === '/vmlinuz') return { file: kernel };
        if (path === '/initramfs.cpio.gz') return { file: initrd };
        if (path.startsWith('/webhyve/')) return { file: join(bundle, path.slice('/webhyve/'.length)) };
        return { file: join(root, 'examples/browser', path) };
      },
      headers: ISOLATION_HEADERS,
    },
    '127.0.0.1',
    0,
  );
}

test('the example with the library runs commands in Linux', async (context) => {
  const reason = await linuxMissing();
  if (reason !== undefined) context.skip(reason);
  const server = await serveExamples();
  const page = await (await chromiumBrowser()).newPage();
  try {
    await page.goto(`${server.origin}/library.html`);
    await page.waitForSelector('#run:not([disabled])', { timeout: 90_000 });
    await page.click('#run');
    await page.waitForFunction(() => document.querySelector('#output')?.textContent?.includes('(status 0)'));
    expect(await page.textContent('#output')).toMatch(/^Linux \S+\n\(status 0\)$/);
  } finally {
    await page.close();
    await server.close();
  }
});

test('the example with the custom element is a machine with a terminal', async (context) => {
  const reason = await linuxMissing();
  if (reason !== undefined) context.skip(reason);
  const server = await serveExamples();
  const page = await (await chromiumBrowser()).newPage();
  try {
    const complaints = await watchPage(page);
    await page.goto(`${server.origin}/element.html`);
    const rows = (): Promise<string> =>
      page.evaluate(() => {
        const shadow = document.querySelector('webhyve-machine')?.shadowRoot;
        return [...(shadow?.querySelectorAll('.xterm-rows > div') ?? [])].map((row) => row.textContent).join('\n');
      });
    await expect.poll(rows, { timeout: 90_000, interval: 200 }).toMatch(/\/ #/);
    await page.click('webhyve-machine .terminal');
    await page.keyboard.type('echo $((6 * 7))\n');
    await expect.poll(rows, { timeout: 30_000, interval: 200 }).toMatch(/^42\s*$/m);
    const ended = page.evaluate(
      () =>
        new Promise((resolve) => {
          document.querySelector('webhyve-machine')?.addEventListener('webhyve-exit', (event) => {
            resolve((event as CustomEvent<{ reason: string; code: number }>).detail.reason);
          });
        }),
    );
    await page.getByRole('button', { name: 'Power button' }).click();
    expect(await ended).toBe('poweroff');
    expect(complaints.errors.filter((text) => !text.includes('404'))).toEqual([]);
  } finally {
    await page.close();
    await server.close();
  }
});

test('declarations of the library are what the examples need', () => {
  // The scripts of the examples use no name that the library does not export.
  const exported = readFileSync(join(root, 'host-browser/index.ts'), 'utf8');
  const imported = readFileSync(join(root, 'examples/browser/library.html'), 'utf8').match(/import \{ (.*) \}/)?.[1];
  for (const name of imported?.split(', ') ?? ['(nothing)']) expect(exported).toMatch(new RegExp(`\\b${name}\\b`));
});
