/** MXCSR and the images of FXSAVE and XSAVE. */
import type { ModrmSpec, Operand } from '../assemble.ts';
import { RAX, RDX } from '../assemble.ts';
import { type WideBuilder, type WideForm, wideModrm } from './form.ts';
import { FXSAVE_POINTERS, type WideRule } from './rules.ts';
import { DATA, X87, drawControlWord, drawMxcsr, drawStatusWord } from './state.ts';

const FXSAVE_BYTES = 512;
const XSAVE_BYTES = 832;
const XSAVE_HEADER = 512;
const COMPACT = 1n << 63n;

/** A new MXCSR, now and then with a reserved bit set (bit 17 is one only on some processors, and is left out). */
function putMxcsr(vector: WideBuilder, address: bigint): void {
  const reserved = vector.prng.chance(12) ? 1 << (18 + vector.prng.below(14)) : 0;
  vector.putInteger(address, BigInt((drawMxcsr(vector.prng) | reserved) >>> 0), 4);
}

function putLegacyImage(vector: WideBuilder, address: bigint): void {
  const controlWord = drawControlWord(vector.prng);
  vector.putInteger(address, BigInt(controlWord), 2);
  vector.putInteger(address + 2n, BigInt(drawStatusWord(vector.prng, controlWord)), 2);
  putMxcsr(vector, address + 24n);
}

function putXsaveHeader(vector: WideBuilder, address: bigint): void {
  const { prng } = vector;
  const isCompact = prng.below(2) === 0;
  let layout = isCompact ? COMPACT | BigInt(prng.below(8)) : 0n;
  let present = BigInt(prng.below(8));
  if (isCompact) present &= layout;
  const bad = prng.below(32);
  if (bad === 0) present |= 1n << BigInt(3 + prng.below(60));
  else if (bad === 1) layout |= 1n << BigInt(prng.below(64));
  vector.putInteger(address, present, 8);
  vector.putInteger(address + 8n, layout, 8);
  vector.put(address + 16n, new Uint8Array(48));
  if (bad === 2) vector.putInteger(address + 16n + BigInt(prng.below(48)), BigInt(prng.below(256)), 1);
}

/** EDX:EAX: which components; bits that XCR0 does not have are ignored. */
function setRequested(vector: WideBuilder): void {
  const { prng } = vector;
  const beyond = prng.chance(4) ? prng.next() & ~7 : 0;
  vector.set(RAX, (vector.get(RAX) & 0xffffffff00000000n) | BigInt((prng.below(8) | beyond) >>> 0));
  if (!prng.chance(4)) vector.set(RDX, 0n);
}

function imageForm(
  id: string,
  rule: WideRule,
  spec: Omit<ModrmSpec, 'size' | 'rm'>,
  after?: (vector: WideBuilder, operand: Operand) => void,
): WideForm {
  return {
    id,
    rule,
    make: (prng) =>
      wideModrm(
        prng,
        (prng.below(2) ? DATA.random : DATA.extended) | X87.numbers,
        { ...spec, size: 4, rm: 'mem', memory: { ...spec.memory, bytes: spec.memory?.bytes ?? 4 } },
        after,
      ),
  };
}

const GROUP15 = [0x0f, 0xae];

export function imageForms(): WideForm[] {
  const forms: WideForm[] = [];
  const mxcsr = (vector: WideBuilder, operand: Operand): void => putMxcsr(vector, operand.address);
  const vex = { map: 1, pp: 0, w: 0, l: 0 };
  forms.push(imageForm('ldmxcsr', {}, { opcode: GROUP15, digit: 2 }, mxcsr));
  forms.push(imageForm('stmxcsr', {}, { opcode: GROUP15, digit: 3 }));
  forms.push(imageForm('vldmxcsr', {}, { opcode: [0xae], digit: 2, vex: { ...vex, vvvv: 0 } }, mxcsr));
  forms.push(imageForm('vstmxcsr', {}, { opcode: [0xae], digit: 3, vex: { ...vex, vvvv: 0 } }));
  forms.push(imageForm('vldmxcsr.w1', {}, { opcode: [0xae], digit: 2, vex: { ...vex, w: 1, vvvv: 0 } }, mxcsr));
  forms.push(imageForm('vstmxcsr.w1', {}, { opcode: [0xae], digit: 3, vex: { ...vex, w: 1, vvvv: 0 } }));
  // #UD: VEX.L = 1, and VEX.vvvv in use.
  forms.push(imageForm('vldmxcsr.l1', {}, { opcode: [0xae], digit: 2, vex: { ...vex, l: 1, vvvv: 0 } }, mxcsr));
  forms.push(imageForm('vstmxcsr.vvvv', {}, { opcode: [0xae], digit: 3, vex: { ...vex, vvvv: 5 } }));

  for (const rexW of [false, true]) {
    const suffix = rexW ? '64' : '';
    const legacy = { opcode: GROUP15, rexW, memory: { bytes: FXSAVE_BYTES, align: 16, inPieces: true } };
    forms.push(imageForm(`fxsave${suffix}`, { anyMemory: FXSAVE_POINTERS, inPieces: true }, { ...legacy, digit: 0 }));
    forms.push(
      imageForm(`fxrstor${suffix}`, { inPieces: true }, { ...legacy, digit: 1 }, (vector, operand) =>
        putLegacyImage(vector, operand.address),
      ),
    );
    const extended = { rexW, memory: { bytes: XSAVE_BYTES, align: 64, inPieces: true, avoid: [RAX, RDX] } };
    const saving = [
      ['xsave', GROUP15, 4],
      ['xsaveopt', GROUP15, 6],
      ['xsavec', [0x0f, 0xc7], 4],
    ] as const;
    for (const [name, opcode, digit] of saving) {
      forms.push(
        imageForm(
          `${name}${suffix}`,
          { anyMemory: FXSAVE_POINTERS, inPieces: true },
          { ...extended, opcode, digit },
          (vector) => setRequested(vector),
        ),
      );
    }
    forms.push(
      imageForm(
        `xrstor${suffix}`,
        { inPieces: true },
        { ...extended, opcode: GROUP15, digit: 5 },
        (vector, operand) => {
          setRequested(vector);
          putLegacyImage(vector, operand.address);
          putXsaveHeader(vector, operand.address + BigInt(XSAVE_HEADER));
        },
      ),
    );
  }
  return forms;
}
