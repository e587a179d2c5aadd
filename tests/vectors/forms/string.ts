/** String instructions: alone and with REP, REPE, REPNE; both directions; 32-bit addresses; faults on the way. */
import { RAX, RCX, RDI, RSI, type Encoding, type OperandSize, type VectorBuilder, littleEndian } from '../assemble.ts';
import { type Prng } from '../random.ts';
import { CODE_DEFAULT_OFFSET, DATA, HIGH, STACK, type Window } from '../windows.ts';
import { type Form, SIZES, bits, form } from './form.ts';

const FLAG_DF = 0x400n;

interface StringInstruction {
  readonly name: string;
  readonly opcode: number;
  readonly source: boolean;
  readonly destination: boolean;
  /** CMPS and SCAS: REP stops on a condition. */
  readonly compares: boolean;
}

const INSTRUCTIONS: StringInstruction[] = [
  { name: 'movs', opcode: 0xa4, source: true, destination: true, compares: false },
  { name: 'cmps', opcode: 0xa6, source: true, destination: true, compares: true },
  { name: 'stos', opcode: 0xaa, source: false, destination: true, compares: false },
  { name: 'lods', opcode: 0xac, source: true, destination: false, compares: false },
  { name: 'scas', opcode: 0xae, source: false, destination: true, compares: true },
];

type Repeat = 'once' | 'rep' | 'repne';

function instruction(prng: Prng, what: StringInstruction, size: OperandSize, repeat: Repeat): Encoding {
  const address32 = prng.chance(4);
  const code: number[] = [];
  if (repeat !== 'once') code.push(repeat === 'rep' ? 0xf3 : 0xf2);
  if (size === 2) code.push(0x66);
  if (address32) code.push(0x67);
  if (size === 8) code.push(0x48);
  code.push(size === 1 ? what.opcode : what.opcode | 1);
  return {
    code,
    codeOffset: prng.chance(8) ? 0x1000 - 1 : CODE_DEFAULT_OFFSET,
    repeat: repeat !== 'once',
    prepare(vector) {
      prepare(vector, what, size, repeat, address32);
    },
  };
}

function prepare(
  vector: VectorBuilder,
  what: StringInstruction,
  size: OperandSize,
  repeat: Repeat,
  address32: boolean,
): void {
  const prng = vector.prng;
  const backwards = (BigInt(vector.flags) & FLAG_DF) !== 0n;
  const upper = (register: number): bigint => (address32 ? (vector.get(register) >> 32n) << 32n : 0n);
  const elements = repeat === 'once' ? 1 : prng.chance(10) ? 0 : 1 + prng.below(prng.chance(8) ? 60 : 12);
  // With a 32-bit count of 0 processors differ in whether bits 32-63 of RCX survive.
  if (repeat !== 'once') vector.set(RCX, elements ? upper(RCX) | BigInt(elements) : 0n);
  const span = Math.max(elements, 1) * size;
  const place = (register: number, windows: readonly Window[]): bigint => {
    const window = prng.pick(windows);
    let offset: number;
    const draw = prng.below(10);
    if (draw === 0) {
      // Runs into the page after the window, or (backwards) before it.
      offset = backwards ? prng.below(span) : window.sizeBytes - size - prng.below(span);
    } else if (draw < 4) offset = 0x1000 - prng.below(span + 1) + (backwards ? span : 0);
    else offset = 0x200 + prng.below(window.sizeBytes - 0x600);
    if (prng.below(2)) offset -= offset % size;
    const address = window.address + BigInt(offset);
    // With a count of 0 nothing may change, not even the bits that a 32-bit address has no use for.
    vector.set(register, elements ? upper(register) | address : address);
    return address;
  };
  const windows = address32 ? [DATA, STACK] : [DATA, HIGH, STACK];
  const lowest = (address: bigint): bigint => (backwards ? address - BigInt(span - size) : address);
  let sourceBytes: Uint8Array | undefined;
  if (what.source) {
    const from = place(RSI, windows);
    sourceBytes = vector.fill(lowest(from), span);
    if (what.destination && prng.chance(8)) {
      // Overlapping source and destination.
      const distance = BigInt(prng.below(3 * size + 1));
      vector.set(RDI, vector.get(RSI) + (prng.below(2) ? distance : -distance));
      return;
    }
  }
  if (!what.destination) return;
  const to = place(RDI, windows);
  if (!what.compares) return;
  // Equal up to a point, so that REPE and REPNE stop somewhere inside.
  const element = littleEndian(vector.get(RAX), size);
  const wanted = new Uint8Array(span);
  const equal = repeat === 'repne' ? prng.below(4) === 0 : prng.below(4) !== 0;
  for (let at = 0; at < span; at++) {
    const same = sourceBytes ? (sourceBytes[at] ?? 0) : (element[at % size] ?? 0);
    wanted[at] = equal ? same : prng.next() & 0xff;
  }
  if (prng.below(3)) {
    const stop = prng.below(Math.max(elements, 1)) * size;
    for (let at = stop; at < stop + size && at < span; at++) {
      const same = sourceBytes ? (sourceBytes[at] ?? 0) : (element[at % size] ?? 0);
      wanted[at] = equal ? same ^ (1 << prng.below(8)) : same;
    }
  }
  vector.put(lowest(to), wanted);
}

export function* stringForms(): Generator<Form> {
  for (const what of INSTRUCTIONS) {
    for (const size of SIZES) {
      const repeats: Repeat[] = ['once', 'rep', 'repne'];
      for (const repeat of repeats) {
        // REPNE in front of MOVS, STOS and LODS is not architectural.
        if (repeat === 'repne' && !what.compares) continue;
        const name = `${repeat === 'once' ? '' : `${repeat}.`}${what.name}${bits(size)}`;
        yield form(name, size, 'exact', (prng) => instruction(prng, what, size, repeat));
      }
    }
  }
}
