import { createCipheriv } from 'node:crypto';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { Display, type Framebuffer } from '../../devices/display/display.ts';
import type { PageRange } from '../../devices/bus/device-ram.ts';
import { vncKey } from '../../devices/display/rfb/handshake.ts';
import { RfbServer, type RfbConnection, type RfbServerOptions } from '../../devices/display/rfb/server.ts';
import { InputRouter } from '../../devices/input/input-router.ts';
import { createDeflater } from '../../host-node/display/deflater.ts';
import { FakeRandom } from '../support/fake-random.ts';
import { decodePng, FORMAT_32, RfbClient, type ClientFormat } from '../support/rfb-client.ts';

const RAW = 0;
const COPY_RECT = 1;
const HEXTILE = 5;
const ZLIB = 6;
const ZRLE = 16;
const DESKTOP_SIZE = -223;
const CURSOR = -239;
const EXTENDED_KEYS = -258;

/** A framebuffer that the test draws in. */
class FakeFramebuffer implements Framebuffer {
  width = 200;
  height = 120;
  readonly pixels = new Uint32Array(256 * 1024);
  #dirty = new Set<number>();

  draw(x: number, y: number, width: number, height: number, colour: (x: number, y: number) => number): void {
    for (let row = y; row < y + height; row++) {
      for (let column = x; column < x + width; column++) {
        const at = row * this.width + column;
        this.pixels[at] = colour(column, row);
        this.#dirty.add(Math.floor(at / 1024));
      }
    }
  }

  /** Moves everything up, as a text console does. */
  scroll(rows: number): void {
    this.pixels.copyWithin(0, rows * this.width, this.width * this.height);
    this.draw(0, this.height - rows, this.width, rows, (x, y) => x * y);
    for (let page = 0; page * 1024 < this.width * this.height; page++) this.#dirty.add(page);
  }

  takeDirty(): PageRange[] {
    const pages = [...this.#dirty].map((firstPage) => ({ firstPage, pageCount: 1 }));
    this.#dirty.clear();
    return pages;
  }

  get shown(): Uint32Array {
    return this.pixels.slice(0, this.width * this.height).map((pixel) => pixel & 0xffffff);
  }
}

class Setup {
  readonly framebuffer = new FakeFramebuffer();
  readonly input = new InputRouter();
  readonly display: Display;
  readonly server: RfbServer;
  readonly keys: [number, boolean][] = [];
  readonly pointers: number[][] = [];

  constructor(options: RfbServerOptions = {}) {
    this.framebuffer.draw(0, 0, 200, 120, (x, y) => (x << 16) | (y << 8) | ((x * y) & 0xff));
    this.display = new Display(this.framebuffer, this.input);
    this.server = new RfbServer(this.display, { deflater: createDeflater, ...options });
    this.input.registerKeyboard({ key: (code, down) => this.keys.push([code, down]) }, 1);
    this.input.registerPointer({ pointer: (...event) => this.pointers.push(event) }, 1);
    setups.push(this);
  }

  /** A connection whose bytes the test takes care of. */
  connect(send: (bytes: Uint8Array) => Promise<void>, closed: () => void): RfbConnection | undefined {
    return this.server.accept({ send, close: closed });
  }

  client(): RfbClient {
    const client = new RfbClient((bytes) => connection?.receive(bytes));
    const connection: RfbConnection | undefined = this.connect(
      async (bytes) => {
        await Promise.resolve();
        client.receive(bytes);
      },
      // What was sent before arrives.
      () => queueMicrotask(() => client.closed()),
    );
    return client;
  }

