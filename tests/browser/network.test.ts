/** Guests in Chromium on networks: one fetches from this host through a relay, two in two tabs reach one another by a channel. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { BrowserContext, Page } from 'playwright-core';
import { afterAll, afterEach, beforeEach, expect, test } from 'vitest';
import { parseAllowed } from '../../devices/net/nat/policy.ts';
import { DEFAULT_NAT_SETTINGS } from '../../devices/net/nat/settings.ts';
import { DEFAULT_RELAY_LIMITS, Relay } from '../../host-node/network/relay.ts';
import { ISOLATION_HEADERS, serveStatic, type RunningServer } from '../../host-node/web/static-server.ts';
import { browserBundle, chromiumBrowser, chromiumMissing, closeChromium } from '../support/browser.ts';
import { linuxGuest, linuxMissing, QUICK_CMDLINE } from '../support/machine.ts';

const PATIENCE_MS = 170_000;
const closing: (() => unknown)[] = [];

beforeEach(async (context) => {
  const reason = chromiumMissing ?? (await linuxMissing());
  if (reason !== undefined) context.skip(reason);
}, 300_000);
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});
afterAll(closeChromium);

/** The page's script: a machine with one more card, whose commands the test runs by `runInGuest`. */
const SCRIPT = `
  import { Machine } from './webhyve/index.js';
  const card = new URLSearchParams(location.search).get('card');
  const words = ['-A', '-H', '-m', '256M', '-s', '0,hostbridge', '-s', '31,lpc', '-l', 'com1,stdio', '-s', '3,' + card, 'networked'];
  const machine = await Machine.fromArgs(words, {
    kernel: 'vmlinuz', initrd: 'initramfs.cpio.gz', cmdline: ${JSON.stringify(QUICK_CMDLINE)},
  });
  const { com1 } = machine.consoles;
  await machine.start();
  await com1.expect('/ # ', { timeout: ${PATIENCE_MS} });
  globalThis.runInGuest = (command) => com1.run(command, { timeout: ${PATIENCE_MS} });
`;

async function servePages(): Promise<RunningServer> {
  const bundle = await browserBundle();
  const { kernel, initrd } = await linuxGuest();
  const server = await serveStatic(
    {
      find: (path) => {
        if (path === '/vmlinuz') return { file: kernel };
        if (path === '/initramfs.cpio.gz') return { file: initrd };
        if (path.startsWith('/webhyve/')) return { file: join(bundle, path.slice('/webhyve/'.length)) };
        return { file: join(bundle, 'nothing') };
      },
      headers: ISOLATION_HEADERS,
    },
    '127.0.0.1',
    0,
  );
  closing.push(() => server.close());
  return server;
}

/** A browser's window of its own: tabs of two windows of that kind share no channels. */
async function openWindow(): Promise<BrowserContext> {
  const window = await (await chromiumBrowser()).newContext();
  closing.push(() => window.close());
  return window;
}

/** A tab with a machine; resolves when its guest has a prompt. */
async function openTab(window: BrowserContext, server: RunningServer, card: string): Promise<Page> {
  const page = await window.newPage();
  const html = `<!doctype html><meta charset="utf-8"><title>t</title><script type="module">${SCRIPT}</script>`;
  await page.route('**/machine.html*', (route) =>
    route.fulfill({ body: html, contentType: 'text/html', headers: { ...ISOLATION_HEADERS } }),
  );
  await page.goto(`${server.origin}/machine.html?card=${encodeURIComponent(card)}`);
  await page.waitForFunction(() => 'runInGuest' in globalThis, undefined, { timeout: PATIENCE_MS });
  return page;
}

interface Result {
  readonly output: string;
  readonly status: number;
}

async function run(page: Page, command: string): Promise<string> {
  const { output, status } = await page.evaluate(
    (text) => (globalThis as unknown as { runInGuest(command: string): Promise<Result> }).runInGuest(text),
    command,
  );
  expect(status, `status of: ${command}\n${output}`).toBe(0);
  return output;
}

test(
  'a guest fetches a page through a relay with the user-mode network behind it',
  { timeout: 2 * PATIENCE_MS },
  async () => {
    const relay = await Relay.listen({
      address: '127.0.0.1',
      port: 0,
      limits: DEFAULT_RELAY_LIMITS,
      nat: { ...DEFAULT_NAT_SETTINGS, policy: { open: true, allowed: parseAllowed('loopback').prefixes } },
    });
    closing.push(() => relay.close());
    const asked: string[] = [];
    const web: Server = createServer(({ url = '' }, response) => {
      asked.push(url);
      response.end('a page from the host\n');
    });
    closing.push(() => web.close());
    await new Promise<void>((resolve) => web.listen(0, '127.0.0.1', resolve));
    const { port } = web.address() as AddressInfo;

    const page = await openTab(
      await openWindow(),
      await servePages(),
      `virtio-net,ws=ws://127.0.0.1:${relay.port}/room`,
    );
    await run(page, 'until ip route | grep -q default; do sleep 0.2; done');
    expect(await run(page, 'ip addr show eth0')).toContain('10.0.2.15/24');
    expect(await run(page, `wget -q -O - http://10.0.2.2:${port}/page`)).toBe('a page from the host\n');
    expect(asked).toEqual(['/page']);
  },
);

test('guests in two tabs ping one another by a channel', { timeout: 3 * PATIENCE_MS }, async () => {
  const server = await servePages();
  const window = await openWindow();
  const tabs: Page[] = [];
  for (const last of [1, 2]) {
    const page = await openTab(window, server, `virtio-net,channel=tabs,mac=52:54:00:00:00:0${last}`);
    await run(
      page,
      `killall udhcpc; ip addr flush dev eth0; ip addr add 192.168.7.${last}/24 dev eth0; ip link set eth0 up`,
    );
    tabs.push(page);
  }
  const [first, second] = tabs;
  if (!first || !second) throw new Error('two tabs');
  expect(await run(first, 'ping -c 3 192.168.7.2')).toContain(' 0% packet loss');
  expect(await run(second, 'ping -c 3 192.168.7.1')).toContain(' 0% packet loss');
});
