/**
 * Answers DNS messages by this host's resolver: its name servers first, which know every type of record, then getaddrinfo, which knows the
 * hosts file and whatever else the system asks.
 */
import { createSocket } from 'node:dgram';
import { getServers, lookup } from 'node:dns';
import { connect, isIP } from 'node:net';
import { dnsError, DnsStreamReader, endOfQuestions, framedDns } from '../../devices/net/nat/dns.ts';
import { addressAnswer, questionOf } from '../../devices/net/nat/dns-message.ts';
import { readU16 } from '../../devices/net/wire.ts';

const TRY_MS = 2500;
const TRIES = 2;
const FLAG_TRUNCATED = 0x0200;
const RCODE_MASK = 0x000f;
const DNS_PORT = 53;

interface Server {
  readonly address: string;
  readonly port: number;
}

function nameServers(): Server[] {
  return getServers().map((text) => {
    const [, bracketed, bracketedPort] = /^\[(.*)\](?::(\d+))?$/.exec(text) ?? [];
    if (bracketed !== undefined) return { address: bracketed, port: Number(bracketedPort ?? DNS_PORT) };
    if (isIP(text) !== 0) return { address: text, port: DNS_PORT };
    const [address = text, port = String(DNS_PORT)] = text.split(':');
    return { address, port: Number(port) };
  });
}

/** An answer belongs to a question when number and question are the same (RFC 5452, 9.1). */
function answers(query: Uint8Array, answer: Uint8Array): boolean {
  const end = endOfQuestions(query);
  const answerEnd = endOfQuestions(answer);
  if (end === undefined || answerEnd !== end) return false;
  const same = (from: number, to: number): boolean =>
    Buffer.compare(query.subarray(from, to), answer.subarray(from, to)) === 0;
  return (
    same(0, 2) &&
    same(4, 6) &&
    Buffer.from(query.subarray(12, end)).toString('latin1').toLowerCase() ===
      Buffer.from(answer.subarray(12, end)).toString('latin1').toLowerCase()
  );
}

function askByUdp(server: Server, query: Uint8Array): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const socket = createSocket(isIP(server.address) === 6 ? 'udp6' : 'udp4');
    const finish = (error: Error | undefined, answer?: Uint8Array): void => {
      clearTimeout(timer);
      socket.close();
      if (answer) resolve(answer);
      else reject(error ?? new Error('no answer'));
    };
    const timer = setTimeout(() => finish(undefined), TRY_MS);
    socket.on('error', finish);
    socket.on('message', (answer, from) => {
      if (from.port === server.port && answers(query, answer)) finish(undefined, new Uint8Array(answer));
    });
    socket.connect(server.port, server.address, () => socket.send(query));
  });
}

function askByTcp(server: Server, query: Uint8Array): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const reader = new DnsStreamReader();
    const socket = connect({ host: server.address, port: server.port });
    socket.setTimeout(TRY_MS, () => socket.destroy(new Error('no answer')));
    socket.on('connect', () => socket.write(framedDns(query)));
    socket.on('data', (bytes) => {
      const [answer] = reader.push(bytes);
      if (!answer) return;
      socket.destroy();
      if (answers(query, answer)) resolve(answer);
      else reject(new Error('no answer'));
    });
    socket.on('error', reject);
    socket.on('close', () => reject(new Error('no answer')));
  });
}

async function askServers(query: Uint8Array): Promise<Uint8Array> {
  let problem: unknown = new Error('no name server');
  for (let round = 0; round < TRIES; round++) {
    for (const server of nameServers()) {
      try {
        const answer = await askByUdp(server, query);
        if ((readU16(answer, 2) & FLAG_TRUNCATED) === 0) return answer;
        // Whoever cannot be asked by TCP has said all there is.
        return await askByTcp(server, query).catch(() => answer);
      } catch (error) {
        problem = error;
      }
    }
  }
  throw problem;
}

/** What the system knows without its name servers; undefined when that is nothing, or no address was asked for. */
async function askSystem(query: Uint8Array): Promise<Uint8Array | undefined> {
  const question = questionOf(query);
  if (!question || question.family === undefined) return undefined;
  const { name, family } = question;
  const addresses = await new Promise<readonly string[]>((resolve) => {
    lookup(name, { all: true, family }, (error, found) => resolve(error ? [] : found.map(({ address }) => address)));
  });
  return addresses.length === 0 ? undefined : addressAnswer(query, addresses);
}

/** Answers a message. Rejects when nobody knows anything. */
export async function resolveDns(query: Uint8Array): Promise<Uint8Array> {
  const fromServers = await askServers(query).catch(() => undefined);
  if (fromServers && (readU16(fromServers, 2) & RCODE_MASK) === 0) return fromServers;
  return (await askSystem(query)) ?? fromServers ?? dnsError(query, 2);
}
