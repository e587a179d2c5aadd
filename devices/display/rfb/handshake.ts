/** The opening of an RFB session (RFC 6143, 7.1 to 7.3) for protocol versions 3.3, 3.7 and 3.8, without or with VNC authentication. */
import type { ByteParser } from './byte-parser.ts';
import { CHALLENGE_BYTES, RfbError, SECURITY_NONE, SECURITY_VNC, SERVER_VERSION, VERSION_BYTES } from './protocol.ts';

const KEY_BYTES = 8;
const RESULT_OK = 0;
const RESULT_FAILED = 1;
const WRONG_PASSWORD = 'Auth Failed: Invalid Password.';
const WRONG_TYPE = 'Auth failed: authentication type mismatch';

/** What VNC authentication needs of the host. */
export interface Authentication {
  readonly password: string;
  /** DES (FIPS 46-3) of two blocks in ECB mode. `key` has 8 bytes, whose lowest bits are parity. */
  des(key: Uint8Array, blocks: Uint8Array): Uint8Array;
  /** Fills with bytes that no client can foresee. */
  random(into: Uint8Array<ArrayBuffer>): void;
}

const text = new TextEncoder();

function word(value: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value);
  return bytes;
}

/** The password as a DES key: its first 8 bytes, each with its bits in reverse order. */
export function vncKey(password: string): Uint8Array {
  const key = new Uint8Array(KEY_BYTES);
  for (const [index, byte] of text.encode(password).subarray(0, KEY_BYTES).entries()) {
    for (let bit = 0; bit < 8; bit++) if (byte & (1 << bit)) key[index] = (key[index] ?? 0) | (0x80 >> bit);
  }
  return key;
}

/**
 * Leads a client up to ClientInit. `done` is called once it may be told about the display; a client that is refused or that breaks the
 * protocol ends in an {@link RfbError} out of ByteParser.receive(), after what it is owed was sent.
 */
export class Handshake {
  /** Minor protocol version: 3, 7 or 8. */
  #minor = 3;

  constructor(
    private readonly parser: ByteParser,
    private readonly send: (bytes: Uint8Array) => void,
    /** Undefined: any client may enter. */
    private readonly authentication: Authentication | undefined,
    private readonly done: () => void,
  ) {}

  start(): void {
    this.send(text.encode(SERVER_VERSION));
    this.parser.field(VERSION_BYTES, (field) => this.#version(field));
  }

  #version(field: DataView): void {
    const version = String.fromCharCode(...new Uint8Array(field.buffer, field.byteOffset, field.byteLength));
    if (!/^RFB \d{3}\.\d{3}\n$/.test(version)) throw new RfbError('the client does not speak RFB');
    // Everything else counts as 3.3, as RFC 6143 demands of other versions.
    if (version === 'RFB 003.007\n') this.#minor = 7;
    else if (version === SERVER_VERSION) this.#minor = 8;
    const type = this.authentication ? SECURITY_VNC : SECURITY_NONE;
    if (this.#minor === 3) {
      this.send(word(type));
      this.#begin(type);
      return;
    }
    this.send(Uint8Array.of(1, type));
    this.parser.field(1, (choice) => {
      if (choice.getUint8(0) === type) this.#begin(type);
      else this.#refuse(WRONG_TYPE);
    });
  }

  #begin(type: number): void {
    if (type === SECURITY_NONE || !this.authentication) {
      // Only 3.8 knows a result of no authentication.
      if (this.#minor === 8) this.send(word(RESULT_OK));
      this.#awaitClientInit();
      return;
    }
    const { password, des, random } = this.authentication;
    const challenge = new Uint8Array(CHALLENGE_BYTES);
    random(challenge);
    const expected = des(vncKey(password), challenge);
    this.send(challenge);
    this.parser.field(CHALLENGE_BYTES, (answer) => {
      let difference = 0;
      for (let i = 0; i < CHALLENGE_BYTES; i++) difference |= answer.getUint8(i) ^ (expected[i] ?? 0);
      if (difference !== 0) return this.#refuse(WRONG_PASSWORD);
      this.send(word(RESULT_OK));
      this.#awaitClientInit();
    });
  }

  #refuse(reason: string): void {
    this.send(word(RESULT_FAILED));
    if (this.#minor === 8) {
      const bytes = text.encode(reason);
      this.send(word(bytes.length));
      this.send(bytes);
    }
    throw new RfbError(reason);
  }

  #awaitClientInit(): void {
    // Whether the client would share the display: bhyve does not look at it.
    this.parser.field(1, () => this.done());
  }
}