  async viewer(...encodings: number[]): Promise<RfbClient> {
    const client = this.client();
    expect(await client.open()).toBeUndefined();
    await client.init();
    if (encodings.length > 0) client.setEncodings(...encodings);
    return client;
  }
}

const setups: Setup[] = [];
afterEach(() => {
  for (const { server, display } of setups.splice(0)) {
    server.close();
    display.close();
  }
  vi.useRealTimers();
});

/** Pictures are compared at once: element by element takes the test's time. */
function expectPicture(shown: Uint32Array, drawn: Uint32Array): void {
  const different = shown.findIndex((pixel, at) => pixel !== drawn[at]);
  expect({ length: shown.length, different }).toEqual({ length: drawn.length, different: -1 });
}

/** What the guest drew, as a client of that format can show it. */
function reduced(pixels: Uint32Array, { trueColour, max }: ClientFormat): Uint32Array {
  const limits = trueColour ? max : ([7, 7, 3] as const);
  const channel = (pixel: number, shift: number, limit: number): number =>
    Math.round(Math.round((((pixel >>> shift) & 0xff) * limit) / 255) * (255 / limit)) << shift;
  return pixels.map((p) => channel(p, 16, limits[0]) | channel(p, 8, limits[1]) | channel(p, 0, limits[2]));
}

describe('handshake', () => {
  test.each(['RFB 003.003\n', 'RFB 003.007\n', 'RFB 003.008\n', 'RFB 003.889\n'])(
    '%j without a password',
    async (version) => {
      const client = new Setup().client();
      expect(await client.open(version)).toBeUndefined();
      await client.init();
      expect([client.width, client.height, client.name]).toEqual([200, 120, 'bhyve']);
    },
  );

  const des = (key: Uint8Array, blocks: Uint8Array): Uint8Array => {
    const cipher = createCipheriv('des-ede3', Buffer.concat([key, key, key]), null).setAutoPadding(false);
    return Buffer.concat([cipher.update(blocks), cipher.final()]);
  };
  const authentication = { password: 'secret12345', des, random: (into: Uint8Array) => into.fill(0x5a) };
  const answer =
    (password: string) =>
    (challenge: Uint8Array): Uint8Array =>
      des(vncKey(password), challenge);

  test.each(['RFB 003.003\n', 'RFB 003.007\n', 'RFB 003.008\n'])('%j with a password', async (version) => {
    const setup = new Setup({ authentication });
    const right = setup.client();
    // Eight characters count.
    expect(await right.open(version, answer('secret12'))).toBeUndefined();
    await right.init();
    const wrong = setup.client();
    const refusal = await wrong.open(version, answer('Secret12'));
    expect(refusal).toBe(version.endsWith('8\n') ? 'Auth Failed: Invalid Password.' : 'failed');
    await expect(wrong.read(1)).rejects.toThrow('closed');
    expect(setup.server.refused).toBe(1);
  });

  test('a client that chooses what was not offered is told so', async () => {
    const client = new Setup({ authentication }).client();
    expect(await client.open('RFB 003.008\n', undefined, 99)).toBe('Auth failed: authentication type mismatch');
  });

  test('one viewer at a time, in the order in which they asked', async () => {
    const setup = new Setup();
    const first = await setup.viewer();
    const second = setup.client();
    await second.open();
    const third = setup.client();
    await third.open();
    let shown = '';
    const secondShown = second.init().then(() => (shown += '2'));
    void third.init().then(
      () => (shown += '3'),
      () => undefined,
    );
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect([shown, setup.server.viewers]).toEqual(['', 1]);
    first.send(Uint8Array.of(77));
    await secondShown;
    expect([shown, setup.server.viewers]).toEqual(['2', 1]);
  });

  test('several viewers where that is configured', async () => {
    const setup = new Setup({ maxViewers: 3 });
    const viewers = [await setup.viewer(RAW), await setup.viewer(ZRLE), await setup.viewer(HEXTILE)];
    for (const viewer of viewers) viewer.request(false);
    for (const viewer of viewers) {
      await viewer.update();
      expectPicture(viewer.pixels, setup.framebuffer.shown);
    }
  });

  test('ten clients that hang in the middle of the handshake keep nobody out', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const setup = new Setup();
    const hanging = Array.from({ length: 10 }, () => setup.client());
    const viewer = await setup.viewer();
    expect(viewer.width).toBe(200);
    vi.advanceTimersByTime(61_000);
    expect(setup.server.refused).toBe(10);
    for (const client of hanging) await expect(client.open()).rejects.toThrow('closed');
    expect(setup.server.viewers).toBe(1);
  });
});

