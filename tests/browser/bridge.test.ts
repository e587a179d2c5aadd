/** The page as the terminal of a machine that runs under Node: -l com1,ws=ADDRESS:PORT. */
import { afterAll, afterEach, beforeEach, expect, test } from 'vitest';
import { parseCharacterAddress } from '../../devices/backends/character.ts';
import { SerialOpener } from '../../host-node/console/open-serial.ts';
import {
  chromiumBrowser,
  chromiumMissing,
  closeChromium,
  PROMPT,
  servePage,
  typeLine,
  waitForScreen,
  watchPage,
} from '../support/browser.ts';
import { bootLinux, destroyTestMachines, linuxMissing } from '../support/machine.ts';

beforeEach(async (context) => {
  const reason = chromiumMissing ?? (await linuxMissing());
  if (reason !== undefined) context.skip(reason);
}, 300_000);
afterEach(destroyTestMachines);
afterAll(closeChromium);

test('types into a machine elsewhere and shows what it prints', async () => {
  const said: string[] = [];
  const opener = new SerialOpener(
    () => undefined,
    undefined,
    (text) => said.push(text),
  );
  await using guest = await bootLinux({
    backends: { character: () => opener.open(parseCharacterAddress('ws=127.0.0.1:0')) },
  });
  const url = /the console is at (ws:\S+)/.exec(said.join('\n'))?.[1] ?? '';
  const server = await servePage(['vm']);
  const page = await (await chromiumBrowser()).newPage();
  try {
    const complaints = await watchPage(page);
    await page.goto(`${server.origin}/#attach=${encodeURIComponent(url)}`);
    // What was printed last, before anybody was there.
    await waitForScreen(page, PROMPT);
    await typeLine(page, 'echo $((6 * 7))');
    await waitForScreen(page, /^42$/m);
    await typeLine(page, 'seq 1 30000 | md5sum');
    await waitForScreen(page, /^[0-9a-f]{32} {2}-$/m);
    await typeLine(page, 'poweroff -f');
    expect(await guest.machine.exited).toMatchObject({ reason: 'poweroff' });
    await expect.poll(() => page.textContent('#messages'), { timeout: 20_000 }).toContain('the connection ended');
    expect(complaints.errors).toEqual([]);
  } finally {
    await page.close();
    await server.close();
  }
});
