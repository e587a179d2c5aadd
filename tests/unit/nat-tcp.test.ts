/** TCP of the user-mode network, segment by segment: the guest's side in a test's hands, time too. */
import { describe, expect, it } from 'vitest';
import { FULL_OFFLOAD, NO_OFFLOAD, type OffloadCapabilities } from '../../devices/backends/network.ts';
import { UserNetwork } from '../../devices/net/nat/network.ts';
import { DEFAULT_NAT_SETTINGS, type NatSettings } from '../../devices/net/nat/settings.ts';
import * as T from '../../devices/net/nat/tcp-segment.ts';
import { StateFields } from '../../devices/platform/state-fields.ts';
import { SnapshotError } from '../../devices/snapshot.ts';
import { FakeNatHost, FakeStream } from '../support/fake-nat-host.ts';
import { ip, NatGuest } from '../support/nat-guest.ts';

const REMOTE = ip('8.8.8.8');
/** The fake host's randomness. */
const THEIR_FIRST = 0x1111_1111;
const OUR_FIRST = 5000;
const MSS = 1460;

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const textOf = (segment: T.TcpSegment | undefined): string => new TextDecoder().decode(segment?.payload);

class Rig {
  readonly host = new FakeNatHost();
  readonly network: UserNetwork;
  readonly guest: NatGuest;

  constructor(offload: OffloadCapabilities = NO_OFFLOAD, settings: Partial<NatSettings> = {}) {
    this.network = new UserNetwork(this.host, {
      ...DEFAULT_NAT_SETTINGS,
      policy: { open: true, allowed: [] },
      ...settings,
    });
    this.guest = new NatGuest(this.network, ip('10.0.2.15'), offload);
    this.guest.announce();
    this.guest.frames.length = 0;
  }

  get stream(): FakeStream {
    const stream = this.host.streams.at(-1);
    if (!stream) throw new Error('no connection was made');
    return stream;
  }

  /** A segment of the guest; numbers count from the first byte of each side. */
  send(flags: number, sequence: number, acknowledgement: number, data = '', window = 1000): void {
    this.guest.tcp(
      REMOTE,
      {
        ...{ sourcePort: 4000, destinationPort: 80, flags, window },
        sequence: (OUR_FIRST + 1 + sequence) >>> 0,
        acknowledgement: (THEIR_FIRST + 1 + acknowledgement) >>> 0,
        ...(flags & T.FLAG_SYN ? { mss: MSS, windowShift: 6, sackPermitted: true } : {}),
      },
      new Uint8Array(bytes(data)),
    );
  }

  /** What the guest heard: flags, both numbers counted from the first bytes, and the data. */
  heard(): { flags: number; sequence: number; acknowledgement: number; text: string; window: number }[] {
    return this.guest.segments().map((segment) => ({
      flags: segment.flags,
      sequence: T.sequenceDistance(segment.sequence, THEIR_FIRST + 1),
      acknowledgement: T.sequenceDistance(segment.acknowledgement, OUR_FIRST + 1),
      text: textOf(segment),
      window: segment.window,
    }));
  }

