/**
 * What CPUID shows is there, and what it does not show is not: every feature bit of every model, with an instruction that runs while the
 * bit is shown and is undefined while it is not.
 */
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import {
  CFGF_AMD,
  CFG_CPU_LEVEL,
  CFG_FEATURES_OFF,
  CFG_FEATURES_ON,
  CFG_FLAGS,
  R_GPR,
  R_RIP,
  VCPU,
} from '../../core-as/layout.ts';
import { CPU_FEATURES } from '../../devices/machine/cpu-options.ts';
import { compileCore } from '../support/compile-core.ts';
import { UserMachine } from '../vectors/user-machine.ts';
import { CODE_ADDRESS, WINDOWS } from '../vectors/windows.ts';

const RAX = 0;
const RCX = 1;
const RDX = 2;
const RBX = 3;
const RSI = 6;
const VECTOR_UD = 6;
const VECTOR_GP = 13;
const CPUID = [0x0f, 0xa2];
let machine: UserMachine;

beforeAll(async () => {
  machine = new UserMachine(await compileCore());
}, 300_000);

beforeEach(() => configure(3));

const bitOf = (feature: string): bigint => {
  const index = CPU_FEATURES.indexOf(feature);
  if (index < 0) throw new Error(`there is no feature ${feature}`);
  return 1n << BigInt(index);
};
const maskOf = (features: readonly string[]): bigint => features.reduce((mask, name) => mask | bitOf(name), 0n);

function configure(level: number, off: readonly string[] = [], on: readonly string[] = [], flags = 0): void {
  machine.view.setUint32(CFG_CPU_LEVEL, level, true);
  machine.view.setUint32(CFG_FLAGS, flags, true);
  machine.view.setBigUint64(CFG_FEATURES_OFF, maskOf(off), true);
  machine.view.setBigUint64(CFG_FEATURES_ON, maskOf(on), true);
}

const register = (number: number): number => VCPU + R_GPR + number * 8;

/** Executes one instruction with RSI at writable, 64-byte aligned data; the vector of its exception, -1 for none. */
function step(code: readonly number[], registers: ReadonlyMap<number, number> = new Map()): number {
  const data = WINDOWS.find((window) => window.writable);
  if (!data) throw new Error('no window is writable');
  machine.writeCode(0, Uint8Array.from(code), code.length);
  machine.view.setBigUint64(VCPU + R_RIP, BigInt(CODE_ADDRESS), true);
  machine.view.setBigUint64(register(RSI), BigInt(data.address), true);
  for (const [number, value] of registers) machine.view.setBigUint64(register(number), BigInt(value), true);
  machine.core.stateChanged();
  machine.core.stepOne();
  const exception = machine.core.lastException();
  if (exception >= 0) machine.userSegments();
  return exception < 0 ? exception : exception & 0xff;
}

/** A register of a leaf as CPUID gives it in 64-bit mode. */
function cpuid(leaf: number, number: number, subleaf = 0): number {
  step(
    CPUID,
    new Map([
      [RAX, leaf],
      [RCX, subleaf],
    ]),
  );
  return machine.view.getUint32(register(number), true);
}

/** Names of the bits that a register may have (SDM vol. 2, CPUID; APM vol. 3, appendix E). */
interface Register {
  readonly leaf: number;
  readonly subleaf?: number;
  readonly number: number;
  readonly bits: Readonly<Record<number, string>>;
}