const FORMATS: readonly (readonly [string, ClientFormat])[] = [
  ['32 bits', FORMAT_32],
  ['32 bits, big-endian', { ...FORMAT_32, bigEndian: true }],
  ['32 bits, blue first', { ...FORMAT_32, shift: [0, 8, 16] }],
  ['32 bits, upper three bytes', { ...FORMAT_32, shift: [24, 16, 8] }],
  ['32 bits, upper three bytes, big-endian', { ...FORMAT_32, bigEndian: true, shift: [8, 16, 24] }],
  ['30 bits', { ...FORMAT_32, depth: 30, max: [1023, 1023, 1023], shift: [20, 10, 0] }],
  ['16 bits', { ...FORMAT_32, bitsPerPixel: 16, depth: 16, max: [31, 63, 31], shift: [11, 5, 0] }],
  [
    '16 bits, big-endian',
    { ...FORMAT_32, bitsPerPixel: 16, depth: 15, bigEndian: true, max: [31, 31, 31], shift: [10, 5, 0] },
  ],
  ['8 bits', { ...FORMAT_32, bitsPerPixel: 8, depth: 8, max: [7, 7, 3], shift: [0, 3, 6] }],
  ['a colour map', { ...FORMAT_32, bitsPerPixel: 8, depth: 8, trueColour: false, max: [0, 0, 0], shift: [0, 0, 0] }],
];

describe.each(FORMATS)('pixels of %s', (_, format) => {
  test.each([
    ['raw', RAW],
    ['hextile', HEXTILE],
    ['zlib', ZLIB],
    ['zrle', ZRLE],
  ])('%s', async (_name, encoding) => {
    const setup = new Setup();
    const viewer = await setup.viewer(encoding);
    viewer.setFormat(format);
    viewer.request(false);
    await viewer.update();
    expect(viewer.encodings).toContain(encoding);
    expectPicture(viewer.pixels, reduced(setup.framebuffer.shown, format));
    // Flat areas, few colours, runs, single pixels and noise in turn.
    const random = new FakeRandom(encoding + format.bitsPerPixel);
    const patterns: ((x: number, y: number) => number)[] = [
      () => 0x336699,
      (x) => (x & 8 ? 0xffffff : 0),
      (x, y) => ((x >> 2) & 3) * 0x224466 + (y >> 4),
      (x, y) => [0xff0000, 0x00ff00, 0x0000ff, 0xffff00, 0x123456][(x + y) % 5] ?? 0,
      (x, y) => (x === y ? 0xffffff : 0x202020),
      (x, y) => (Math.floor(x / 3) * 7919 + y) & 0xffffff,
      () => random.u32() & 0xffffff,
    ];
    for (const pattern of patterns) {
      setup.framebuffer.draw(random.below(60), random.below(40), 130, 75, pattern);
      setup.display.refresh();
      viewer.request(true);
      await viewer.update();
      expectPicture(viewer.pixels, reduced(setup.framebuffer.shown, format));
    }
  });
});

