/** The user-mode network's own services, and what it lets out. */
import { describe, expect, it } from 'vitest';
import { formatIp } from '../../devices/net/addresses.ts';
import { parseForwardRule } from '../../devices/net/nat/forward-rule.ts';
import { UserNetwork } from '../../devices/net/nat/network.ts';
import { parseAllowed, permits } from '../../devices/net/nat/policy.ts';
import { DEFAULT_NAT_SETTINGS, type NatSettings } from '../../devices/net/nat/settings.ts';
import { readU16, readU32 } from '../../devices/net/wire.ts';
import { settle } from '../support/fake-block.ts';
import { FakeNatHost } from '../support/fake-nat-host.ts';
import { GUEST_MAC, ip, NatGuest } from '../support/nat-guest.ts';

const OPEN = { open: true, allowed: [] } as const;

function network(settings: Partial<NatSettings> = {}): { host: FakeNatHost; guest: NatGuest; net: UserNetwork } {
  const host = new FakeNatHost();
  const net = new UserNetwork(host, { ...DEFAULT_NAT_SETTINGS, ...settings });
  const guest = new NatGuest(net);
  guest.announce();
  guest.frames.length = 0;
  return { host, guest, net };
}

const bytes = (text: string): number[] => [...new TextEncoder().encode(text)];

function dhcp(type: number, options: readonly number[] = []): Uint8Array {
  const message = new Uint8Array(300);
  message.set([1, 1, 6, 0, 0xde, 0xad, 0xbe, 0xef]);
  message.set(GUEST_MAC, 28);
  message.set([99, 130, 83, 99, 53, 1, type, ...options, 255], 236);
  return message;
}

/** Options of a DHCP answer, by number. */
function optionsOf(message: Uint8Array): Map<number, number[]> {
  const options = new Map<number, number[]>();
  for (let at = 240; message[at] !== 255 && at < message.length; at += 2 + (message[at + 1] ?? 0)) {
    options.set(message[at] ?? 0, [...message.subarray(at + 2, at + 2 + (message[at + 1] ?? 0))]);
  }
  return options;
}

const question = (type: number): Uint8Array =>
  Uint8Array.of(0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 97, 2, 98, 99, 0, 0, type, 0, 1);

describe('ARP and discovery', () => {
  it('answers for the gateway and the name server, for nobody else', () => {
    const { guest } = network();
    const ask = (last: number): void =>
      guest.send(
        guest.frame(
          0x0806,
          Uint8Array.of(0, 1, 8, 0, 6, 4, 0, 1, ...GUEST_MAC, ...guest.address, 0, 0, 0, 0, 0, 0, 10, 0, 2, last),
        ),
      );
    for (const last of [2, 3, 4, 15]) ask(last);
    expect(guest.frames.map((frame) => [readU16(frame, 20), frame[31]])).toEqual([
      [2, 2],
      [2, 3],
    ]);
  });

  it('advertises the router and answers for its addresses on IPv6', () => {
    const { net } = network();
    const guest = new NatGuest(net, ip('fe80::1'));
    guest.icmp(ip('ff02::2'), Uint8Array.of(133, 0, 0, 0, 0, 0, 0, 0));
    const solicitation = new Uint8Array(24);
    solicitation[0] = 135;
    solicitation.set(ip('fd00:a098:0:2::3'), 8);
    guest.icmp(ip('ff02::1:ff00:3'), solicitation);
    const [advertisement, answer] = guest.heard(58);
    expect(advertisement?.payload[0]).toBe(134);
    // Prefix information: 64 bits, for addresses of one's own.
    expect([...(advertisement?.payload.subarray(32, 36) ?? [])]).toEqual([3, 4, 64, 0xc0]);
    expect(answer?.payload[0]).toBe(136);
    expect(formatIp(answer?.payload.subarray(8, 24) ?? new Uint8Array(16))).toBe('fd00:a098:0:2::3');
  });
});

