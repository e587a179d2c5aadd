/** Networks between machines: the relay over WebSocket, machines joined by name, the switch that both have inside. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import WebSocket from 'ws';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { NO_OFFLOAD, type NetworkBackend } from '../../devices/backends/network.ts';
import { DEFAULT_NAT_SETTINGS } from '../../devices/net/nat/settings.ts';
import { DEFAULT_SWITCH_LIMITS, VirtualSwitch } from '../../devices/net/switch.ts';
import { joined } from '../../devices/net/wire.ts';
import { openNetwork } from '../../host-node/network/open-network.ts';
import { DEFAULT_RELAY_LIMITS, Relay, type RelayOptions } from '../../host-node/network/relay.ts';

const OPTIONS = { open: false, type: undefined, mac: undefined, path: undefined, peerhook: undefined, hook: undefined };
const NOTHING = {
  socket: undefined,
  hostfwd: undefined,
  allow: undefined,
  tftp: undefined,
  bootfile: undefined,
  ipxe: undefined,
};

/** A card at the end of a cable. */
class Card {
  readonly received: Uint8Array[] = [];
  readonly links: boolean[] = [];

  constructor(
    readonly backend: NetworkBackend,
    readonly last: number,
  ) {
    backend.open({
      offload: NO_OFFLOAD,
      receive: (frame) => {
        this.received.push(joined(frame.parts));
        return true;
      },
      drained: () => undefined,
      linkChanged: (up) => this.links.push(up),
    });
  }

  /** Sends a frame to the card whose address ends so; 255 is everybody. */
  send(to: number, text: string, from = this.last): void {
    const address = (last: number): number[] => (last === 255 ? [255, 255, 255, 255, 255, 255] : [2, 0, 0, 0, 0, last]);
    const bytes = Uint8Array.of(...address(to), ...address(from), 0x88, 0xb5, ...new TextEncoder().encode(text));
    this.backend.send({ parts: [bytes.subarray(0, 7), bytes.subarray(7)] });
  }

  get texts(): string[] {
    return this.received.map((bytes) => new TextDecoder().decode(bytes.subarray(14)));
  }
}

const cards: Card[] = [];
let relay: Relay | undefined;
let runtime: string;
let before: string | undefined;

beforeEach(() => {
  runtime = mkdtempSync(join(tmpdir(), 'wh-net-'));
  before = process.env['WEBHYVE_RUNTIME_DIR'];
  process.env['WEBHYVE_RUNTIME_DIR'] = runtime;
});
afterEach(async () => {
  for (const card of cards.splice(0)) await card.backend.close();
  await relay?.close();
  relay = undefined;
  if (before === undefined) delete process.env['WEBHYVE_RUNTIME_DIR'];
  else process.env['WEBHYVE_RUNTIME_DIR'] = before;
  rmSync(runtime, { recursive: true, force: true });
});

async function startRelay(options: Partial<RelayOptions> = {}): Promise<string> {
  relay = await Relay.listen({ address: '127.0.0.1', port: 0, limits: DEFAULT_RELAY_LIMITS, ...options });
  return `ws://127.0.0.1:${relay.port}`;
}

async function card(backend: string, name: string, last: number): Promise<Card> {
  const settings = { ...OPTIONS, ...NOTHING, ws: undefined, channel: undefined, backend, [backend]: name };
  const made = new Card(await openNetwork(settings), last);
  cards.push(made);
  return made;
}

/** A card whose connection stands. */
async function connected(url: string, last: number): Promise<Card> {
  const made = await card('ws', url, last);
  await expect.poll(() => made.links.at(-1)).toBe(true);
  return made;
}