describe('updates', () => {
  test('only what has changed is sent, and nothing while nothing changes', async () => {
    const setup = new Setup();
    const viewer = await setup.viewer(RAW);
    viewer.request(false);
    await viewer.update();
    viewer.encodings = [];
    viewer.request(true);
    // A page that was written with what it held before.
    setup.framebuffer.draw(0, 0, 10, 10, (x, y) => setup.framebuffer.pixels[y * 200 + x] ?? 0);
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(viewer.encodings).toEqual([]);
    setup.framebuffer.draw(40, 40, 2, 2, () => 0xffffff);
    await viewer.update();
    expect(viewer.encodings).toEqual([RAW]);
    expectPicture(viewer.pixels, setup.framebuffer.shown);
  });

  test('a part of the picture that nobody asked for waits', async () => {
    const setup = new Setup();
    const viewer = await setup.viewer(RAW);
    viewer.request(false, 0, 0, 64, 64);
    await viewer.update();
    viewer.request(true, 0, 0, 64, 64);
    setup.framebuffer.draw(180, 100, 2, 2, () => 0xffffff);
    setup.framebuffer.draw(3, 3, 2, 2, () => 0xffffff);
    await viewer.update();
    expect([viewer.pixels[3 * 200 + 3], viewer.pixels[100 * 200 + 180]]).toEqual([0xffffff, 0]);
    viewer.request(true);
    await viewer.update();
    expectPicture(viewer.pixels, setup.framebuffer.shown);
  });

  test('a text console that scrolls is moved, not sent', async () => {
    const setup = new Setup();
    const viewer = await setup.viewer(RAW, COPY_RECT);
    viewer.request(false);
    await viewer.update();
    for (const rows of [16, 16, 8, 1]) {
      viewer.encodings = [];
      viewer.request(true);
      setup.framebuffer.scroll(rows);
      setup.display.refresh();
      await viewer.update();
      expect(viewer.encodings[0]).toBe(COPY_RECT);
      expectPicture(viewer.pixels, setup.framebuffer.shown);
    }
    // Two scrolls between two requests cannot be told as one movement.
    setup.framebuffer.scroll(16);
    setup.display.refresh();
    setup.framebuffer.scroll(16);
    setup.display.refresh();
    viewer.request(true);
    await viewer.update();
    expectPicture(viewer.pixels, setup.framebuffer.shown);
  });

  test('another size is announced to clients that take it; others see what fits', async () => {
    const setup = new Setup({ maxViewers: 2 });
    const able = await setup.viewer(ZRLE, DESKTOP_SIZE);
    const unable = await setup.viewer(RAW);
    for (const viewer of [able, unable]) {
      viewer.request(false);
      await viewer.update();
      viewer.request(true);
    }
    setup.framebuffer.width = 300;
    setup.framebuffer.height = 90;
    setup.framebuffer.draw(0, 0, 300, 90, (x, y) => (x << 16) | y);
    await able.update();
    expect([able.width, able.height]).toEqual([300, 90]);
    expectPicture(able.pixels, setup.framebuffer.shown);
    await unable.update();
    expect(unable.pixels[89 * 200 + 199]).toBe(setup.framebuffer.pixels[89 * 300 + 199]);
    setup.framebuffer.width = 64;
    setup.framebuffer.height = 1000;
    setup.display.refresh();
    able.request(true);
    await able.update();
    expect([able.width, able.height]).toEqual([64, 1000]);
  });

  test('sizes that a guest makes up never reach outside the framebuffer', async () => {
    const setup = new Setup();
    const viewer = await setup.viewer(RAW, DESKTOP_SIZE);
    for (const [width, height] of [
      [0xffff, 0xffff],
      [0, 0],
      [1, 0xffff],
      [0xffff, 1],
      [3840, 2160],
      [512, 512],
    ] as const) {
      setup.framebuffer.width = width;
      setup.framebuffer.height = height;
      setup.display.refresh();
      viewer.request(false);
      await viewer.update();
      expect(viewer.width * viewer.height).toBeLessThanOrEqual(setup.framebuffer.pixels.length);
      expect(viewer.width).toBeLessThanOrEqual(3840);
      expect(viewer.height).toBeLessThanOrEqual(2160);
    }
  });

  test('cursor and extended keys are announced once', async () => {
    const setup = new Setup();
    const viewer = await setup.viewer(RAW, CURSOR, EXTENDED_KEYS);
    viewer.request(false);
    await viewer.update();
    expect(viewer.encodings.filter((encoding) => encoding < 0).sort()).toEqual([CURSOR, EXTENDED_KEYS]);
    viewer.encodings = [];
    viewer.request(false);
    await viewer.update();
    expect(viewer.encodings.filter((encoding) => encoding < 0)).toEqual([]);
  });

  test('a client that reads nothing costs one band, and hears the newest picture when it reads again', async () => {
    const setup = new Setup();
    const sent: Uint8Array[] = [];
    let open: () => void = () => {};
    let gate = Promise.resolve();
    const client = new RfbClient((bytes) => connection?.receive(bytes));
    const connection: RfbConnection | undefined = setup.connect(
      async (bytes) => {
        sent.push(bytes);
        await gate;
        client.receive(bytes);
      },
      () => client.closed(),
    );
    await client.open();
    await client.init();
    client.setEncodings(RAW);
    gate = new Promise((resolve) => {
      open = resolve;
    });
    sent.length = 0;
    for (let i = 0; i < 1000; i++) {
      client.request(false);
      setup.framebuffer.draw(0, 0, 200, 120, (x) => x * i);
      setup.display.refresh();
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(sent.length).toBeLessThanOrEqual(2);
    open();
    while (client.updates < 2) await client.update();
    expectPicture(client.pixels, setup.framebuffer.shown);
  });
});

describe('input', () => {
  test('keysyms, extended keys and the pointer', async () => {
    const setup = new Setup();
    const viewer = await setup.viewer(RAW, EXTENDED_KEYS);
    viewer.key(0xffe1, true);
    viewer.key(0x41, true);
    viewer.key(0x41, false);
    viewer.key(0xffe1, false);
    viewer.extendedKey(0x7a, 0x15, true);
    viewer.extendedKey(0x7a, 0x15, false);
    viewer.extendedKey(0xff51, 0xcb, true);
    viewer.pointer(5, 199, 3000);
    await new Promise((resolve) => setTimeout(resolve, 5));
    const pressed = [0x2a, 0x1e].map((code) => [code, true]);
    const released = [0x1e, 0x2a].map((code) => [code, false]);
    expect(setup.keys).toEqual([...pressed, ...released, [0x15, true], [0x15, false], [0xcb, true]]);
    expect(setup.pointers).toEqual([[5, 199, 119, 200, 120]]);
    // What the viewer holds goes up when it is gone.
    viewer.send(Uint8Array.of(200));
    expect(setup.keys.at(-1)).toEqual([0xcb, false]);
    expect(setup.pointers.at(-1)?.[0]).toBe(0);
  });
});

test('a screenshot is the picture', async () => {
  const setup = new Setup();
  const { width, height, pixels } = decodePng(await setup.display.png());
  expect([width, height]).toEqual([200, 120]);
  expectPicture(pixels, setup.framebuffer.shown);
});

test('garbage at any step ends the session and nothing else', () => {
  const operations = Number(process.env['DISPLAY_FUZZ'] ?? 30_000);
  const logged: string[] = [];
  const setup = new Setup({ log: (text) => logged.push(text), maxViewers: 4 });
  const random = new FakeRandom(15);
  const valid = ['RFB 003.008\n', 'RFB 003.003\n', 'RFB 003.007\n'].map((version) => Buffer.from(version));
  let connection: RfbConnection | undefined;
  let closed = true;
  for (let i = 0; i < operations; i++) {
    if (closed || !connection) {
      closed = false;
      connection = setup.connect(
        () => Promise.resolve(),
        () => (closed = true),
      );
      // Most clients get through the handshake.
      if (random.below(8) !== 0) {
        connection?.receive(random.pick([valid[0] ?? Buffer.alloc(0), ...valid.slice(1)]));
        connection?.receive(Uint8Array.of(1, 1));
      }
    }
    const bytes = new Uint8Array(random.below(40));
    for (let at = 0; at < bytes.length; at++) bytes[at] = random.below(3) === 0 ? random.below(8) : random.below(256);
    if (bytes.length > 0 && random.below(4) !== 0) bytes[0] = random.pick([0, 2, 3, 4, 5, 6, 255]);
    connection?.receive(bytes);
    if (random.below(50) === 0) setup.framebuffer.draw(random.below(100), random.below(100), 20, 20, () => i);
    if (random.below(200) === 0) [setup.framebuffer.width, setup.framebuffer.height] = [random.nasty(), random.nasty()];
    if (random.below(100) === 0) setup.display.refresh();
    if (random.below(60) === 0) connection?.closed();
  }
  expect(setup.server.refused).toBeGreaterThan(operations / 1000);
  expect(setup.server.viewers).toBeLessThanOrEqual(4);
});
