/** The page in Firefox: boot and shell, with threads. */
import { beforeEach, expect, test } from 'vitest';
import { linuxArgs, servePage } from '../support/browser.ts';
import { Firefox, firefoxMissing } from '../support/firefox.ts';
import { linuxMissing } from '../support/machine.ts';

beforeEach(async (context) => {
  const reason = firefoxMissing ?? (await linuxMissing());
  if (reason !== undefined) context.skip(reason);
}, 300_000);

test('boots to the shell, answers, and shows how the machine ended', async () => {
  const server = await servePage(await linuxArgs());
  await using firefox = await Firefox.launch();
  const screen = (): Promise<string> =>
    firefox.text(
      `[...document.querySelectorAll('.xterm-rows > div')].map((row) => row.textContent.trimEnd()).join('\\n')`,
    );
  const state = (): Promise<string> => firefox.text('document.body.dataset.state');
  try {
    await firefox.goto(server.origin);
    expect(await firefox.text('String(crossOriginIsolated)')).toBe('true');
    const startable = (): Promise<string> => firefox.text(`String(!document.querySelector('#start').disabled)`);
    await expect.poll(startable, { timeout: 60_000, interval: 100 }).toBe('true');
    await firefox.text(`document.querySelector('#start').click(), ''`);
    await expect.poll(screen, { timeout: 120_000, interval: 500 }).toMatch(/\/ # ?$/m);
    expect(await firefox.text(`document.querySelector('#engine').textContent`)).toBe('threads · JIT');
    expect(await firefox.text(`document.querySelector('#messages').textContent`)).not.toMatch(/error/i);
    await firefox.type('echo $((6 * 7))\n');
    await expect.poll(screen, { timeout: 60_000, interval: 200 }).toMatch(/^42$/m);
    await firefox.type('poweroff -f\n');
    await expect.poll(state, { timeout: 60_000, interval: 200 }).toBe('ended');
    const title = await firefox.text(`document.querySelector('#curtain-title').textContent`);
    expect(title).toBe('The guest powered the machine off.');
  } finally {
    await server.close();
  }
});
