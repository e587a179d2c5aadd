/**
 * The serial EEPROM of 64 words behind EECD (Microwire: 3 bits of opcode, 6 of address; manual, 5.3 and 13.4.3) and EERD. Writes are taken,
 * whether or not they were enabled, as in bhyve.
 */
import type { StateFields } from '../../platform/state-fields.ts';
import type { StateValue } from '../../snapshot.ts';
import type { MacAddress } from '../addresses.ts';

const WORDS = 64;
const WORD_SUBSYSTEM_ID = 0x0b;
const WORD_SUBSYSTEM_VENDOR = 0x0c;
const WORD_DEVICE_ID = 0x0d;
const WORD_VENDOR_ID = 0x0e;
const WORD_CHECKSUM = 0x3f;
/** All words together give this (manual, 5.6.36). */
const CHECKSUM = 0xbaba;

/** EECD: clock, chip select, data in and out, request, grant, present. */
const EECD_SK = 1 << 0;
const EECD_CS = 1 << 1;
const EECD_DI = 1 << 2;
const EECD_DO = 1 << 3;
const EECD_FWE_ENABLED = 2 << 4;
const EECD_REQUEST = 1 << 6;
const EECD_GRANT = 1 << 7;
const EECD_PRESENT = 1 << 8;
const EECD_WRITABLE = EECD_SK | EECD_CS | EECD_DI | (3 << 4) | EECD_REQUEST;

const EERD_START = 1 << 0;
const EERD_DONE = 1 << 4;

const COMMAND_BITS = 9;
const OPCODE_WRITE = 5;
const OPCODE_READ = 6;

export class Eeprom {
  readonly #words = new Uint16Array(WORDS);
  #eecd = EECD_FWE_ENABLED;
  #eerd = 0;
  /** Bits shifted in since the chip was selected, and how many. */
  #shift = 0;
  #bits = 0;
  /** Word being shifted out, most significant bit first. */
  #output = 0;
  #outputBits = 0;

  constructor(
    mac: MacAddress,
    identity: { vendorId: number; deviceId: number; subsystemVendorId: number; subsystemId: number },
  ) {
    for (let word = 0; word < 3; word++) this.#words[word] = (mac[2 * word] ?? 0) | ((mac[2 * word + 1] ?? 0) << 8);
    this.#words[WORD_SUBSYSTEM_ID] = identity.subsystemId;
    this.#words[WORD_SUBSYSTEM_VENDOR] = identity.subsystemVendorId;
    this.#words[WORD_DEVICE_ID] = identity.deviceId;
    this.#words[WORD_VENDOR_ID] = identity.vendorId;
    const sum = this.#words.reduce((total, word) => total + word, 0);
    this.#words[WORD_CHECKSUM] = CHECKSUM - sum;
  }

  /** The MAC address as the words have it. */
  get mac(): MacAddress {
    return Uint8Array.from({ length: 6 }, (_, index) => (this.#words[index >> 1] ?? 0) >>> (8 * (index & 1)));
  }

  reset(): void {
    this.#eecd = EECD_FWE_ENABLED;
    this.#eerd = 0;
    this.#deselect();
  }

  #deselect(): void {
    this.#shift = 0;
    this.#bits = 0;
    this.#output = 0;
    this.#outputBits = 0;
  }

  get eecd(): number {
    const granted = this.#eecd & EECD_REQUEST ? EECD_GRANT : 0;
    // Between commands the chip shows that it is ready.
    const out = this.#outputBits > 0 ? (this.#output >>> (this.#outputBits - 1)) & 1 : 1;
    return this.#eecd | granted | EECD_PRESENT | (out ? EECD_DO : 0);
  }

  writeEecd(value: number): void {
    const before = this.#eecd;
    this.#eecd = value & EECD_WRITABLE;
    if (!(this.#eecd & EECD_CS)) {
      this.#deselect();
      return;
    }
    const rises = (this.#eecd & EECD_SK) !== 0 && (before & EECD_SK) === 0;
    if (rises) this.#clock((this.#eecd & EECD_DI) !== 0 ? 1 : 0);
  }

  #clock(bit: number): void {
    // While a word is shifted out the driver clocks without data.
    if (this.#outputBits > 0 && this.#bits > COMMAND_BITS) this.#outputBits--;
    // A command begins with a one.
    if (this.#bits === 0 && bit === 0) return;
    if (this.#bits <= COMMAND_BITS + 16) this.#shift = ((this.#shift << 1) | bit) & 0x1ffffff;
    this.#bits++;
    const isWrite = this.#bits === COMMAND_BITS + 16;
    if (this.#bits === COMMAND_BITS && this.#shift >>> 6 === OPCODE_READ) {
      this.#output = this.#words[this.#shift & 63] ?? 0;
      // A zero comes before the word (dummy bit).
      this.#outputBits = 17;
      this.#bits = COMMAND_BITS + 1;
    } else if (isWrite && this.#shift >>> 22 === OPCODE_WRITE) {
      this.#words[(this.#shift >>> 16) & 63] = this.#shift & 0xffff;
    }
  }

  get eerd(): number {
    return this.#eerd;
  }

  writeEerd(value: number): void {
    if (!(value & EERD_START)) return;
    const address = (value >>> 8) & 0xff;
    this.#eerd = (((this.#words[address] ?? 0) << 16) | (address << 8) | EERD_DONE) >>> 0;
  }

  save(): { readonly [field: string]: StateValue } {
    return {
      words: [...this.#words],
      eecd: this.#eecd,
      eerd: this.#eerd,
      shift: this.#shift,
      bits: this.#bits,
      output: this.#output,
      outputBits: this.#outputBits,
    };
  }

  prepareRestore(fields: StateFields): () => void {
    const words = fields.integers('words', WORDS, 0xffff);
    const eecd = fields.integer('eecd', 0xffff);
    const eerd = fields.integer('eerd', 0xffffffff);
    const shift = fields.integer('shift', 0x1ffffff);
    const bits = fields.integer('bits', Number.MAX_SAFE_INTEGER);
    const output = fields.integer('output', 0xffff);
    const outputBits = fields.integer('outputBits', 17);
    return () => {
      this.#words.set(words);
      this.#eecd = eecd & EECD_WRITABLE;
      this.#eerd = eerd;
      this.#shift = shift;
      this.#bits = bits;
      this.#output = output;
      this.#outputBits = outputBits;
    };
  }
}