describe('the relay', () => {
  it('carries frames between the clients of a room, and of no other', async () => {
    const url = await startRelay();
    const a = await connected(`${url}/one`, 1);
    const b = await connected(`${url}/one`, 2);
    const c = await connected(`${url}/two`, 3);
    a.send(255, 'to all');
    b.send(1, 'to a');
    await expect.poll(() => b.texts).toEqual(['to all']);
    await expect.poll(() => a.texts).toEqual(['to a']);
    expect(c.texts).toEqual([]);
    expect(relay?.roomCount).toBe(2);
  });

  it('has a network behind it where that is wanted', async () => {
    const url = await startRelay({ nat: DEFAULT_NAT_SETTINGS });
    const a = await connected(`${url}/room`, 1);
    // An address request for the gateway is answered by the network's own.
    const arp = Uint8Array.of(0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 10, 0, 2, 15, 0, 0, 0, 0, 0, 0, 10, 0, 2, 2);
    a.backend.send({ parts: [Uint8Array.of(255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 1, 8, 6), arp] });
    await expect.poll(() => a.received.length).toBe(1);
    expect([...(a.received[0]?.subarray(6, 12) ?? [])]).toEqual([0x52, 0x55, 10, 0, 2, 2]);
  });

  it('has limits: rooms, clients, names and origins', async () => {
    const url = await startRelay({
      limits: { ...DEFAULT_RELAY_LIMITS, rooms: 1, clientsPerRoom: 2 },
      origins: ['https://mine.example'],
    });
    await connected(`${url}/one`, 1);
    const statusOf = (path: string, origin?: string): Promise<string> =>
      new Promise((resolve) => {
        const socket = new WebSocket(`${url}${path}`, origin === undefined ? {} : { origin });
        socket.on('error', (error) => resolve(error.message));
        socket.on('open', () => {
          socket.close();
          resolve('open');
        });
      });
    expect(await statusOf('/two')).toContain('429');
    expect(await statusOf('/one/more')).toContain('404');
    expect(await statusOf('/one', 'https://evil.example')).toContain('403');
    expect(await statusOf('/one', 'https://mine.example')).toBe('open');
  });

  it('is found again when it comes back', async () => {
    const url = await startRelay();
    const { port } = new URL(url);
    const a = await connected(`${url}/one`, 1);
    await relay?.close();
    await expect.poll(() => a.links.at(-1)).toBe(false);
    relay = await Relay.listen({ address: '127.0.0.1', port: Number(port), limits: DEFAULT_RELAY_LIMITS });
    await expect.poll(() => a.links.at(-1), { timeout: 10_000 }).toBe(true);
  });
});

describe('machines joined by name', () => {
  it('hear one another, and go on when the one with the switch leaves', async () => {
    const a = await card('socket', 'lan', 1);
    const b = await card('socket', 'lan', 2);
    const c = await card('socket', 'lan', 3);
    const other = await card('socket', 'other', 4);
    a.send(255, 'hello');
    await expect.poll(() => [b.texts, c.texts]).toEqual([['hello'], ['hello']]);
    // The switch has to have heard of c.
    c.send(1, 'to a alone');
    await expect.poll(() => a.texts).toEqual(['to a alone']);
    b.send(3, 'to c alone');
    await expect.poll(() => c.texts).toEqual(['hello', 'to c alone']);
    expect([a.texts, b.texts]).toEqual([['to a alone'], ['hello']]);
    expect(other.texts).toEqual([]);
    await a.backend.close();
    await expect.poll(() => [b.links.at(-1), c.links.at(-1)], { timeout: 10_000 }).toEqual([true, true]);
    await expect
      .poll(() => {
        b.send(3, 'again');
        return c.texts;
      })
      .toContain('again');
  });
});

describe('the switch', () => {
  const frame = (to: number, from: number): { parts: Uint8Array[] } => ({
    parts: [Uint8Array.of(2, 0, 0, 0, 0, to, 2, 0, 0, 0, 0, from, 8, 0)],
  });
  const member = (): { frames: number; offload: typeof NO_OFFLOAD; deliver: () => boolean } => {
    const made = {
      frames: 0,
      offload: NO_OFFLOAD,
      deliver: (): boolean => {
        made.frames++;
        return true;
      },
    };
    return made;
  };

  it('lets nobody speak for another', () => {
    const hub = new VirtualSwitch(() => 0);
    const [a, b] = [member(), member()];
    const [portA, portB] = [hub.plug(a), hub.plug(b)];
    portA?.send(frame(9, 1));
    portB?.send(frame(9, 1));
    portB?.send({ parts: [Uint8Array.of(2, 0, 0, 0, 0, 9, 3, 0, 0, 0, 0, 1, 8, 0)] });
    expect([a.frames, b.frames, hub.spoofedFrames]).toEqual([0, 1, 2]);
    // The address is free when its owner has gone.
    portA?.unplug();
    portB?.send(frame(9, 1));
    expect(hub.spoofedFrames).toBe(2);
  });

  it('has a bound of addresses behind one cable, and of bytes', () => {
    let now = 0;
    const hub = new VirtualSwitch(() => now, { ...DEFAULT_SWITCH_LIMITS, addressesPerPort: 2, bytesPerSecond: 14 });
    const port = hub.plug(member());
    hub.plug(member());
    for (const from of [1, 2]) port?.send(frame(9, from));
    expect(hub.excessFrames).toBe(0);
    port?.send(frame(9, 1));
    expect(hub.excessFrames).toBe(1);
    now = 1000;
    port?.send(frame(9, 3));
    expect([hub.excessFrames, hub.spoofedFrames]).toEqual([1, 1]);
  });
});