  /** The handshake; the guest's window is 64,000 bytes. */
  connect(): this {
    this.send(T.FLAG_SYN, -1, 0);
    this.stream.events?.connected();
    this.guest.frames.length = 0;
    this.send(T.FLAG_ACK, 0, 0);
    return this;
  }
}

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('a connection outwards', () => {
  it('is accepted when the host’s was, with the guest’s options', () => {
    const rig = new Rig();
    rig.send(T.FLAG_SYN, -1, 0);
    expect([rig.stream.address, rig.stream.port]).toEqual(['8.8.8.8', 80]);
    // The SYN again: one connection all the same.
    rig.send(T.FLAG_SYN, -1, 0);
    expect(rig.host.streams).toHaveLength(1);
    expect(rig.guest.segments()).toEqual([]);
    rig.stream.events?.connected();
    const [answer] = rig.guest.segments();
    expect(answer).toMatchObject({ flags: T.FLAG_SYN | T.FLAG_ACK, mss: MSS, sackPermitted: true });
    expect(answer?.windowShift).toBeGreaterThan(0);
    // Our answer was lost.
    rig.host.advance(1001);
    expect(rig.guest.segments()).toHaveLength(1);
  });

  it('is refused when the host’s was', () => {
    const rig = new Rig();
    rig.send(T.FLAG_SYN, -1, 0);
    rig.stream.events?.closed('refused');
    expect(rig.heard()).toMatchObject([{ flags: T.FLAG_RST | T.FLAG_ACK, acknowledgement: 0 }]);
    rig.send(T.FLAG_ACK, 0, 0);
    expect(rig.heard()).toMatchObject([{ flags: T.FLAG_RST, sequence: 0 }]);
  });

  it('is refused by the policy, and when there are too many', () => {
    const closed = new Rig(NO_OFFLOAD, { policy: { open: false, allowed: [] } });
    closed.send(T.FLAG_SYN, -1, 0);
    expect(closed.host.streams).toHaveLength(0);
    expect(closed.heard()).toMatchObject([{ flags: T.FLAG_RST | T.FLAG_ACK }]);
    const full = new Rig(NO_OFFLOAD, { limits: { ...DEFAULT_NAT_SETTINGS.limits, tcpHalfOpen: 0 } });
    full.send(T.FLAG_SYN, -1, 0);
    expect(full.heard()).toMatchObject([{ flags: T.FLAG_RST | T.FLAG_ACK }]);
  });
});

describe('data of the guest', () => {
  it('reaches the host once and in order, whatever comes when', async () => {
    const rig = new Rig().connect();
    rig.send(T.FLAG_ACK, 3, 0, 'def');
    rig.send(T.FLAG_ACK, 0, 0, 'abc');
    rig.send(T.FLAG_ACK, 0, 0, 'abcdef');
    rig.send(T.FLAG_ACK, 4, 0, 'efgh');
    rig.host.advance(10);
    await settle();
    expect(rig.stream.text).toBe('abcdefgh');
    expect(rig.heard().at(-1)).toMatchObject({ acknowledgement: 8 });
  });

  it('is taken no faster than the host’s socket takes it', () => {
    const rig = new Rig().connect();
    rig.stream.pendingBytes = 4 * 1024 * 1024;
    let sequence = 0;
    const piece = 'x'.repeat(1400);
    for (let count = 0; count < 900; count++) {
      rig.send(T.FLAG_ACK, sequence, 0, piece);
      sequence += piece.length;
    }
    rig.host.advance(10);
    const taken = rig.stream.written.reduce((sum, { length }) => sum + length, 0);
    expect(taken).toBeLessThan(1_200_000);
    expect(rig.heard().at(-1)).toMatchObject({ window: 0, acknowledgement: taken });
    rig.stream.pendingBytes = 0;
    rig.stream.events?.sent();
    expect(rig.heard().at(-1)?.window).toBeGreaterThan(1000);
  });
});

