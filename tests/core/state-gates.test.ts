/**
 * Which bits of CR0, CR4 and XCR0 make an instruction #UD, #NM or legal: every form of the SIMD and x87 vectors and the instructions that look like them,
 * under every combination of CR0.EM, CR0.MP, CR0.TS, CR4.OSFXSR, CR4.OSXSAVE and XCR0, in both tiers.
 *
 * The classes are the SDM's: volume 3, 13.1 to 13.3 and tables 23-4 to 23-8; volume 2, 2.4 and 2.5 for VEX.
 */
import { beforeAll, describe, expect, test } from 'vitest';
import { R_CR0, R_CR4, R_XCR0, VCPU } from '../../core-as/layout.ts';
import { compileCore } from '../support/compile-core.ts';
import { instructionPool } from '../vectors/instruction-pool.ts';
import { type Input, drawInput, start } from '../vectors/random-state.ts';
import { Prng } from '../vectors/random.ts';
import { TIERS } from '../vectors/tiers.ts';
import { UserMachine } from '../vectors/user-machine.ts';
import { CODE_DEFAULT_OFFSET } from '../vectors/windows.ts';

const VECTOR_UD = 6;
const VECTOR_NM = 7;
const CR0 = 0x80050033n;
const CR0_MP = 2n;
const CR0_EM = 4n;
const CR0_TS = 8n;
const CR4 = 0x350ee8n;
const CR4_OSFXSR = 0x200n;
const CR4_OSXSAVE = 0x40000n;

interface Gates {
  readonly em: boolean;
  readonly mp: boolean;
  readonly ts: boolean;
  readonly osfxsr: boolean;
  readonly osxsave: boolean;
  readonly xcr0: number;
}

const BOOLEANS = [false, true];
const COMBINATIONS: readonly Gates[] = BOOLEANS.flatMap((em) =>
  BOOLEANS.flatMap((mp) =>
    BOOLEANS.flatMap((ts) =>
      BOOLEANS.flatMap((osfxsr) =>
        [
          { osxsave: false, xcr0: 7 },
          { osxsave: true, xcr0: 1 },
          { osxsave: true, xcr0: 3 },
          { osxsave: true, xcr0: 7 },
        ].map((xsave) => ({ em, mp, ts, osfxsr, ...xsave })),
      ),
    ),
  ),
);

/** What a class of instructions raises before anything else; undefined: nothing. */
type Rule = (gates: Gates) => number | undefined;

const nm = (ts: boolean): number | undefined => (ts ? VECTOR_NM : undefined);
const CLASSES = {
  /** Legacy instructions with an XMM operand, LDMXCSR, STMXCSR. */
  xmm: ({ em, ts, osfxsr }) => (em || !osfxsr ? VECTOR_UD : nm(ts)),
  /** Legacy instructions on MMX registers alone, those of SSE to SSSE3 among them, and EMMS. */
  mmx: ({ em, ts }) => (em ? VECTOR_UD : nm(ts)),
  vex: ({ ts, osxsave, xcr0 }) => (!osxsave || xcr0 !== 7 ? VECTOR_UD : nm(ts)),
  x87: ({ em, ts }) => (em || ts ? VECTOR_NM : undefined),
  fwait: ({ mp, ts }) => (mp && ts ? VECTOR_NM : undefined),
  fxsave: ({ em, ts }) => (em ? VECTOR_UD : nm(ts)),
  xsave: ({ ts, osxsave }) => (!osxsave ? VECTOR_UD : nm(ts)),
  xgetbv: ({ osxsave }) => (!osxsave ? VECTOR_UD : undefined),
  /** MOVNTI, fences, PAUSE, PREFETCHh, CLFLUSH, CRC32, POPCNT, general registers and BMI (which is VEX and needs no AVX state). */
  free: () => undefined,
} satisfies Record<string, Rule>;

/** 0F opcodes without a mandatory prefix whose operands are MMX registers alone (SDM volume 2, table A-3). */
function isMmxOpcode(opcode: number): boolean {
  if (opcode >= 0x60 && opcode <= 0x7f) return opcode !== 0x78 && opcode !== 0x79 && opcode !== 0x7c && opcode !== 0x7d;
  if (opcode === 0xc4 || opcode === 0xc5) return true;
  return opcode >= 0xd0 && opcode !== 0xd6 && opcode !== 0xe6;
}

