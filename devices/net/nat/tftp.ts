/** The TFTP server for network boot (RFC 1350), read-only, with the options of RFC 2347 to 2349 and 7440. */
import { addressKey } from '../addresses.ts';
import { readU16, writeU16 } from '../wire.ts';
import type { BootFile, NatHost } from './host.ts';
import type { GuestLink } from './link.ts';
import { sendDatagram, type Endpoint } from './udp.ts';

export const TFTP_PORT = 69;
const READ_REQUEST = 1;
const WRITE_REQUEST = 2;
const DATA = 3;
const ACKNOWLEDGEMENT = 4;
const ERROR = 5;
const OPTION_ACKNOWLEDGEMENT = 6;

const ERROR_NOT_FOUND = 1;
const ERROR_ACCESS = 2;

const DEFAULT_BLOCK_BYTES = 512;
const MIN_BLOCK_BYTES = 8;
/** A block in one frame of an ordinary link: header of Ethernet's payload, IPv4, UDP and TFTP less (RFC 2348). */
const MAX_BLOCK_BYTES = 1468;
const MAX_WINDOW_BLOCKS = 64;
const MAX_TRANSFERS = 32;
const RETRY_MS = 1000;
const MAX_RETRIES = 8;
const MAX_NAME_BYTES = 256;

/** The strings of a request: name, mode, and pairs of option and value. */
function requestStrings(message: Uint8Array): string[] {
  const strings: string[] = [];
  let start = 2;
  for (let at = start; at < message.length && strings.length < 16; at++) {
    if (message[at] !== 0) continue;
    if (at - start > MAX_NAME_BYTES) return [];
    strings.push(new TextDecoder().decode(message.subarray(start, at)));
    start = at + 1;
  }
  return strings;
}

/** A relative name below the folder; undefined when it tries to leave it. */
export function bootFileName(name: string): string | undefined {
  const parts = name
    .replaceAll('\\', '/')
    .split('/')
    .filter((part) => part !== '' && part !== '.');
  if (parts.length === 0 || parts.some((part) => part === '..' || part.includes('\0'))) return undefined;
  return parts.join('/');
}

interface Transfer {
  readonly guest: Endpoint;
  readonly server: Endpoint;
  readonly file: BootFile;
  readonly blockBytes: number;
  readonly windowBlocks: number;
  /** Blocks that were acknowledged: all up to this number, which does not wrap. */
  acknowledged: number;
  /** What to say while nothing is acknowledged; options are answered before data. */
  readonly optionAnswer: Uint8Array | undefined;
  started: boolean;
  retries: number;
  sending: boolean;
  cancelTimer: (() => void) | undefined;
}

export class TftpServer {
  /** Requests for files that are not there, or outside the folder. */
  refused = 0;
  readonly #transfers = new Map<string, Transfer>();

  constructor(
    private readonly host: NatHost,
    private readonly link: GuestLink,
  ) {}

  /** A message for port 69. */
  request(guest: Endpoint, server: Endpoint, message: Uint8Array): void {
    const operation = readU16(message, 0);
    if (operation === ACKNOWLEDGEMENT || operation === ERROR) this.#continue(guest, operation, readU16(message, 2));
    else if (operation === WRITE_REQUEST) this.#error(guest, server, ERROR_ACCESS, 'read-only');
    else if (operation === READ_REQUEST) void this.#open(guest, server, requestStrings(message));
  }