describe('data for the guest', () => {
  it('keeps to the guest’s window, and goes on when that opens', () => {
    const rig = new Rig().connect();
    rig.send(T.FLAG_ACK, 0, 0, '', 32);
    rig.stream.events?.data(new Uint8Array(10_000));
    const heardBytes = (): number => rig.heard().reduce((sum, { text }) => sum + text.length, 0);
    // Of the 2048 bytes that are allowed a whole segment: the rest would be a crumb.
    expect(heardBytes()).toBe(MSS);
    rig.send(T.FLAG_ACK, 0, MSS, '', 1000);
    expect(heardBytes()).toBe(10_000 - MSS);
  });

  it('is sent again when nothing comes back, and less often each time', () => {
    const rig = new Rig().connect();
    rig.stream.events?.data(bytes('hello'));
    expect(rig.heard()).toMatchObject([{ sequence: 0, text: 'hello' }]);
    const times: number[] = [];
    for (let waited = 0; waited < 20_000; waited += 100) {
      rig.host.advance(100);
      if (rig.heard().length > 0) times.push(waited + 100);
    }
    expect(times.length).toBeGreaterThanOrEqual(3);
    const gaps = times.slice(1).map((time, index) => time - (times[index] ?? 0));
    for (let index = 1; index < gaps.length; index++) expect(gaps[index]).toBeGreaterThan(gaps[index - 1] ?? 0);
    rig.send(T.FLAG_ACK, 0, 5);
    rig.host.advance(60_000);
    expect(rig.heard()).toEqual([]);
  });

  it('is sent again at once when the guest asks three times', () => {
    const rig = new Rig().connect();
    rig.stream.events?.data(new Uint8Array(6 * MSS));
    rig.guest.frames.length = 0;
    for (let count = 0; count < 3; count++) rig.send(T.FLAG_ACK, 0, MSS);
    rig.guest.frames.length = 0;
    rig.send(T.FLAG_ACK, 0, MSS);
    expect(rig.heard()[0]).toMatchObject({ sequence: MSS });
  });

  it('is sent again where selective acknowledgements show a hole, all holes in one round trip, and nowhere else', () => {
    const rig = new Rig().connect();
    rig.stream.events?.data(new Uint8Array(20 * MSS));
    const sent = rig.heard().map(({ sequence }) => sequence);
    expect(sent).toEqual(Array.from({ length: 20 }, (_, index) => index * MSS));
    /** Acknowledges nothing but the segments from one to another. */
    const selective = (...blocks: readonly (readonly [number, number])[]): void => {
      rig.guest.tcp(REMOTE, {
        ...{ sourcePort: 4000, destinationPort: 80, flags: T.FLAG_ACK, window: 1000 },
        ...{ sequence: OUR_FIRST + 1, acknowledgement: THEIR_FIRST + 1 },
        sack: blocks.map(([from, to]) => [THEIR_FIRST + 1 + from * MSS, THEIR_FIRST + 1 + to * MSS] as const),
      });
    };
    // 0, 5 and 6 were lost, and 19, of which nothing is known yet.
    selective([1, 2]);
    selective([1, 3]);
    expect(rig.heard()).toEqual([]);
    selective([1, 5], [7, 8]);
    expect(rig.heard().map(({ sequence }) => sequence)).toEqual([0]);
    for (let end = 9; end <= 19; end++) selective([7, end], [1, 5]);
    expect(rig.heard().map(({ sequence }) => sequence / MSS)).toEqual([5, 6]);
    // Blocks that make no sense change nothing: empty, the wrong way round, beyond what was sent.
    selective([3, 3], [9, 8], [19, 40], [-5, 2]);
    expect(rig.heard()).toEqual([]);
    rig.send(T.FLAG_ACK, 0, 19 * MSS);
    expect(rig.heard()).toEqual([]);
    rig.host.advance(2000);
    expect(rig.heard()[0]).toMatchObject({ sequence: 19 * MSS });
    rig.send(T.FLAG_ACK, 0, 20 * MSS);
    expect(rig.network.counters()['TCP retransmissions']).toBe(4);
  });

  it('waits at a closed window and probes it', () => {
    const rig = new Rig().connect();
    rig.send(T.FLAG_ACK, 0, 0, '', 0);
    rig.stream.events?.data(bytes('hello'));
    expect(rig.heard()).toEqual([]);
    rig.host.advance(3000);
    const probes = rig.heard();
    expect(probes.length).toBeGreaterThan(0);
    expect(probes[0]).toMatchObject({ sequence: 0, text: 'h' });
    rig.send(T.FLAG_ACK, 0, 1, '', 1000);
    expect(rig.heard().map(({ text }) => text)).toEqual(['ello']);
  });

  it('waits while the guest’s ring is full, however long, and holds the host back', () => {
    const rig = new Rig().connect();
    rig.guest.full = true;
    for (let count = 0; count < 30; count++) rig.stream.events?.data(new Uint8Array(65_536).fill(count));
    expect(rig.stream.held).toBe(true);
    rig.host.advance(3_600_000);
    expect(rig.stream.destroyed).toBeUndefined();
    rig.guest.full = false;
    rig.network.receiveReady();
    expect(rig.heard()[0]).toMatchObject({ sequence: 0 });
  });

  it('is one long packet for a card that cuts it', () => {
    const rig = new Rig(FULL_OFFLOAD).connect();
    rig.stream.events?.data(new Uint8Array(20_000));
    const [packet] = rig.guest.offloaded.filter(({ offload }) => offload?.segmentation);
    expect(packet?.offload).toMatchObject({ segmentation: { kind: 'tcp4', segmentBytes: MSS } });
    expect(packet?.parts[0]?.length).toBeGreaterThan(10_000);
  });

  it('is sent in whole bursts: what a read leaves over waits a moment for the next read', () => {
    const rig = new Rig(FULL_OFFLOAD).connect();
    rig.guest.offloaded.length = 0;
    rig.stream.events?.data(new Uint8Array(65_536));
    const headerBytes = 14 + 20 + T.TCP_HEADER_BYTES;
    const takeSent = (): number[] =>
      rig.guest.offloaded
        .splice(0)
        .map(({ parts: [frame] }) => (frame?.length ?? 0) - headerBytes)
        .filter((payloadBytes) => payloadBytes > 0);
    expect(takeSent()).toEqual([62_780]);
    rig.send(T.FLAG_ACK, 0, 62_780);
    expect(takeSent()).toEqual([]);
    rig.host.advance(1);
    expect(takeSent()).toEqual([2756]);
    // The end of the stream waits for nothing.
    rig.send(T.FLAG_ACK, 0, 65_536);
    rig.stream.events?.data(new Uint8Array(65_536));
    rig.send(T.FLAG_ACK, 0, 65_536 + 62_780);
    expect(takeSent()).toEqual([62_780]);
    rig.stream.events?.ended();
    expect(takeSent()).toEqual([2756]);
  });

  it('is given up when the guest is gone', () => {
    const rig = new Rig().connect();
    rig.stream.events?.data(bytes('hello'));
    rig.host.advance(3_600_000);
    expect(rig.stream.destroyed).toBe('reset');
  });
});

