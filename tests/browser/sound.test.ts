/**
 * Linux's aplay in Chromium: what the page's audio thread plays, sample by sample. The guest is booted under Node, where it records the sound, and
 * goes on in the tab. It takes a minute, and runs when WEBHYVE_DESKTOP is set.
 */
import { copyFileSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { ISOLATION_HEADERS, serveStatic } from '../../host-node/web/static-server.ts';
import { contentSecurityPolicy } from '../../host-node/web/page-files.ts';
import { browserBundle, chromiumBrowser, chromiumMissing, closeChromium, watchPage } from '../support/browser.ts';
import { desktopGuest, LOAD_DRIVERS } from '../support/desktop-guest.ts';
import { BASIC_ARGS, destroyTestMachines, linuxMissing, QUICK_CMDLINE, testMachine } from '../support/machine.ts';
import { testSound, TEST_SOUND_RATE_HZ, wavFile } from '../support/test-sound.ts';

afterAll(async () => {
  await closeChromium();
  await destroyTestMachines();
});

const SECONDS = 3;
/** A tenth of a second: far less than the guest's ring. */
const MOST_FRAMES_BEYOND = 4800;
const SCRIPT = `
  import { Machine } from './index.js';
  globalThis.play = async (words) => {
    const context = new AudioContext({ sampleRate: 48000 });
    await context.resume();
    await context.audioWorklet.addModule('./audio-worklet.js');
    const listener = new AudioWorkletNode(context, 'webhyve-recorder', { numberOfOutputs: 0, channelCount: 2 });
    const sound = context.createGain();
    sound.connect(listener);
    const { port1, port2 } = new MessageChannel();
    const heard = [];
    port1.onmessage = ({ data }) => heard.push(...data.samples);
    listener.port.postMessage({ port: port2 }, [port2]);
    const messages = [];
    const machine = await Machine.fromArgs(words, { sound, message: (text) => messages.push(text) });
    await machine.start();
    const { com1 } = machine.consoles;
    com1.send('\\n');
    const { status } = await com1.run('aplay -q -D hw:0,0 /tmp/heard.wav', { timeout: 120000 });
    await new Promise((resolve) => setTimeout(resolve, 1000));
    await machine.destroy();
    return { status, heard, messages, state: context.state };
  };`;

/** Frames as numbers, without those that are silent on both sides. */
function sounding(samples: Int16Array): (readonly [number, number])[] {
  const frames: (readonly [number, number])[] = [];
  for (let at = 0; at + 1 < samples.length; at += 2) {
    const [left = 0, right = 0] = samples.subarray(at, at + 2);
    if (Math.abs(left) > 2 || Math.abs(right) > 2) frames.push([left, right]);
  }
  return frames;
}

test('aplay in a tab', { timeout: 600_000 }, async (context) => {
  if (process.env['WEBHYVE_DESKTOP'] === undefined) context.skip('WEBHYVE_DESKTOP is not set');
  const missing = chromiumMissing ?? (await linuxMissing('generic'));
  if (missing !== undefined) context.skip(missing);
  const folder = mkdtempSync(join(tmpdir(), 'webhyve-sound-'));
  const recorded = testSound(TEST_SOUND_RATE_HZ * SECONDS * 2);
  const words = (audio: string): string[] => [...BASIC_ARGS, '-m', '512M', '-s', `28,hda,${audio}`, 'sound'];
  try {
    writeFileSync(join(folder, 'in.wav'), wavFile(recorded));
    {
      const argv = words(`play=${join(folder, 'out.wav')},rec=${join(folder, 'in.wav')}`);
      await using node = await testMachine(argv, { cmdline: QUICK_CMDLINE, ...(await desktopGuest()) });
      node.machine.start();
      await node.com1.expect('/ # ', { timeout: 150_000 });
      for (const command of [
        'dmesg -n 1',
        LOAD_DRIVERS,
        'amixer -q -c 0 sset Master 100% unmute; amixer -q -c 0 sset Capture 100% cap; true',
        `arecord -q -D hw:0,0 -d ${SECONDS} -f S16_LE -r ${TEST_SOUND_RATE_HZ} -c 2 /tmp/heard.wav`,
      ]) {
        expect((await node.com1.run(command, { timeout: 120_000 })).status).toBe(0);
      }
      writeFileSync(join(folder, 'node.snapshot'), await node.machine.snapshot());
    }
    const bundle = await browserBundle();
    for (const name of readdirSync(bundle)) copyFileSync(join(bundle, name), join(folder, name));
    writeFileSync(join(folder, 'app.js'), SCRIPT);
    writeFileSync(
      join(folder, 'index.html'),
      '<!doctype html><title>t</title><script type="module" src="app.js"></script>',
    );
    const find = (path: string): { file: string } => ({ file: join(folder, path === '/' ? 'index.html' : path) });
    const headers = { ...ISOLATION_HEADERS, 'content-security-policy': contentSecurityPolicy([]) };
    const server = await serveStatic({ find, headers }, '127.0.0.1', 0);
    const page = await (await chromiumBrowser()).newPage();
    try {
      const complaints = await watchPage(page);
      await page.goto(server.origin);
      await page.mouse.click(10, 10);
      await page.waitForFunction(() => 'play' in globalThis);
      const result = await page.evaluate(
        (argv) =>
          (
            globalThis as unknown as {
              play(words: string[]): Promise<{ status: number; heard: number[]; messages: string[]; state: string }>;
            }
          ).play(argv),
        ['-r', 'node.snapshot', ...words('play=/dev/dsp,rec=/dev/dsp')],
      );
      expect(result.messages.filter((text) => text.startsWith('hda'))).toEqual([]);
      expect([result.status, result.state]).toEqual([0, 'running']);
      expect(complaints.errors.filter((text) => !text.includes('404'))).toEqual([]);
      const heard = Int16Array.from(result.heard);
      const played = new Int16Array(recorded.buffer, recorded.byteOffset, recorded.length / 2).subarray(
        0,
        2 * TEST_SOUND_RATE_HZ * SECONDS,
      );
      const [given, got] = [sounding(played), sounding(heard)];
      // A browser that was late with its own thread has silence in between. Beyond its end aplay hears what else its ring has, until its driver has
      // seen the interrupt: as from every sound card.
      const first = heard.findIndex((sample) => Math.abs(sample) > 2);
      const last = heard.findLastIndex((sample) => Math.abs(sample) > 2);
      const silent = Math.round((last + 1 - first) / 2) - got.length;
      const beyond = got.length - given.length;
      console.log(
        `${given.length} frames were played; ${silent} silent ones between them, ${beyond} of the ring after them`,
      );
      // Nothing is lost, doubled or in another place.
      const off = given.findIndex(
        ([left, right], at) => Math.abs(left - (got[at]?.[0] ?? 0)) > 2 || Math.abs(right - (got[at]?.[1] ?? 0)) > 2,
      );
      const around = (list: readonly (readonly [number, number])[]): string =>
        list.slice(Math.max(0, off - 3), off + 4).join('; ');
      expect(off, `the first frame that is another one: ${around(got)} for ${around(given)}`).toBe(-1);
      expect(beyond).toBeLessThan(MOST_FRAMES_BEYOND);
    } finally {
      await page.close();
      await server.close();
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