// prettier-ignore
const REGISTERS: readonly Register[] = [
  { leaf: 1, number: RCX, bits: {
    0: 'sse3', 1: 'pclmulqdq', 9: 'ssse3', 12: 'fma', 13: 'cx16', 17: 'pcid', 19: 'sse4.1', 20: 'sse4.2', 22: 'movbe', 23: 'popcnt',
    24: 'tsc-deadline', 25: 'aes', 26: 'xsave', 27: 'osxsave', 28: 'avx', 29: 'f16c', 30: 'rdrand', 31: 'hypervisor' } },
  { leaf: 1, number: RDX, bits: {
    0: 'fpu', 2: 'de', 3: 'pse', 4: 'tsc', 5: 'msr', 6: 'pae', 7: 'mce', 8: 'cx8', 9: 'apic', 11: 'sep', 12: 'mtrr', 13: 'pge', 14: 'mca',
    15: 'cmov', 16: 'pat', 17: 'pse36', 19: 'clflush', 23: 'mmx', 24: 'fxsr', 25: 'sse', 26: 'sse2' } },
  { leaf: 7, number: RBX, bits: {
    0: 'fsgsbase', 1: 'tsc_adjust', 3: 'bmi1', 5: 'avx2', 7: 'smep', 8: 'bmi2', 9: 'erms', 10: 'invpcid', 18: 'rdseed', 19: 'adx',
    20: 'smap', 22: 'pcommit', 23: 'clflushopt', 24: 'clwb', 29: 'sha' } },
  { leaf: 7, number: RCX, bits: { 2: 'umip', 22: 'rdpid' } },
  { leaf: 7, number: RDX, bits: { 26: 'ibrs', 27: 'stibp', 29: 'arch-capabilities' } },
  { leaf: 7, subleaf: 2, number: RDX, bits: { 4: 'bhi_ctrl', 5: 'mcdt_no' } },
  { leaf: 0xd, subleaf: 1, number: RAX, bits: { 0: 'xsaveopt', 1: 'xsavec', 2: 'xgetbv1' } },
  { leaf: 0x80000001, number: RCX, bits: { 0: 'lahf_lm', 4: 'altmovcr8', 5: 'lzcnt', 8: '3dnowprefetch', 22: 'topology' } },
  { leaf: 0x80000001, number: RDX, bits: {
    0: 'fpu', 2: 'de', 3: 'pse', 4: 'tsc', 5: 'msr', 6: 'pae', 7: 'mce', 8: 'cx8', 9: 'apic', 11: 'syscall', 12: 'mtrr', 13: 'pge', 14: 'mca',
    15: 'cmov', 16: 'pat', 17: 'pse36', 20: 'nx', 22: 'mmxext', 23: 'mmx', 24: 'fxsr', 26: 'pdpe1gb', 27: 'rdtscp', 29: 'lm' } },
  { leaf: 0x80000008, number: RBX, bits: { 2: 'xsaveerptr', 9: 'wbnoinvd', 20: 'no-lmsle', 26: 'ssb_no', 29: 'btc_no' } },
];

/** All that CPUID shows. Throws for a bit that has no name here. */
function shown(): Set<string> {
  const names = new Set<string>();
  for (const { leaf, subleaf, number, bits } of REGISTERS) {
    const value = cpuid(leaf, number, subleaf);
    for (let bit = 0; bit < 32; bit++) {
      if (!((value >>> bit) & 1)) continue;
      const name = bits[bit];
      if (name === undefined) throw new Error(`leaf ${leaf.toString(16)} register ${number} shows bit ${bit}`);
      names.add(name);
    }
  }
  return names;
}

// prettier-ignore
const ALWAYS = ('tsc-deadline osxsave hypervisor fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush fxsr ' +
  'syscall lm').split(' ');
const V1 = 'mmx sse sse2 pcid smep erms invpcid smap umip rdpid nx pdpe1gb rdtscp 3dnowprefetch'.split(' ');
const V2 = [
  ...V1,
  ...'sse3 ssse3 sse4.1 sse4.2 aes pclmulqdq sha cx16 popcnt xsave rdrand fsgsbase rdseed adx lahf_lm'.split(' '),
  ...'clflushopt xsaveopt xsavec xgetbv1 clwb pcommit tsc_adjust wbnoinvd'.split(' '),
];
const V3 = [...V2, ...'f16c fma avx avx2 movbe bmi1 bmi2 lzcnt'.split(' ')];
const INTEL = ['arch-capabilities', 'ibrs', 'stibp', 'bhi_ctrl', 'mcdt_no'];
const AMD = 'altmovcr8 topology mmxext xsaveerptr no-lmsle ssb_no btc_no'.split(' ');
const NOT_AMD = ['pcommit', 'tsc_adjust'];

const sorted = (names: Iterable<string>): string[] => [...names].sort();