/** The class of a form of the wide vectors, by its name: encoding, prefix, map, opcode. */
function classOf(form: string, code: Uint8Array): Rule | undefined {
  const [encoding, prefix, , map, opcodeText = ''] = form.split(/\.(?=(?:0f|0f38|0f3a)\.)|\./);
  if (encoding === 'vex128' || encoding === 'vex256') return CLASSES.vex;
  if (encoding === 'legacy') {
    const parts = form.split('.');
    const mapName = parts[2] ?? map;
    const opcode = parseInt(parts[3] ?? opcodeText, 16);
    if (prefix === 'np' && mapName === '0f') {
      if (opcode === 0xc3) return CLASSES.free;
      return isMmxOpcode(opcode) ? CLASSES.mmx : CLASSES.xmm;
    }
    // PSHUFB to PABSD, PALIGNR
    if (prefix === 'np' && mapName === '0f38') return opcode <= 0x1e ? CLASSES.mmx : CLASSES.xmm;
    if (prefix === 'np' && mapName === '0f3a') return opcode === 0x0f ? CLASSES.mmx : CLASSES.xmm;
    return CLASSES.xmm;
  }
  const first = code.findIndex((byte) => byte >= 0xd8 && byte <= 0xdf);
  return first >= 0 && form.startsWith('x87') ? CLASSES.x87 : undefined;
}

/** Instructions that are no SIMD or x87 forms, with memory at RSI where they have an operand. */
const OTHERS: readonly (readonly [string, readonly number[], Rule])[] = [
  ['movnti', [0x0f, 0xc3, 0x06], CLASSES.free],
  ['movnti, 64 bits', [0x48, 0x0f, 0xc3, 0x06], CLASSES.free],
  ['lfence', [0x0f, 0xae, 0xe8], CLASSES.free],
  ['mfence', [0x0f, 0xae, 0xf0], CLASSES.free],
  ['sfence', [0x0f, 0xae, 0xf8], CLASSES.free],
  ['pause', [0xf3, 0x90], CLASSES.free],
  ['prefetcht0', [0x0f, 0x18, 0x0e], CLASSES.free],
  ['prefetchw', [0x0f, 0x0d, 0x0e], CLASSES.free],
  ['clflush', [0x0f, 0xae, 0x3e], CLASSES.free],
  ['clflushopt', [0x66, 0x0f, 0xae, 0x3e], CLASSES.free],
  ['clwb', [0x66, 0x0f, 0xae, 0x36], CLASSES.free],
  ['crc32', [0xf2, 0x0f, 0x38, 0xf1, 0xc1], CLASSES.free],
  ['popcnt', [0xf3, 0x0f, 0xb8, 0xc1], CLASSES.free],
  ['lzcnt', [0xf3, 0x0f, 0xbd, 0xc1], CLASSES.free],
  ['tzcnt', [0xf3, 0x0f, 0xbc, 0xc1], CLASSES.free],
  ['movbe', [0x0f, 0x38, 0xf0, 0x06], CLASSES.free],
  ['adcx', [0x66, 0x0f, 0x38, 0xf6, 0xc1], CLASSES.free],
  ['adox', [0xf3, 0x0f, 0x38, 0xf6, 0xc1], CLASSES.free],
  ['andn', [0xc4, 0xe2, 0x70, 0xf2, 0xc2], CLASSES.free],
  ['bextr', [0xc4, 0xe2, 0x70, 0xf7, 0xc2], CLASSES.free],
  ['mulx', [0xc4, 0xe2, 0x73, 0xf6, 0xc2], CLASSES.free],
  ['pdep', [0xc4, 0xe2, 0x73, 0xf5, 0xc2], CLASSES.free],
  ['rorx', [0xc4, 0xe3, 0x7b, 0xf0, 0xc2, 5], CLASSES.free],
  ['sarx', [0xc4, 0xe2, 0x72, 0xf7, 0xc2], CLASSES.free],
  ['rdfsbase', [0xf3, 0x48, 0x0f, 0xae, 0xc0], CLASSES.free],
  ['rdpid', [0xf3, 0x0f, 0xc7, 0xf8], CLASSES.free],
  ['rdrand', [0x0f, 0xc7, 0xf0], CLASSES.free],
  ['cmpxchg8b', [0x0f, 0xc7, 0x0e], CLASSES.free],
  ['ldmxcsr', [0x0f, 0xae, 0x14, 0x24], CLASSES.xmm],
  ['stmxcsr', [0x0f, 0xae, 0x1e], CLASSES.xmm],
  ['vstmxcsr', [0xc5, 0xf8, 0xae, 0x1e], CLASSES.vex],
  ['emms', [0x0f, 0x77], CLASSES.mmx],
  ['vzeroupper', [0xc5, 0xf8, 0x77], CLASSES.vex],
  ['fwait', [0x9b], CLASSES.fwait],
  ['fninit', [0xdb, 0xe3], CLASSES.x87],
  ['fnstsw ax', [0xdf, 0xe0], CLASSES.x87],
  ['fxsave', [0x0f, 0xae, 0x06], CLASSES.fxsave],
  ['xsave', [0x0f, 0xae, 0x26], CLASSES.xsave],
  ['xsaveopt', [0x0f, 0xae, 0x36], CLASSES.xsave],
  ['xsavec', [0x0f, 0xc7, 0x26], CLASSES.xsave],
  ['xgetbv', [0x0f, 0x01, 0xd0], CLASSES.xgetbv],
];

