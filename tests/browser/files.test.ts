/** Files that a page gives a guest and takes back: from the browser's private file system, over 9P, and into it again. */
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { contentSecurityPolicy } from '../../host-node/web/page-files.ts';
import { ISOLATION_HEADERS, serveStatic } from '../../host-node/web/static-server.ts';
import { browserBundle, chromiumBrowser, chromiumMissing, closeChromium, watchPage } from '../support/browser.ts';
import { BASIC_ARGS, linuxGuest, linuxMissing, QUICK_CMDLINE } from '../support/machine.ts';

afterAll(closeChromium);

/** What the page of the test does; `report` is what it found. */
const SCRIPT = `
  import { Machine } from './webhyve/index.js';
  globalThis.work = async (words, cmdline) => {
    const storage = await navigator.storage.getDirectory();
    const put = async (folder, name, text) => {
      const file = await (await folder.getFileHandle(name, { create: true })).createWritable();
      await file.write(text);
      await file.close();
    };
    const job = await storage.getDirectoryHandle('job', { create: true });
    await put(job, 'Zahlen übrig.txt', '3\\n1\\n2\\n');
    const deep = await (await job.getDirectoryHandle('a', { create: true })).getDirectoryHandle('b', { create: true });
    await put(deep, 'large', new Uint8Array(3_000_000).fill(7));

    const machine = await Machine.fromArgs(words, { kernel: 'vmlinuz', initrd: 'initramfs.cpio.gz', cmdline });
    await machine.fs.load(job, 'in');
    await machine.start();
    const { com1 } = machine.consoles;
    await com1.expect('/ # ', { timeout: 150_000 });
    const { output, status } = await com1.run(
      'set -e; mkdir /w; mount -t 9p -o trans=virtio,version=9p2000.L work /w; mkdir -p /w/out/deep; ' +
        'sort -n "/w/in/Zahlen übrig.txt" > /w/out/sorted; cp /w/in/a/b/large /w/out/deep/; echo end >> /w/out/deep/large; ' +
        'ln -s sorted /w/out/link; umount /w; echo written',
      { timeout: 60_000 },
    );
    const results = await storage.getDirectoryHandle('results', { create: true });
    await put(results, 'earlier', 'stays');
    await machine.fs.save(results, 'out');
    await machine.destroy();

    const read = async (folder, name) => (await (await folder.getFileHandle(name)).getFile()).arrayBuffer();
    const large = new Uint8Array(await read(await results.getDirectoryHandle('deep'), 'large'));
    const names = [];
    for await (const name of results.keys()) names.push(name);
    return {
      output, status, names: names.sort(),
      sorted: new TextDecoder().decode(await read(results, 'sorted')),
      large: [large.length, large.subarray(0, 3_000_000).every((byte) => byte === 7), new TextDecoder().decode(large.subarray(3_000_000))],
    };
  };`;

test('a folder of the browser goes to the guest, and what the guest made of it comes back', async (context) => {
  const missing = chromiumMissing ?? (await linuxMissing('generic'));
  if (missing !== undefined) context.skip(missing);
  const { kernel, initrd, modules } = await linuxGuest('generic');
  if (!modules.includes('9pnet_virtio')) context.skip('the guest has no 9P');
  const bundle = await browserBundle();
  const find = (path: string): { file: string } | { bytes: Uint8Array; type: string } => {
    if (path === '/vmlinuz') return { file: kernel };
    if (path === '/initramfs.cpio.gz') return { file: initrd };
    if (path.startsWith('/webhyve/')) return { file: join(bundle, path.slice('/webhyve/'.length)) };
    const [text, type] =
      path === '/app.js'
        ? [SCRIPT, 'text/javascript']
        : ['<!doctype html><title>t</title><script type="module" src="app.js"></script>', 'text/html'];
    return { bytes: new TextEncoder().encode(text), type };
  };
  const headers = { ...ISOLATION_HEADERS, 'content-security-policy': contentSecurityPolicy([]) };
  const server = await serveStatic({ find, headers }, '127.0.0.1', 0);
  const page = await (await chromiumBrowser()).newPage();
  try {
    const complaints = await watchPage(page);
    await page.goto(server.origin);
    await page.waitForFunction(() => 'work' in globalThis);
    const words = [...BASIC_ARGS, '-m', '512M', '-s', '4,virtio-9p,work=memory:', 'files'];
    const report = await page.evaluate(
      ({ words, cmdline }) =>
        (globalThis as unknown as { work(words: string[], cmdline: string): Promise<unknown> }).work(words, cmdline),
      { words, cmdline: QUICK_CMDLINE },
    );
    expect(report).toEqual({
      output: 'written\n',
      status: 0,
      names: ['deep', 'earlier', 'sorted'],
      sorted: '1\n2\n3\n',
      large: [3_000_004, true, 'end\n'],
    });
    expect(complaints.errors).toEqual([]);
  } finally {
    await page.close();
    await server.close();
  }
});