describe('bits of the models', () => {
  test.each([
    ['v1', 1, V1],
    ['v2', 2, V2],
    ['v3', 3, V3],
  ] as const)('%s', (_name, level, features) => {
    configure(level);
    expect(sorted(shown())).toEqual(sorted([...ALWAYS, ...INTEL, ...features]));
    configure(level, [], [], CFGF_AMD);
    const amd = [...ALWAYS, ...AMD, ...features.filter((name) => !NOT_AMD.includes(name))];
    expect(sorted(shown())).toEqual(sorted(amd));
  });

  test('every feature that has a name is in the largest model, and can be switched off', () => {
    expect(sorted(V3)).toEqual(sorted(CPU_FEATURES));
    const all = shown();
    for (const feature of CPU_FEATURES) {
      expect(all.has(feature), feature).toBe(true);
      configure(3, [feature]);
      expect(shown().has(feature), `-${feature}`).toBe(false);
    }
  });

  test('a feature takes with it what cannot run without it, and brings what it needs', () => {
    configure(3, ['xsave']);
    const gone = V3.filter((name) => !shown().has(name));
    expect(sorted(gone)).toEqual(sorted('xsave avx avx2 fma f16c xsaveopt xsavec xgetbv1'.split(' ')));
    configure(1, [], ['avx2']);
    expect(sorted(shown())).toEqual(sorted([...ALWAYS, ...INTEL, ...V1, 'xsave', 'avx', 'avx2']));
    configure(1, ['xsave'], ['avx2']);
    expect(sorted(shown())).toEqual(sorted([...ALWAYS, ...INTEL, ...V1]));
  });

  test('vendors', () => {
    const name = (): string => {
      const words = [RBX, RDX, RCX].map((number) => cpuid(0, number));
      return Buffer.from(new Uint32Array(words).buffer).toString('latin1');
    };
    expect(name()).toBe('GenuineIntel');
    expect(cpuid(1, RAX)).toBe(0x306c3);
    configure(3, [], [], CFGF_AMD);
    expect(name()).toBe('AuthenticAMD');
    expect(cpuid(1, RAX)).toBe(0xa00f11);
    expect(cpuid(0x8000_0001, RAX)).toBe(0xa00f11);
    expect(cpuid(4, RAX)).toBe(0);
    expect(cpuid(0x8000_001d, RAX, 3) & 0xff).toBe(0x63);
  });
});

/** One instruction of each feature that has any. */
// prettier-ignore
const INSTRUCTIONS: readonly (readonly [feature: string, name: string, code: readonly number[]])[] = [
  ['mmx', 'PADDB MM0, MM1', [0x0f, 0xfc, 0xc1]],
  ['sse', 'ADDPS XMM0, XMM1', [0x0f, 0x58, 0xc1]],
  ['sse2', 'PADDB XMM0, XMM1', [0x66, 0x0f, 0xfc, 0xc1]],
  ['sse3', 'HADDPS XMM0, XMM1', [0xf2, 0x0f, 0x7c, 0xc1]],
  ['ssse3', 'PSHUFB XMM0, XMM1', [0x66, 0x0f, 0x38, 0x00, 0xc1]],
  ['sse4.1', 'PMULLD XMM0, XMM1', [0x66, 0x0f, 0x38, 0x40, 0xc1]],
  ['sse4.2', 'PCMPGTQ XMM0, XMM1', [0x66, 0x0f, 0x38, 0x37, 0xc1]],
  ['sse4.2', 'CRC32 EAX, BL', [0xf2, 0x0f, 0x38, 0xf0, 0xc3]],
  ['aes', 'AESENC XMM0, XMM1', [0x66, 0x0f, 0x38, 0xdc, 0xc1]],
  ['pclmulqdq', 'PCLMULQDQ XMM0, XMM1, 0', [0x66, 0x0f, 0x3a, 0x44, 0xc1, 0]],
  ['sha', 'SHA256MSG1 XMM0, XMM1', [0x0f, 0x38, 0xcc, 0xc1]],
  ['f16c', 'VCVTPH2PS XMM0, XMM1', [0xc4, 0xe2, 0x79, 0x13, 0xc1]],
  ['fma', 'VFMADD213PS XMM0, XMM1, XMM2', [0xc4, 0xe2, 0x71, 0xa8, 0xc2]],
  ['avx', 'VADDPS XMM0, XMM1, XMM2', [0xc5, 0xf0, 0x58, 0xc2]],
  ['avx', 'VSTMXCSR [RSI]', [0xc5, 0xf8, 0xae, 0x1e]],
  ['avx2', 'VPADDB YMM0, YMM1, YMM2', [0xc5, 0xf5, 0xfc, 0xc2]],
  ['cx16', 'CMPXCHG16B [RSI]', [0x48, 0x0f, 0xc7, 0x0e]],
  ['movbe', 'MOVBE EAX, [RSI]', [0x0f, 0x38, 0xf0, 0x06]],
  ['movbe', 'MOVBE [RSI], EAX', [0x0f, 0x38, 0xf1, 0x06]],
  ['popcnt', 'POPCNT EAX, EBX', [0xf3, 0x0f, 0xb8, 0xc3]],
  ['xsaveopt', 'XSAVEOPT [RSI]', [0x0f, 0xae, 0x36]],
  ['xsavec', 'XSAVEC [RSI]', [0x0f, 0xc7, 0x26]],
  ['rdrand', 'RDRAND EAX', [0x0f, 0xc7, 0xf0]],
  ['rdseed', 'RDSEED EAX', [0x0f, 0xc7, 0xf8]],
  ['bmi1', 'ANDN EAX, ECX, EDX', [0xc4, 0xe2, 0x70, 0xf2, 0xc2]],
  ['bmi1', 'BLSR EAX, ECX', [0xc4, 0xe2, 0x78, 0xf3, 0xc9]],
  ['bmi1', 'BEXTR EAX, ECX, EDX', [0xc4, 0xe2, 0x68, 0xf7, 0xc1]],
  ['bmi2', 'RORX EAX, EBX, 1', [0xc4, 0xe3, 0x7b, 0xf0, 0xc3, 0x01]],
  ['bmi2', 'PDEP EAX, ECX, EDX', [0xc4, 0xe2, 0x73, 0xf5, 0xc2]],
  ['bmi2', 'SHLX EAX, ECX, EDX', [0xc4, 0xe2, 0x69, 0xf7, 0xc1]],
  ['adx', 'ADCX EAX, EBX', [0x66, 0x0f, 0x38, 0xf6, 0xc3]],
  ['adx', 'ADOX EAX, EBX', [0xf3, 0x0f, 0x38, 0xf6, 0xc3]],
  ['rdpid', 'RDPID RAX', [0xf3, 0x0f, 0xc7, 0xf8]],
  ['rdtscp', 'RDTSCP', [0x0f, 0x01, 0xf9]],
  ['lahf_lm', 'LAHF', [0x9f]],
  ['lahf_lm', 'SAHF', [0x9e]],
  ['clflushopt', 'CLFLUSHOPT [RSI]', [0x66, 0x0f, 0xae, 0x3e]],
  ['clwb', 'CLWB [RSI]', [0x66, 0x0f, 0xae, 0x36]],
  ['pcommit', 'PCOMMIT', [0x66, 0x0f, 0xae, 0xf8]],
];

