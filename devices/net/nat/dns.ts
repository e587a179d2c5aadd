/** The name server 10.0.2.3: hands questions to the host's resolver, over UDP and TCP (RFC 1035). */
import { readU16, writeU16 } from '../wire.ts';
import type { NatHost } from './host.ts';

export const DNS_PORT = 53;
export const DNS_HEADER_BYTES = 12;
/** Questions that a guest may have open. */
const MAX_OPEN = 256;
/** Longest answer over UDP to one who does not say more (RFC 1035, 4.2.1). */
const PLAIN_UDP_BYTES = 512;
const MAX_UDP_BYTES = 4096;

const FLAG_RESPONSE = 0x8000;
const FLAG_TRUNCATED = 0x0200;
const FLAG_RECURSION_AVAILABLE = 0x0080;
export const RCODE_SERVER_FAILURE = 2;
export const RCODE_REFUSED = 5;
const TYPE_OPT = 41;

/** End of the questions of a message, or undefined when they do not fit. */
export function endOfQuestions(message: Uint8Array): number | undefined {
  let at = DNS_HEADER_BYTES;
  for (let count = readU16(message, 4); count > 0; count--) {
    for (;;) {
      const length = message[at];
      if (length === undefined) return undefined;
      if ((length & 0xc0) === 0xc0) {
        at += 2;
        break;
      }
      at += 1 + length;
      if (length === 0) break;
    }
    at += 4;
    if (at > message.length) return undefined;
  }
  return at;
}

/** An answer without records: the question again, and what went wrong. */
export function dnsError(query: Uint8Array, code: number): Uint8Array {
  const answer = query.slice(0, endOfQuestions(query) ?? DNS_HEADER_BYTES);
  writeU16(answer, 2, FLAG_RESPONSE | (readU16(query, 2) & 0x7900) | FLAG_RECURSION_AVAILABLE | code);
  for (const count of [6, 8, 10]) writeU16(answer, count, 0);
  if (answer.length === DNS_HEADER_BYTES) writeU16(answer, 4, 0);
  return answer;
}

/** The size of UDP answers that the client takes (RFC 6891, 6.2.3), when the OPT record comes first among the additional ones. */
function udpBytesOf(query: Uint8Array): number {
  const at = endOfQuestions(query);
  const onlyAdditional = readU16(query, 6) === 0 && readU16(query, 8) === 0 && readU16(query, 10) > 0;
  if (at === undefined || !onlyAdditional || query[at] !== 0 || readU16(query, at + 1) !== TYPE_OPT)
    return PLAIN_UDP_BYTES;
  return Math.min(MAX_UDP_BYTES, Math.max(PLAIN_UDP_BYTES, readU16(query, at + 3)));
}

export class DnsForwarder {
  /** Questions that the host could not answer. */
  failures = 0;
  #open = 0;

  constructor(
    private readonly host: NatHost,
    /** Names are resolved at all: not in a closed network, out of which a question would carry data. */
    private readonly resolves: boolean,
  ) {}

  /** Answers a message that came over UDP; over TCP `limitBytes` is that of the length field. Undefined: it was none. */
  async answer(query: Uint8Array, over: 'udp' | 'tcp'): Promise<Uint8Array | undefined> {
    if (query.length < DNS_HEADER_BYTES || (readU16(query, 2) & FLAG_RESPONSE) !== 0) return undefined;
    if (!this.resolves) return dnsError(query, RCODE_REFUSED);
    if (this.#open >= MAX_OPEN) return dnsError(query, RCODE_SERVER_FAILURE);
    this.#open++;
    try {
      const answer = await this.host.resolveDns(query);
      writeU16(answer, 0, readU16(query, 0));
      if (over === 'tcp' || answer.length <= udpBytesOf(query)) return answer;
      const truncated = dnsError(query, 0);
      writeU16(truncated, 2, readU16(truncated, 2) | FLAG_TRUNCATED);
      return truncated;
    } catch {
      this.failures++;
      return dnsError(query, RCODE_SERVER_FAILURE);
    } finally {
      this.#open--;
    }
  }
}

/** Cuts a TCP stream of questions into messages: each has its length in front (RFC 1035, 4.2.2). */
export class DnsStreamReader {
  #bytes = new Uint8Array();

  /** Messages that are complete now. */
  push(bytes: Uint8Array): Uint8Array[] {
    const all = new Uint8Array(this.#bytes.length + bytes.length);
    all.set(this.#bytes);
    all.set(bytes, this.#bytes.length);
    const messages: Uint8Array[] = [];
    let at = 0;
    while (at + 2 <= all.length) {
      const end = at + 2 + readU16(all, at);
      if (end > all.length) break;
      messages.push(all.slice(at + 2, end));
      at = end;
    }
    this.#bytes = all.slice(at);
    return messages;
  }
}

/** A message with its length in front. */
export function framedDns(message: Uint8Array): Uint8Array {
  const framed = new Uint8Array(2 + message.length);
  writeU16(framed, 0, message.length);
  framed.set(message, 2);
  return framed;
}
