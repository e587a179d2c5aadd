/** Hostile frames into the user-mode network: nothing throws, nothing grows without bound, nothing that is closed is reached. */
import { expect, test } from 'vitest';
import { FULL_OFFLOAD, NO_OFFLOAD } from '../../devices/backends/network.ts';
import { addToSum, finishChecksum, pseudoHeaderSum } from '../../devices/net/checksum.ts';
import { UserNetwork } from '../../devices/net/nat/network.ts';
import { DEFAULT_NAT_SETTINGS } from '../../devices/net/nat/settings.ts';
import { tcpHeader } from '../../devices/net/nat/tcp-segment.ts';
import { joined, writeU16 } from '../../devices/net/wire.ts';
import { settle } from '../support/fake-block.ts';
import { FakeNatHost } from '../support/fake-nat-host.ts';
import { FakeRandom } from '../support/fake-random.ts';
import { GUEST_MAC, ip, NatGuest } from '../support/nat-guest.ts';

const FRAMES = Number(process.env['WEBHYVE_FUZZ_OPERATIONS'] ?? 60_000);
const FRAMES_A_TURN = 500;

const LIMITS = { tcpConnections: 64, tcpHalfOpen: 16, udpFlows: 16 };
const TARGETS = [
  '10.0.2.2',
  '10.0.2.3',
  '8.8.8.8',
  '127.0.0.1',
  '192.168.1.1',
  '224.0.0.1',
  '255.255.255.255',
] as const;
const TARGETS_V6 = ['fd00:a098:0:2::2', 'fd00:a098:0:2::3', 'ff02::1', '::1', '2606:4700::1', 'fe80::2'] as const;

class HostileNatGuest {
  readonly host = new FakeNatHost();
  readonly network = new UserNetwork(this.host, {
    ...DEFAULT_NAT_SETTINGS,
    policy: { open: true, allowed: [] },
    limits: LIMITS,
  });
  readonly guest = new NatGuest(this.network, ip('10.0.2.15'), FULL_OFFLOAD);
  /** Sequence numbers that connections of ours are near. */
  #sequence = 1000;

  constructor(private readonly random: FakeRandom) {
    this.host.files.set('boot', new Uint8Array(5000));
    this.guest.announce();
  }