describe('ends', () => {
  it('of the guest’s half: the host hears it, the other half goes on', () => {
    const rig = new Rig().connect();
    rig.send(T.FLAG_ACK | T.FLAG_FIN, 0, 0, 'bye');
    expect([rig.stream.text, rig.stream.ended]).toEqual(['bye', true]);
    expect(rig.heard().at(-1)).toMatchObject({ acknowledgement: 4 });
    rig.stream.events?.data(bytes('and you'));
    rig.stream.events?.ended();
    const last = rig.heard();
    expect(last.map(({ text }) => text).join('')).toBe('and you');
    expect(last.at(-1)?.flags).toBe(T.FLAG_ACK | T.FLAG_FIN);
    rig.send(T.FLAG_ACK, 4, 8);
    // The guest did not hear our last acknowledgement.
    rig.send(T.FLAG_ACK | T.FLAG_FIN, 3, 8);
    expect(rig.heard().at(-1)).toMatchObject({ flags: T.FLAG_ACK, acknowledgement: 4 });
    rig.host.advance(2000);
    rig.send(T.FLAG_ACK, 4, 8);
    expect(rig.heard()).toMatchObject([{ flags: T.FLAG_RST }]);
    expect(rig.host.timerCount).toBeLessThan(3);
  });

  it('by a reset of the guest, if it is in the window', () => {
    const rig = new Rig().connect();
    rig.send(T.FLAG_RST, 50_000_000, 0);
    expect(rig.stream.destroyed).toBeUndefined();
    rig.send(T.FLAG_RST, 0, 0);
    expect(rig.stream.destroyed).toBe('reset');
  });

  it('by a reset of the host’s peer', () => {
    const rig = new Rig().connect();
    rig.stream.events?.closed('reset');
    expect(rig.heard()).toMatchObject([{ flags: T.FLAG_RST | T.FLAG_ACK, sequence: 0 }]);
  });

  it('by a restore elsewhere: the guest hears a reset of every connection, the one here too', () => {
    const rig = new Rig().connect();
    rig.stream.events?.data(bytes('hello'));
    const saved = (from: Rig): StateFields =>
      StateFields.open({ kind: 'test', version: 1, fields: { backend: from.network.save() } }, 'test', 1).group(
        'backend',
      );
    const elsewhere = new Rig();
    elsewhere.network.prepareRestore(saved(rig))();
    // Not before the machine runs.
    expect(elsewhere.heard()).toEqual([]);
    elsewhere.network.receiveReady();
    expect(elsewhere.heard()).toMatchObject([{ flags: T.FLAG_RST, sequence: 5 }]);
    elsewhere.network.receiveReady();
    expect(elsewhere.heard()).toEqual([]);

    rig.heard();
    rig.network.prepareRestore(saved(rig))();
    rig.network.receiveReady();
    expect(rig.heard()).toMatchObject([{ flags: T.FLAG_RST, sequence: 5 }]);
    expect(rig.stream.destroyed).toBe('reset');
    // Nothing is open any more.
    expect(rig.network.save()).toEqual({ connections: [] });
    const strange = { kind: 'test', version: 1, fields: { connections: [[4, 1, 2]] } };
    expect(() => rig.network.prepareRestore(StateFields.open(strange, 'test', 1))).toThrow(SnapshotError);
    rig.network.prepareRestore(StateFields.open({ ...strange, fields: {} }, 'test', 1))();
  });

  it('a segment of a connection from before a restore is answered by a reset', () => {
    const rig = new Rig();
    rig.send(T.FLAG_ACK, 10, 20, 'x');
    expect(rig.heard()).toMatchObject([{ flags: T.FLAG_RST, sequence: 20 }]);
  });
});