describe('instructions are there exactly when their bit is shown', () => {
  test.each(INSTRUCTIONS)('%s: %s', (feature, _name, code) => {
    expect(step(code)).toBe(-1);
    configure(3, [feature]);
    expect(step(code)).toBe(VECTOR_UD);
    for (const [index, model] of [V1, V2, V3].entries()) {
      for (const flags of [0, CFGF_AMD]) {
        configure(index + 1, [], [], flags);
        const there = model.includes(feature) && !(flags && NOT_AMD.includes(feature));
        expect(step(code), `v${index + 1} ${flags ? 'amd' : 'intel'}`).toBe(there ? -1 : VECTOR_UD);
      }
    }
  });

  test('XGETBV of 1', () => {
    const xgetbv = [0x0f, 0x01, 0xd0];
    expect(step(xgetbv, new Map([[RCX, 1]]))).toBe(-1);
    expect(machine.view.getUint32(register(RAX), true) & 3).toBe(3);
    configure(3, ['xgetbv1']);
    expect(step(xgetbv, new Map([[RCX, 1]]))).toBe(VECTOR_GP);
    expect(step(xgetbv, new Map([[RCX, 0]]))).toBe(-1);
  });

  test('LZCNT and TZCNT without their features are BSR and BSF', () => {
    const lzcnt = [0xf3, 0x0f, 0xbd, 0xc3];
    const tzcnt = [0xf3, 0x0f, 0xbc, 0xc3];
    const of = (code: readonly number[], value: number): number => {
      step(
        code,
        new Map([
          [RAX, 77],
          [RBX, value],
        ]),
      );
      return machine.view.getUint32(register(RAX), true);
    };
    expect([of(lzcnt, 0x100), of(tzcnt, 0)]).toEqual([23, 32]);
    configure(3, ['lzcnt', 'bmi1']);
    expect([of(lzcnt, 0x100), of(tzcnt, 0)]).toEqual([8, 77]);
  });

  test('every feature has an instruction here, or no instruction of its own', () => {
    // Bits of control registers, of page tables and of MSRs (tests/system), a promise of speed, and encodings that exist all the same.
    const others =
      'xsave pcid fsgsbase smep erms invpcid smap umip lzcnt nx pdpe1gb xgetbv1 tsc_adjust 3dnowprefetch wbnoinvd';
    const tested = new Set(INSTRUCTIONS.map(([feature]) => feature));
    expect(sorted([...tested, ...others.split(' ')])).toEqual(sorted(CPU_FEATURES));
  });

  test('PCOMMIT is 66 0F AE F8 alone, CLWB takes no other prefix', () => {
    expect(step([0x66, 0x0f, 0xae, 0xf9])).toBe(VECTOR_UD);
    expect(step([0xf2, 0x66, 0x0f, 0xae, 0xf8])).toBe(VECTOR_UD);
    expect(step([0xf3, 0x66, 0x0f, 0xae, 0x36])).toBe(VECTOR_UD);
    expect(step([0xf0, 0x66, 0x0f, 0xae, 0x36])).toBe(VECTOR_UD);
  });
});