  #bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.random.below(256));
  }

  /** A good frame of some protocol. */
  #frame(): Uint8Array {
    const { random, guest } = this;
    const v6 = random.below(4) === 0;
    const source = v6 ? ip(random.pick(['fe80::1', 'fd00:a098:0:2::15', '::'])) : guest.address;
    const target = ip(v6 ? random.pick(TARGETS_V6) : random.pick(TARGETS));
    switch (random.below(8)) {
      case 0:
        return guest.frame(0x0806, joined([Uint8Array.of(0, 1, 8, 0, 6, 4, 0, 1, ...GUEST_MAC), this.#bytes(20)]));
      case 1:
        return guest.packet(v6 ? 58 : 1, this.#icmp(v6), target, source);
      case 2:
      case 3:
        return guest.packet(17, this.#datagram(source, target), target, source);
      case 4:
        return this.#fragment(ip(random.pick(TARGETS)));
      default:
        return guest.packet(6, this.#segment(), target, source);
    }
  }

  #icmp(v6: boolean): Uint8Array {
    const { random } = this;
    const type = v6 ? random.pick([133, 135, 136, 128, random.below(256)]) : random.pick([8, random.below(256)]);
    return Uint8Array.of(type, random.below(2), 0, 0, ...this.#bytes(random.below(60)));
  }

  #datagram(source: Uint8Array, target: Uint8Array): Uint8Array {
    const { random } = this;
    const port = random.pick([53, 67, 69, 547, 123, random.below(65_536)]);
    const payload = joined([new Uint8Array(8), this.#service(port)]);
    writeU16(payload, 0, random.pick([68, 546, 5000, random.below(65_536)]));
    writeU16(payload, 2, port);
    writeU16(payload, 4, payload.length);
    const pseudo = pseudoHeaderSum(source, target, 17, payload.length);
    writeU16(payload, 6, finishChecksum(addToSum(pseudo, payload)));
    return payload;
  }

  #service(port: number): Uint8Array {
    const { random } = this;
    const text = (value: string): number[] => [...new TextEncoder().encode(value), 0];
    switch (port) {
      case 53:
        return Uint8Array.of(1, 2, 1, 0, 0, random.below(3), 0, 0, 0, 0, 0, 0, 1, 97, 0, 0, 1, 0, 1);
      case 67: {
        const message = joined([Uint8Array.of(1, 1, 6, 0), this.#bytes(24), GUEST_MAC, this.#bytes(202)]);
        const options = [53, 1, random.below(10), 50, 4, 10, 0, 2, random.below(256)];
        return joined([message, Uint8Array.of(99, 130, 83, 99, ...options), this.#bytes(random.below(20))]);
      }
      case 69:
        return random.below(2) === 0
          ? Uint8Array.of(
              0,
              1,
              ...text(random.pick(['boot', '../x', 'none'])),
              ...text('octet'),
              ...text('windowsize'),
              ...text('9'),
            )
          : Uint8Array.of(0, random.below(7), 0, random.below(12));
      default:
        return this.#bytes(random.below(100));
    }
  }

  #fragment(target: Uint8Array): Uint8Array {
    const { random, guest } = this;
    const frame = guest.packet(17, this.#bytes(8 * random.below(200)), target);
    writeU16(frame, 20, random.below(0x4000));
    frame[19] = random.below(8);
    writeU16(frame, 24, 0);
    writeU16(frame, 24, finishChecksum(addToSum(0, frame, 14, 34)));
    return frame;
  }

  #segment(): Uint8Array {
    const { random } = this;
    const syn = random.below(5) === 0;
    const near = (value: number): number => (value + random.pick([0, 0, 1, -1, 1460, random.nasty()])) >>> 0;
    const header = tcpHeader({
      sourcePort: 1000 + random.below(40),
      destinationPort: random.pick([80, 53, 80, random.below(100)]),
      sequence: near(syn ? 1000 : this.#sequence),
      // The fake host's sequence numbers begin so.
      acknowledgement: near(0x1111_1112 + random.below(3000)),
      flags: syn ? 2 : random.pick([0x10, 0x10, 0x18, 0x11, 0x04, random.below(256)]),
      window: random.pick([0, 1, 65_535, random.below(65_536)]),
      ...(syn ? { mss: random.pick([0, 1, 1460, 65_535]), windowShift: random.pick([0, 7, 14, 200]) } : {}),
    });
    const data = this.#bytes(random.pick([0, 0, 1, random.below(200)]));
    if (random.below(10) === 0) this.#sequence = random.pick([1001, this.#sequence + data.length]);
    return joined([header, data]);
  }

  /** The host's end of some connection does something. */
  #hostActs(): void {
    const { random, host } = this;
    const stream = host.streams[random.below(host.streams.length || 1)];
    if (!stream || stream.destroyed) return;
    switch (random.below(7)) {
      case 0:
      case 1:
        stream.events?.connected();
        break;
      case 2:
        stream.events?.ended();
        break;
      case 3:
        stream.events?.closed(random.pick([undefined, 'refused', 'reset']));
        stream.destroyed = 'closed';
        break;
      case 4:
        stream.pendingBytes = random.pick([0, 1 << 20]);
        stream.events?.sent();
        break;
      default:
        if (!stream.held) stream.events?.data(this.#bytes(random.below(3000)));
    }
  }

  step(): void {
    const { random, host, guest } = this;
    switch (random.below(12)) {
      case 0:
        this.#hostActs();
        return;
      case 1:
        host.advance(random.pick([1, 10, 250, 5000]));
        return;
      case 2:
        guest.full = random.below(3) === 0;
        if (!guest.full) this.network.receiveReady();
        return;
      default: {
        const frame = this.#frame();
        // Some bytes of it are anything.
        for (let flips = random.pick([0, 0, 1, random.below(8)]); flips > 0; flips--) {
          frame[random.below(random.below(2) === 0 ? Math.min(80, frame.length) : frame.length)] = random.u32();
        }
        const cut = random.below(20) === 0 ? frame.subarray(0, random.below(frame.length)) : frame;
        const offload = random.below(3) > 0 ? { checksumStart: 34, checksumOffset: 16 } : undefined;
        this.network.send({ parts: [cut.subarray(0, 20), cut.subarray(20)], offload });
        guest.frames.length = 0;
        guest.offloaded.length = 0;
      }
    }
  }

  /** What must hold at any time. */
  check(): void {
    const { host } = this;
    const live = host.streams.filter(({ destroyed }) => !destroyed);
    expect(live.length).toBeLessThanOrEqual(2 * LIMITS.tcpConnections);
    expect(host.sockets.filter(({ closed }) => !closed).length).toBeLessThanOrEqual(LIMITS.udpFlows);
    expect(host.timerCount).toBeLessThan(8 * LIMITS.tcpConnections + 100);
    const reached = new Set(host.streams.map(({ address }) => address));
    for (const closed of ['127.0.0.1', '192.168.1.1', '::1']) expect(reached.has(closed)).toBe(false);
    host.streams.splice(0, host.streams.length, ...live);
    host.sockets.splice(0, host.sockets.length, ...host.sockets.filter(({ closed }) => !closed));
    for (const socket of host.sockets) socket.sent.length = 0;
    for (const stream of live) stream.written.length = 0;
  }
}

test(`${FRAMES} hostile frames`, async () => {
  const hostile = new HostileNatGuest(new FakeRandom(20261128));
  let connections = 0;
  for (let count = 1; count <= FRAMES; count++) {
    hostile.step();
    connections += hostile.host.streams.length > 0 ? 1 : 0;
    if (count % FRAMES_A_TURN !== 0) continue;
    await settle();
    hostile.check();
  }
  // Otherwise most of it was refused at the door.
  expect(connections).toBeGreaterThan(FRAMES / 100);
  const counters = hostile.network.counters();
  expect(counters['malformed frames']).toBeGreaterThan(100);
  expect(counters['TCP refused']).toBeGreaterThan(100);
  await hostile.network.close();
  expect(hostile.host.sockets.every(({ closed }) => closed)).toBe(true);
}, 600_000);

test('a network nobody listens to keeps a bounded number of frames', () => {
  const host = new FakeNatHost();
  const network = new UserNetwork(host);
  const guest = new NatGuest(network, ip('10.0.2.15'), NO_OFFLOAD);
  guest.announce();
  guest.full = true;
  for (let count = 0; count < 2000; count++) guest.icmp(ip('10.0.2.2'), Uint8Array.of(8, 0, 0, 0, 0, 0, 0, 0));
  expect(network.counters()['frames dropped']).toBeGreaterThan(1000);
  guest.full = false;
  network.receiveReady();
  expect(guest.frames.length).toBeLessThan(500);
});