describe('a forwarded port', () => {
  it('leads into the guest, which sees the gateway where the host itself calls', async () => {
    const rule = { protocol: 'tcp', hostAddress: '127.0.0.1', hostPort: 2222 } as const;
    const rig = new Rig(NO_OFFLOAD, { forwards: [{ ...rule, guestAddress: ip('10.0.2.15'), guestPort: 22 }] });
    await rig.network.startForwards();
    const accept = rig.host.listening.get('127.0.0.1:2222');
    const stream = new FakeStream('', 0, undefined);
    const events = accept?.(stream, '127.0.0.1', 40_000);
    const [packet] = rig.guest.heard(6);
    expect(packet && [...packet.source]).toEqual([10, 0, 2, 2]);
    // What the caller says at once waits for the guest's answer.
    events?.data(bytes('hello'));
    const fields = { sourcePort: 22, destinationPort: 40_000, window: 1000, mss: MSS, windowShift: 6 };
    rig.guest.tcp(ip('10.0.2.2'), {
      ...{ ...fields, flags: T.FLAG_SYN | T.FLAG_ACK, sequence: OUR_FIRST },
      acknowledgement: THEIR_FIRST + 1,
    });
    expect(
      rig
        .heard()
        .map(({ text }) => text)
        .join(''),
    ).toBe('hello');
    expect(stream.held).toBe(false);
    await rig.network.close();
    expect(stream.destroyed).toBe('reset');
    expect(rig.host.listening.size).toBe(0);
  });
});