describe('DHCP', () => {
  it('offers and gives an address, router, name server and boot file', () => {
    const { guest } = network({ bootFile: 'pxe/ipxe.efi', mtu: 9000 });
    guest.udp(ip('255.255.255.255'), 67, dhcp(1), 68, ip('0.0.0.0'));
    guest.udp(ip('255.255.255.255'), 67, dhcp(3, [50, 4, 10, 0, 2, 15, 54, 4, 10, 0, 2, 2]), 68, ip('0.0.0.0'));
    const [offer, ack] = guest.datagrams();
    expect(offer && [...offer.bytes.subarray(16, 20)]).toEqual([10, 0, 2, 15]);
    expect(offer && readU32(offer.bytes, 4)).toBe(0xdeadbeef);
    const options = optionsOf(ack?.bytes ?? new Uint8Array());
    expect(options.get(53)).toEqual([5]);
    expect(options.get(3)).toEqual([10, 0, 2, 2]);
    expect(options.get(6)).toEqual([10, 0, 2, 3]);
    expect(options.get(26)).toEqual([0x23, 0x28]);
    expect(String.fromCharCode(...(options.get(67) ?? []))).toBe('pxe/ipxe.efi');
  });

  it('tells iPXE, whose own program is the boot file, of its script', () => {
    const files = { bootFile: 'ipxe.efi', ipxeFile: 'boot.ipxe' };
    const { guest } = network(files);
    const everybody = ip('255.255.255.255');
    guest.udp(everybody, 67, dhcp(1), 68, ip('0.0.0.0'));
    guest.udp(everybody, 67, dhcp(1, [77, 4, ...bytes('iPXE')]), 68, ip('0.0.0.0'));
    const names = guest.datagrams().map((answer) => String.fromCharCode(...(optionsOf(answer.bytes).get(67) ?? [])));
    expect(names).toEqual(['ipxe.efi', 'boot.ipxe']);
    const v6 = new NatGuest(network(files).net, ip('fe80::1'));
    const solicit = [1, 1, 2, 3, 0, 1, 0, 4, 9, 9, 9, 9];
    v6.udp(ip('ff02::1:2'), 547, Uint8Array.from(solicit), 546);
    v6.udp(ip('ff02::1:2'), 547, Uint8Array.of(...solicit, 0, 15, 0, 6, 0, 4, ...bytes('iPXE')), 546);
    const urls = v6.datagrams().map((answer) => /tftp:\S*?(efi|ipxe)$/.exec(String.fromCharCode(...answer.bytes))?.[0]);
    expect(urls).toEqual(['tftp://[fd00:a098:0:2::2]/ipxe.efi', 'tftp://[fd00:a098:0:2::2]/boot.ipxe']);
  });

  it('refuses an address that is not the client’s, and hears no other server’s clients', () => {
    const { guest } = network();
    guest.udp(ip('255.255.255.255'), 67, dhcp(1), 68, ip('0.0.0.0'));
    guest.udp(ip('255.255.255.255'), 67, dhcp(3, [50, 4, 10, 0, 2, 77]), 68, ip('0.0.0.0'));
    guest.udp(ip('255.255.255.255'), 67, dhcp(3, [54, 4, 10, 0, 2, 9]), 68, ip('0.0.0.0'));
    expect(guest.datagrams().map(({ bytes }) => optionsOf(bytes).get(53))).toEqual([[2], [6]]);
  });

  it('gives an IPv6 address with the same number', () => {
    const { net } = network();
    const guest = new NatGuest(net, ip('fe80::1'));
    const solicit = Uint8Array.of(1, 1, 2, 3, 0, 1, 0, 4, 9, 9, 9, 9, 0, 3, 0, 12, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0);
    guest.udp(ip('ff02::1:2'), 547, solicit, 546);
    const [answer] = guest.datagrams();
    expect(answer?.bytes[0]).toBe(2);
    expect(Buffer.from(answer?.bytes ?? []).includes(Buffer.from(ip('fd00:a098:0:2::15')))).toBe(true);
  });
});