  async #open(guest: Endpoint, server: Endpoint, [name = '', , ...options]: string[]): Promise<void> {
    const key = keyOf(guest);
    this.#finish(key);
    const path = bootFileName(name);
    const file = path === undefined ? undefined : await this.host.openBootFile?.(path).catch(() => undefined);
    if (!file || this.#transfers.size >= MAX_TRANSFERS || this.#transfers.has(key)) {
      this.refused++;
      file?.close();
      this.#error(guest, server, ERROR_NOT_FOUND, 'no such file');
      return;
    }
    let blockBytes = DEFAULT_BLOCK_BYTES;
    let windowBlocks = 1;
    const answers: string[] = [];
    for (let index = 0; index + 1 < options.length; index += 2) {
      const option = options[index]?.toLowerCase();
      const value = Number(options[index + 1]);
      if (option === 'tsize') answers.push('tsize', String(file.sizeBytes));
      else if (option === 'blksize' && value >= MIN_BLOCK_BYTES) {
        blockBytes = Math.min(Math.floor(value), MAX_BLOCK_BYTES);
        answers.push('blksize', String(blockBytes));
      } else if (option === 'windowsize' && value >= 1) {
        windowBlocks = Math.min(Math.floor(value), MAX_WINDOW_BLOCKS);
        answers.push('windowsize', String(windowBlocks));
      } else if (option === 'timeout' && value >= 1 && value <= 255) answers.push('timeout', String(value));
    }
    const transfer: Transfer = {
      ...{ guest, server, file, blockBytes, windowBlocks },
      acknowledged: 0,
      optionAnswer: answers.length === 0 ? undefined : optionMessage(answers),
      started: answers.length === 0,
      retries: 0,
      sending: false,
      cancelTimer: undefined,
    };
    this.#transfers.set(key, transfer);
    void this.#sendWindow(key, transfer);
  }

  #continue(guest: Endpoint, operation: number, block: number): void {
    const key = keyOf(guest);
    const transfer = this.#transfers.get(key);
    if (!transfer) return;
    if (operation === ERROR) {
      this.#finish(key);
      return;
    }
    if (!transfer.started) {
      if (block !== 0) return;
      transfer.started = true;
    } else {
      // Block numbers wrap; what was acknowledged is the nearest one that is not older and not beyond what was sent.
      const ahead = (block - transfer.acknowledged) & 0xffff;
      if (ahead === 0 && transfer.windowBlocks === 1) return;
      if (ahead > transfer.windowBlocks) return;
      transfer.acknowledged += ahead;
    }
    transfer.retries = 0;
    const lastBlock = Math.floor(transfer.file.sizeBytes / transfer.blockBytes) + 1;
    if (transfer.acknowledged >= lastBlock) this.#finish(key);
    else void this.#sendWindow(key, transfer);
  }

  async #sendWindow(key: string, transfer: Transfer): Promise<void> {
    transfer.cancelTimer?.();
    transfer.cancelTimer = this.host.after(RETRY_MS, () => {
      if (++transfer.retries > MAX_RETRIES) this.#finish(key);
      else void this.#sendWindow(key, transfer);
    });
    if (!transfer.started) {
      if (transfer.optionAnswer) sendDatagram(this.link, transfer.server, transfer.guest, transfer.optionAnswer);
      return;
    }
    if (transfer.sending) return;
    transfer.sending = true;
    const { blockBytes, file, acknowledged } = transfer;
    try {
      const bytes = await file.read(acknowledged * blockBytes, transfer.windowBlocks * blockBytes);
      if (this.#transfers.get(key) !== transfer) return;
      for (let index = 0; index < transfer.windowBlocks; index++) {
        const block = bytes.subarray(index * blockBytes, (index + 1) * blockBytes);
        const message = new Uint8Array(4 + block.length);
        writeU16(message, 0, DATA);
        writeU16(message, 2, (acknowledged + 1 + index) & 0xffff);
        message.set(block, 4);
        sendDatagram(this.link, transfer.server, transfer.guest, message);
        if (block.length < blockBytes) break;
      }
    } catch {
      this.#error(transfer.guest, transfer.server, ERROR_ACCESS, 'the file cannot be read');
      this.#finish(key);
    } finally {
      transfer.sending = false;
    }
    // An acknowledgement came while the file was read.
    if (this.#transfers.get(key) === transfer && transfer.acknowledged !== acknowledged)
      void this.#sendWindow(key, transfer);
  }

  #error(guest: Endpoint, server: Endpoint, code: number, text: string): void {
    const words = new TextEncoder().encode(text);
    const message = new Uint8Array(5 + words.length);
    writeU16(message, 0, ERROR);
    writeU16(message, 2, code);
    message.set(words, 4);
    sendDatagram(this.link, server, guest, message);
  }

  #finish(key: string): void {
    const transfer = this.#transfers.get(key);
    if (!transfer) return;
    this.#transfers.delete(key);
    transfer.cancelTimer?.();
    transfer.file.close();
  }

  close(): void {
    for (const key of [...this.#transfers.keys()]) this.#finish(key);
  }
}

function keyOf(guest: Endpoint): string {
  return `${addressKey(guest.address)}${guest.port}`;
}

function optionMessage(strings: readonly string[]): Uint8Array {
  const text = new TextEncoder().encode(strings.map((string) => `${string}\0`).join(''));
  const message = new Uint8Array(2 + text.length);
  writeU16(message, 0, OPTION_ACKNOWLEDGEMENT);
  message.set(text, 2);
  return message;
}
