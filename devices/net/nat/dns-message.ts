/** Questions for addresses, and answers made of addresses (RFC 1035, 4.1; RFC 3596): for hosts whose resolver speaks no DNS itself. */
import { parseIp } from '../addresses.ts';
import { readU16, writeU16, writeU32 } from '../wire.ts';
import { DNS_HEADER_BYTES, dnsError, endOfQuestions } from './dns.ts';

const TYPE_A = 1;
const TYPE_AAAA = 28;
const CLASS_INTERNET = 1;
/** How long guests may keep what the system said, which tells no time itself. */
const TIME_TO_LIVE_S = 30;
const MAX_ADDRESSES = 16;
/** A name that points at the question's (RFC 1035, 4.1.4). */
const POINTER_TO_QUESTION = 0xc000 | DNS_HEADER_BYTES;

export interface Question {
  /** With dots between its labels, none at its end. */
  readonly name: string;
  /** Of the addresses asked for; undefined when the question is for something else. */
  readonly family: 4 | 6 | undefined;
}

/** The only question of a message; undefined when there is none or more. */
export function questionOf(query: Uint8Array): Question | undefined {
  const end = endOfQuestions(query);
  if (end === undefined || readU16(query, 4) !== 1) return undefined;
  const labels: string[] = [];
  for (let at = DNS_HEADER_BYTES; (query[at] ?? 0) !== 0;) {
    const length = query[at] ?? 0;
    if ((length & 0xc0) !== 0) return undefined;
    labels.push(String.fromCharCode(...query.subarray(at + 1, at + 1 + length)));
    at += 1 + length;
  }
  const type = readU16(query, end - 4);
  const isInternet = readU16(query, end - 2) === CLASS_INTERNET;
  const family = type === TYPE_A ? 4 : type === TYPE_AAAA ? 6 : undefined;
  return { name: labels.join('.'), family: isInternet ? family : undefined };
}

/** The answer to a question for addresses. */
export function addressAnswer(query: Uint8Array, addresses: readonly string[]): Uint8Array {
  const head = dnsError(query, 0);
  const records = addresses
    .slice(0, MAX_ADDRESSES)
    .map((text) => parseIp(text))
    .filter((address) => address !== undefined);
  const answer = new Uint8Array(head.length + records.reduce((sum, address) => sum + 12 + address.length, 0));
  answer.set(head);
  writeU16(answer, 6, records.length);
  let at = head.length;
  for (const address of records) {
    writeU16(answer, at, POINTER_TO_QUESTION);
    writeU16(answer, at + 2, address.length === 4 ? TYPE_A : TYPE_AAAA);
    writeU16(answer, at + 4, CLASS_INTERNET);
    writeU32(answer, at + 6, TIME_TO_LIVE_S);
    writeU16(answer, at + 10, address.length);
    answer.set(address, at + 12);
    at += 12 + address.length;
  }
  return answer;
}