describe('names', () => {
  it('are resolved by the host, over UDP', async () => {
    const { guest } = network({ policy: OPEN });
    guest.udp(ip('10.0.2.3'), 53, question(1));
    await settle();
    const [answer] = guest.datagrams();
    expect(answer && formatIp(answer.from)).toBe('10.0.2.3');
    expect(answer && [...answer.bytes.subarray(-4)]).toEqual([192, 0, 2, 1]);
  });

  it('are refused where nothing is let out: a question carries data', async () => {
    const { guest } = network();
    guest.udp(ip('10.0.2.3'), 53, question(1));
    await settle();
    expect((guest.datagrams()[0]?.bytes[3] ?? 0) & 15).toBe(5);
  });
});

describe('ICMP', () => {
  it('answers echo requests, also long ones in pieces', () => {
    const { guest } = network();
    guest.icmp(ip('10.0.2.2'), Uint8Array.of(8, 0, 0, 0, 0, 1, 0, 1, 97, 98));
    expect(guest.heard(1).map(({ payload }) => [...payload])).toEqual([[0, 0, 0x9e, 0x9b, 0, 1, 0, 1, 97, 98]]);
    const long = new Uint8Array(4000);
    long[0] = 8;
    guest.icmp(ip('10.0.2.2'), long);
    const pieces = guest.heard(1);
    expect(pieces.map(({ fragment }) => fragment?.offsetBytes)).toEqual([0, 1480, 2960]);
    expect(pieces.reduce((sum, { payload }) => sum + payload.length, 0)).toBe(4000);
  });

  it('asks the host for addresses of the world', async () => {
    const { guest } = network({ policy: OPEN });
    guest.icmp(ip('1.1.1.1'), Uint8Array.of(8, 0, 0, 0, 0, 1, 0, 1));
    await settle();
    expect(guest.heard(1).map(({ source, payload }) => [formatIp(source), payload[0]])).toEqual([['1.1.1.1', 0]]);
  });
});

describe('UDP', () => {
  it('goes out and comes back from where it was sent to, and from nowhere else', () => {
    const { host, guest, net } = network({ policy: OPEN });
    guest.udp(ip('8.8.8.8'), 123, Uint8Array.of(1, 2, 3));
    const [socket] = host.sockets;
    expect(socket?.sent).toMatchObject([{ address: '8.8.8.8', port: 123 }]);
    socket?.events.received(Uint8Array.of(4), '8.8.8.8', 123);
    socket?.events.received(Uint8Array.of(5), '9.9.9.9', 123);
    const answers = guest.datagrams();
    expect(answers.map(({ from, destinationPort, bytes }) => [formatIp(from), destinationPort, ...bytes])).toEqual([
      ['8.8.8.8', 5000, 4],
    ]);
    expect(net.counters()['UDP unsolicited']).toBe(1);
    host.advance(200_000);
    expect(socket?.closed).toBe(true);
  });

  it('is sent in fragments where it is long, both ways', () => {
    const { host, guest } = network({ policy: OPEN });
    guest.udp(ip('8.8.8.8'), 123, new Uint8Array(8));
    host.sockets[0]?.events.received(new Uint8Array(3000).fill(7), '8.8.8.8', 123);
    expect(guest.heard(17).map(({ fragment }) => fragment?.more)).toEqual([true, true, false]);
  });

  it('has no more flows than it may', () => {
    const { host, guest } = network({
      policy: OPEN,
      limits: { ...DEFAULT_NAT_SETTINGS.limits, udpFlows: 3 },
    });
    for (let port = 1; port <= 5; port++) guest.udp(ip('8.8.8.8'), 99, new Uint8Array(1), port);
    expect(host.sockets.map(({ closed }) => closed)).toEqual([true, true, false, false, false]);
  });
});

