/**
 * What a screen costs: frames a second to a viewer on this host while the guest draws all of it, and processor time while nothing changes. Figures for
 * docs/display.md, not limits: WEBHYVE_PACE=1 on a machine that has nothing else to do.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';
import { afterEach, expect, test } from 'vitest';
import { displayGuest, displayGuestMissing } from '../support/display-guest.ts';
import { hostRun } from '../support/host-programs.ts';
import { BASIC_ARGS, destroyTestMachines, testMachine } from '../support/machine.ts';
import { viewerOver } from '../support/rfb-viewer.ts';

afterEach(destroyTestMachines);

const SECONDS = 8;
const ENCODINGS = { raw: 0, hextile: 5, zrle: 16 } as const;

test('frames a second, and an idle screen', { timeout: 300_000 }, async (context) => {
  if (process.env['WEBHYVE_PACE'] === undefined) context.skip('WEBHYVE_PACE is not set');
  if (displayGuestMissing !== undefined) context.skip(displayGuestMissing);
  const folder = mkdtempSync(join(tmpdir(), 'webhyve-pace-'));
  try {
    const kernel = readFileSync(displayGuest(folder));
    const screen = ['-s', `29,fbuf,w=1024,h=768,rfb=unix:${join(folder, 'vnc')}`, '-f', 'multiboot,/payload'];
    const options = { readFile: () => Promise.resolve(kernel) };
    await using guest = await testMachine([...BASIC_ARGS, '-m', '64M', ...screen, 'pace'], options);
    const { display } = guest.machine;
    if (!display) throw new Error('there is no display');
    guest.machine.start();
    await guest.com1.expect('ready', { timeout: 60_000 });
    const viewer = join(folder, 'viewer.mjs');
    const entryPoints = [new URL('../support/frame-viewer.ts', import.meta.url).pathname];
    await build({ entryPoints, outfile: viewer, bundle: true, platform: 'node', format: 'esm' });
    display.press('F2');
    const lines: string[] = [];
    for (const [name, encoding] of Object.entries(ENCODINGS)) {
      const before = process.cpuUsage();
      const words = [viewer, join(folder, 'vnc'), String(encoding), String(SECONDS)];
      const frames = Number(await hostRun(process.execPath, words));
      const { user, system } = process.cpuUsage(before);
      const percent = (user + system) / 1e4 / SECONDS;
      lines.push(`${name}: ${frames} frames a second, ${percent.toFixed(0)} % of a processor with the vCPU`);
    }
    // A viewer that looks on while nothing changes.
    const socket = connect({ path: join(folder, 'vnc') });
    const client = viewerOver(socket);
    expect(await client.open()).toBeUndefined();
    await client.init();
    display.press('F3');
    display.press('F3');
    await display.waitForRest(500);
    client.request(false);
    await client.update();
    client.request(true);
    const before = process.cpuUsage();
    await new Promise((resolve) => setTimeout(resolve, SECONDS * 1000));
    const { user, system } = process.cpuUsage(before);
    lines.push(`idle: ${((user + system) / 1e4 / SECONDS).toFixed(2)} % of a processor`);
    console.log(lines.join('\n'));
    socket.destroy();
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