const DATA = 0x10010000n;
const STACK = 0x10030800n;

describe.each(TIERS)('what the control registers allow, %s', (tier) => {
  let machine: UserMachine;
  beforeAll(async () => {
    machine = new UserMachine(await compileCore(), tier === 'compiled');
  }, 300_000);

  function run(input: Input, gates: Gates): number {
    const { view } = machine;
    const bit = (on: boolean, mask: bigint): bigint => (on ? mask : 0n);
    const cr0 = (CR0 & ~CR0_MP) | bit(gates.em, CR0_EM) | bit(gates.mp, CR0_MP) | bit(gates.ts, CR0_TS);
    const cr4 = (CR4 & ~(CR4_OSFXSR | CR4_OSXSAVE)) | bit(gates.osfxsr, CR4_OSFXSR) | bit(gates.osxsave, CR4_OSXSAVE);
    start(machine, { ...input, taskSwitched: gates.ts }, CODE_DEFAULT_OFFSET);
    view.setBigUint64(VCPU + R_CR0, cr0, true);
    view.setBigUint64(VCPU + R_CR4, cr4, true);
    view.setBigUint64(VCPU + R_XCR0, BigInt(gates.xcr0), true);
    machine.core.stateChanged();
    machine.core.stepOne();
    const exception = machine.core.lastException();
    view.setBigUint64(VCPU + R_CR0, CR0, true);
    view.setBigUint64(VCPU + R_CR4, CR4, true);
    view.setBigUint64(VCPU + R_XCR0, 7n, true);
    return exception < 0 ? exception : exception & 0xff;
  }

  test('every form under every combination', { timeout: 300_000 }, () => {
    const prng = new Prng(20261128);
    const wrong: string[] = [];
    let checked = 0;
    const cases = instructionPool(true, 1).map(({ form, code }) => [form, code, classOf(form, code)] as const);
    const all = [...cases, ...OTHERS.map(([name, bytes, rule]) => [name, Uint8Array.from(bytes), rule] as const)];
    let classified = 0;
    for (const [name, code, rule] of all) {
      if (!rule) continue;
      classified++;
      const input = drawInput(prng);
      const isOther = OTHERS.some(([other]) => other === name);
      if (isOther) {
        input.registers[1] = 0n;
        input.registers[4] = STACK;
        input.registers[6] = DATA;
      }
      machine.writeCode(CODE_DEFAULT_OFFSET, code, code.length);
      // What it does when everything is on: forms with an illegal encoding are among the vectors.
      const open = run(input, { em: false, mp: true, ts: false, osfxsr: true, osxsave: true, xcr0: 7 });
      if (open !== VECTOR_UD) {
        for (const gates of COMBINATIONS) {
          checked++;
          const wanted = rule(gates);
          const got = run(input, gates);
          const right = wanted !== undefined ? got === wanted : got !== VECTOR_UD && got !== VECTOR_NM;
          if (!right) wrong.push(`${name} ${JSON.stringify(gates)}: ${got} instead of ${wanted ?? 'none'}`);
        }
      }
      machine.writeCode(CODE_DEFAULT_OFFSET, undefined, code.length);
    }
    expect(wrong.slice(0, 20)).toEqual([]);
    expect(classified).toBeGreaterThan(all.length * 0.9);
    expect(checked).toBeGreaterThan(50_000);
  });
});