describe('TFTP', () => {
  const text = (value: string): number[] => [...new TextEncoder().encode(value), 0];

  it('serves a file of several blocks with options, and nothing outside of its folder', async () => {
    const { host, guest } = network();
    host.files.set(
      'boot/kernel',
      Uint8Array.from({ length: 2500 }, (_, index) => index),
    );
    const server = ip('10.0.2.2');
    guest.udp(
      server,
      69,
      Uint8Array.of(0, 1, ...text('/boot/./kernel'), ...text('octet'), ...text('blksize'), ...text('1000')),
    );
    await settle();
    expect(new TextDecoder().decode(guest.datagrams()[0]?.bytes.subarray(2))).toBe('blksize\x001000\x00');
    const received: number[] = [];
    for (let block = 0; block < 3; block++) {
      guest.udp(server, 69, Uint8Array.of(0, 4, 0, block));
      await settle();
      const [data] = guest.datagrams();
      expect(data && [data.bytes[1], readU16(data.bytes, 2)]).toEqual([3, block + 1]);
      received.push(...(data?.bytes.subarray(4) ?? []));
    }
    expect(received).toEqual([...(host.files.get('boot/kernel') ?? [])]);
    for (const name of ['../secret', 'boot/../../x', 'none']) {
      guest.udp(server, 69, Uint8Array.of(0, 1, ...text(name), ...text('octet')));
      await settle();
      expect(guest.datagrams()[0]?.bytes[1]).toBe(5);
    }
  });

  it('sends a block again that was lost', async () => {
    const { host, guest } = network();
    host.files.set('a', new Uint8Array(10));
    guest.udp(ip('10.0.2.2'), 69, Uint8Array.of(0, 1, ...text('a'), ...text('octet')));
    await settle();
    expect(guest.datagrams()).toHaveLength(1);
    host.advance(1100);
    await settle();
    expect(guest.datagrams()).toHaveLength(1);
  });
});

describe('what guests reach', () => {
  const privates = [
    '127.0.0.1',
    '10.1.2.3',
    '192.168.1.1',
    '172.16.0.1',
    '169.254.169.254',
    '::1',
    'fe80::1',
    'fc00::1',
  ];

  it.each(privates)('%s only when it is allowed by name', (text) => {
    expect(permits({ open: false, allowed: [] }, ip(text))).toBe(false);
    expect(permits(OPEN, ip(text))).toBe(false);
    const word = ['127.0.0.1', '::1'].includes(text) ? 'loopback' : text.startsWith('1') ? `private;${text}` : text;
    expect(permits({ open: true, allowed: parseAllowed(word).prefixes }, ip(text))).toBe(true);
  });

  it.each(['224.0.0.1', 'ff02::1', '255.255.255.255', '0.0.0.0', '10.0.2.99'])('%s never', (text) => {
    expect(permits({ open: true, allowed: parseAllowed('0.0.0.0/0;::/0').prefixes }, ip(text))).toBe(false);
  });

  it('an IPv4 address in the clothes of IPv6 is that IPv4 address', () => {
    expect(permits(OPEN, ip('::ffff:127.0.0.1'))).toBe(false);
    expect(permits(OPEN, ip('::ffff:8.8.8.8'))).toBe(true);
  });

  it('the public addresses when the network is open', () => {
    expect(permits(OPEN, ip('8.8.8.8'))).toBe(true);
    expect(permits(OPEN, ip('2606:4700::1'))).toBe(true);
    expect(permits({ open: false, allowed: [] }, ip('8.8.8.8'))).toBe(false);
  });
});

describe('forwarding rules', () => {
  it.each([
    ['tcp:127.0.0.1:2222-:22', 'tcp 127.0.0.1 2222 10.0.2.15 22'],
    ['udp:0.0.0.0:53-10.0.2.20:54', 'udp 0.0.0.0 53 10.0.2.20 54'],
    // Without an address only this host gets in.
    ['tcp::80-:80', 'tcp 127.0.0.1 80 10.0.2.15 80'],
  ])('%s', (rule, wanted) => {
    const parsed = parseForwardRule(rule);
    if (!parsed) throw new Error('no rule');
    const { protocol, hostAddress, hostPort, guestAddress, guestPort } = parsed;
    expect(`${protocol} ${hostAddress} ${hostPort} ${formatIp(guestAddress)} ${guestPort}`).toBe(wanted);
  });
});
