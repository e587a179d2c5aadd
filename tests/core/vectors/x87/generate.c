/*
 * Records what this machine's x87 does, as vectors for tests/core/x87.test.ts.
 *
 *   gcc -O1 -o generate generate.c && ./generate SEED COUNT [GROUP] | gzip -9n > GROUP.bin.gz
 *
 * GROUP: all (default), basic (committed: seed 101, 15000 vectors), memory (102, 10000), transcendental (103, 8000),
 * control (104, 1500); recorded on an AMD processor of family 25 (Zen 4). Each case loads a whole FPU state by FRSTOR, executes one
 * instruction and saves the state by FNSAVE, which does not wait: unmasked exceptions are seen without a #MF.
 *
 * One record (little endian):
 *   u8 opcode (0x0F: FXSAVE/FXRSTOR), u8 modrm, u8 flags (1 memory form, 2 operand size 16, 4 stores), u8 valid registers
 *   (bit n: physical register n not empty), u16 FCW, u16 FSW, u8 low byte of RFLAGS, u8 memory bytes, u8 mask of the ST(i)
 *   given, 10 bytes each; the memory operand; then the outcome: u16 FCW, u16 FSW, u8 valid, u8 RFLAGS, u8 mask of the
 *   physical registers that changed, 10 bytes each; the memory operand again when the instruction stores.
 * ST(i) that are not given hold fillerSignificand(physical), fillerExponent(physical).
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

static u64 seed;
static u64 rnd(void) { /* splitmix64 */
  u64 z = (seed += 0x9e3779b97f4a7c15ull);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}
static u32 below(u32 n) { return (u32)((rnd() >> 32) * n >> 32); }

typedef struct { u64 sig; u16 se; } f80;

static u64 fraction(void) {
  switch (below(9)) {
    case 0: return 0;
    case 1: return 1ull << below(63);
    case 2: return (1ull << below(63)) | (1ull << below(63));
    case 3: return ~0ull << below(63);
    case 4: return ~0ull >> (1 + below(63));
    case 5: return rnd() & 0xfffffffffffff800ull;
    case 6: return rnd() & 0xffffff0000000000ull;
    case 7: return (rnd() & 0xffffff0000000000ull) | (below(2) ? 0x8000000000ull : 0x400) | below(3);
    default: return rnd();
  }
}

static u16 exponent(void) {
  switch (below(10)) {
    case 0: return 1 + below(0x7ffe);
    case 1: return 1 + below(0x48);
    case 2: return 0x7fb6 + below(0x49);
    case 3: return 0x3f81 - 30 + below(36); /* around the binary32 limits */
    case 4: return 0x407e - 3 + below(6);
    case 5: return 0x3c01 - 60 + below(66); /* binary64 */
    case 6: return 0x43fe - 3 + below(6);
    case 7: return 0x3fff + below(70);
    case 8: return 0x3fff - 70 + below(140);
    default: return 0x3fff - 3 + below(7);
  }
}

static f80 normal(void) {
  f80 v = {fraction() | 1ull << 63, exponent()};
  return v;
}

static f80 integral(void) {
  static const u64 edges[] = {1, 2, 3, 10, 0x7fff, 0x8000, 0x7fffffff, 0x80000000, 0x7fffffffffffffff,
                              0x8000000000000000, 999999999999999999ull, 1000000000000000000ull};
  u64 n = below(2) ? edges[below(12)] : (rnd() >> below(64));
  n += (u64)below(3) - 1;
  if (!n) n = 1;
  int shift = __builtin_clzll(n);
  f80 v = {n << shift, (u16)(0x3fff + 63 - shift)};
  /* add a fraction around one half */
  if (below(2) && shift > 2) {
    static const u64 quarters[] = {1, 2, 3};
    v.sig |= (quarters[below(3)] << (shift - 2)) & ((1ull << shift) - 1);
    if (below(2)) v.sig += (u64)below(3) - 1;
    v.sig |= 1ull << 63;
  }
  return v;
}

static f80 operand(void) {
  f80 v = {0, 0};
  switch (below(32)) {
    case 0: case 1: break;                                                         /* zero */
    case 2: v.sig = 1ull << 63; v.se = 0x7fff; break;                              /* infinity */
    case 3: v.sig = 0xc000000000000000ull | (fraction() >> 2); v.se = 0x7fff; break; /* quiet */
    case 4: v.sig = 0x8000000000000000ull | (fraction() >> 2) | 1ull << below(62); v.se = 0x7fff; break; /* signaling */
    case 5: case 6: v.sig = fraction() >> (1 + below(63)); break;                  /* denormal */
    case 7: v.sig = fraction() | 1ull << 63; break;                                /* pseudo-denormal */
    case 8: v.sig = fraction() >> 1; v.se = 1 + below(0x7ffe); break;              /* unnormal */
    case 9: v.sig = fraction() >> 1; v.se = 0x7fff; break;                         /* pseudo-infinity, pseudo-NaN */
    case 10: case 11: case 12: case 13: v = integral(); break;
    case 14: v.sig = 1ull << 63; v.se = 0x3fff - 40 + below(80); break;
    case 15: v.sig = 1ull << 63; v.se = 0x3fff; break;
    default: v = normal(); break;
  }
  if (below(2)) v.se |= 0x8000;
  return v;
}

/* Operands of transcendental instructions: mostly where they are defined. */
static f80 angle(void) {
  f80 v = {fraction() | 1ull << 63, 0};
  switch (below(6)) {
    case 0: v.se = 0x3fff - 70 + below(72); break;
    case 1: v.se = 0x3fff + below(63); break;
    case 2: v.se = 0x3fff - 4 + below(6); break;
    case 3: v.se = 0x3ffd + below(3); v.sig = rnd() | 1ull << 63; break;
    case 4: v.se = 0x4000 + below(3); v.sig = 0xc90fdaa22168c235ull + (u64)below(9) - 4; break;
    default: v.se = 0x3fff - 8 + below(16); v.sig = rnd() | 1ull << 63; break;
  }
  if (below(2)) v.se |= 0x8000;
  return v;
}

static u64 narrow(int bits) { /* a binary32 or binary64 */
  int fractionBits = bits == 32 ? 23 : 52, exponentBits = bits == 32 ? 8 : 11;
  u64 emax = (1u << exponentBits) - 1, f = fraction() >> (64 - fractionBits), e;
  switch (below(12)) {
    case 0: e = 0; f = 0; break;
    case 1: e = 0; f = (f >> below(fractionBits)) | 1; break;
    case 2: e = emax; f = 0; break;
    case 3: e = emax; f |= 1ull << (fractionBits - 1); break;
    case 4: e = emax; f = (f >> 1) | 1; break;
    case 5: e = below(emax); break;
    case 6: e = 1 + below(30); break;
    case 7: e = emax - 1 - below(30); break;
    default: e = emax / 2 - 8 + below(16); break;
  }
  return (u64)below(2) << (bits - 1) | e << fractionBits | f;
}

static int group; /* 0 all 1 basic 2 memory 3 transcendental 4 control */

typedef struct { u8 opcode, modrm, kind; } insn;
enum { REG = 0, PUSH = 1, MEMLOAD = 2, MEMSTORE = 4, MEMPUSH = 8, TRANS = 16, CONTROL = 32 };

static insn pick(void) {
  static const u8 arith[] = {0xc0, 0xc8, 0xe0, 0xe8, 0xf0, 0xf8, 0xd0, 0xd8};
  insn r = {0, 0, REG};
  int g = group ? group : 1 + below(20);
  if (g > 4) g = g < 11 ? 1 : 2;
  if (g == 1) {
    u8 i = below(4) ? 1 : below(8);
    switch (below(24)) {
      case 0: case 1: case 2: case 3: case 4: case 5: r.opcode = 0xd8; r.modrm = arith[below(8)] | i; break;
      case 6: case 7: r.opcode = 0xdc; r.modrm = arith[below(8)] | i; break;
      case 8: case 9: r.opcode = 0xde; r.modrm = arith[below(6)] | i; if (!below(4)) r.modrm = 0xd9; break;
      case 10: r.opcode = 0xdd; r.modrm = (below(2) ? 0xe0 : 0xe8) | i; break;
      case 11: r.opcode = 0xda; r.modrm = 0xe9; break;
      case 12: r.opcode = below(2) ? 0xdb : 0xdf; r.modrm = (below(2) ? 0xe8 : 0xf0) | i; break;
      case 13: r.opcode = below(2) ? 0xda : 0xdb; r.modrm = 0xc0 | below(4) << 3 | i; break;
      case 14: { static const u8 m[] = {0xe0, 0xe1, 0xe4, 0xe5}; r.opcode = 0xd9; r.modrm = m[below(4)]; break; }
      case 15: r.opcode = 0xd9; r.modrm = 0xfa; break;
      case 16: r.opcode = 0xd9; r.modrm = 0xf8; break;
      case 17: r.opcode = 0xd9; r.modrm = 0xf5; break;
      case 18: r.opcode = 0xd9; r.modrm = 0xfd; break;
      case 19: r.opcode = 0xd9; r.modrm = 0xf4; r.kind = PUSH; break;
      case 20: r.opcode = 0xd9; r.modrm = 0xfc; break;
      case 21: r.opcode = 0xd9; r.modrm = (below(2) ? 0xc0 : 0xc8) | i; if (r.modrm < 0xc8) r.kind = PUSH; break;
      case 22: r.opcode = 0xdd; r.modrm = (below(2) ? 0xd0 : 0xd8) | i; break;
      case 23: r.opcode = 0xd9; r.modrm = 0xfa; break;
    }
  } else if (g == 2) {
    static const struct { u8 op, reg, kind; } m[] = {
      {0xd9, 0, MEMPUSH}, {0xdd, 0, MEMPUSH}, {0xd9, 2, MEMSTORE}, {0xd9, 3, MEMSTORE}, {0xdd, 2, MEMSTORE},
      {0xdd, 3, MEMSTORE}, {0xdb, 0, MEMPUSH}, {0xdf, 0, MEMPUSH}, {0xdf, 5, MEMPUSH}, {0xdb, 5, MEMPUSH},
      {0xdb, 7, MEMSTORE}, {0xdf, 4, MEMPUSH}, {0xdf, 6, MEMSTORE}, {0xdf, 6, MEMSTORE}, {0xdb, 1, MEMSTORE},
      {0xdd, 1, MEMSTORE}, {0xdf, 1, MEMSTORE}, {0xdb, 2, MEMSTORE}, {0xdb, 3, MEMSTORE}, {0xdf, 2, MEMSTORE},
      {0xdf, 3, MEMSTORE}, {0xdf, 7, MEMSTORE}, {0xdd, 2, MEMSTORE}, {0xd9, 2, MEMSTORE}};
    u32 k = below(36);
    if (k < 24) { r.opcode = m[k].op; r.modrm = m[k].reg << 3; r.kind = m[k].kind; }
    else { r.opcode = 0xd8 | below(4) << 1; r.modrm = below(8) << 3; r.kind = MEMLOAD; }
    r.modrm |= 6;
  } else if (g == 3) {
    static const u8 t[] = {0xf0, 0xf1, 0xf2, 0xf3, 0xf9, 0xfb, 0xfe, 0xff};
    r.opcode = 0xd9;
    r.modrm = t[below(8)];
    r.kind = TRANS | (r.modrm == 0xf2 || r.modrm == 0xfb ? PUSH : 0);
  } else {
    static const struct { u8 op, modrm, kind; } c[] = {
      {0xd9, 0xe8, PUSH}, {0xd9, 0xe9, PUSH}, {0xd9, 0xea, PUSH}, {0xd9, 0xeb, PUSH}, {0xd9, 0xec, PUSH}, {0xd9, 0xed, PUSH},
      {0xd9, 0xee, PUSH}, {0xd9, 0xd0, REG}, {0xd9, 0xf6, REG}, {0xd9, 0xf7, REG}, {0xdb, 0xe2, REG}, {0xdb, 0xe3, REG},
      {0xdb, 0xe0, REG}, {0xdb, 0xe1, REG}, {0xdb, 0xe4, REG}, {0xdd, 0xc0, REG}, {0xdd, 0xc1, REG}, {0xdf, 0xc1, REG},
      {0xdd, 0xc9, REG}, {0xdf, 0xc9, REG}, {0xdf, 0xd1, REG}, {0xdf, 0xd9, REG}, {0xd9, 0xd9, REG}, {0xdc, 0xd1, REG},
      {0xdc, 0xd9, REG}, {0xde, 0xd1, REG},
      {0xd9, 0x2e, MEMLOAD}, {0xd9, 0x26, MEMLOAD}, {0xd9, 0x36, MEMSTORE}, {0xd9, 0x3e, MEMSTORE}, {0xdd, 0x3e, MEMSTORE},
      {0xdd, 0x26, MEMLOAD}, {0xdd, 0x36, MEMSTORE}, {0x0f, 0x06, MEMSTORE}, {0x0f, 0x0e, MEMLOAD}};
    u32 k = below(sizeof c / sizeof c[0]);
    r.opcode = c[k].op; r.modrm = c[k].modrm; r.kind = c[k].kind | CONTROL;
  }
  return r;
}

static int memoryBytes(u8 op, u8 reg, int op16) {
  switch (op) {
    case 0x0f: return 160;
    case 0xd8: case 0xda: return 4;
    case 0xdc: return 8;
    case 0xde: return 2;
    case 0xd9: return reg == 4 || reg == 6 ? (op16 ? 14 : 28) : reg == 5 || reg == 7 ? 2 : 4;
    case 0xdb: return reg >= 5 ? 10 : 4;
    case 0xdd: return reg == 4 || reg == 6 ? (op16 ? 94 : 108) : reg == 7 ? 2 : 8;
    default: return reg == 4 || reg == 6 ? 10 : reg == 5 || reg == 7 ? 8 : 2;
  }
}

static u8 *code;
static u8 built[2][9][256];
typedef u64 (*stub)(void *state, void *memory, u64 rflags);

static stub stubFor(insn x, int op16) {
  int k = x.opcode == 0x0f ? 8 : x.opcode & 7;
  u8 *p = code + ((op16 * 9 + k) * 256 + x.modrm) * 32, *q = p;
  if (!built[op16][k][x.modrm]) {
    built[op16][k][x.modrm] = 1;
    *q++ = 0x52; *q++ = 0x9d;             /* push rdx; popfq */
    *q++ = 0xdd; *q++ = 0x27;             /* frstor [rdi] */
    if (op16) *q++ = 0x66;
    *q++ = x.opcode;
    if (x.opcode == 0x0f) *q++ = 0xae;
    *q++ = x.modrm;                       /* memory forms: [rsi] */
    *q++ = 0x9c; *q++ = 0x58;             /* pushfq; pop rax */
    *q++ = 0xdd; *q++ = 0x37; *q++ = 0xc3; /* fnsave [rdi]; ret */
  }
  return (stub)p;
}

static void put(const void *p, size_t n) { fwrite(p, 1, n, stdout); }

static void putF80(u8 *p, f80 v) { memcpy(p, &v.sig, 8); memcpy(p + 8, &v.se, 2); }

static f80 filler(int n) {
  f80 v = {0x8000000000000000ull | (u64)(n + 1) * 0x0123456789abcdefull, (u16)(0x3fff + n)};
  return v;
}

static u16 controlWord(void) {
  u16 w = 0x40 | (below(4) ? 3 : below(4)) << 8 | (below(2) ? 0 : below(4)) << 10;
  w |= below(2) ? 0x3f : below(2) ? 0 : below(64);
  if (!below(16)) w |= 0x1000;
  return w;
}

static void fullTag(u8 *image, u8 valid, int wide) {
  u16 t = 0;
  for (int i = 0; i < 8; i++) if (!(valid >> i & 1)) t |= 3 << (2 * i);
  memcpy(image + (wide ? 8 : 4), &t, 2);
}

int main(int argc, char **argv) {
  seed = argc > 1 ? strtoull(argv[1], 0, 0) : 1;
  u32 count = argc > 2 ? strtoul(argv[2], 0, 0) : 1000;
  if (argc > 3) group = !strcmp(argv[3], "basic") ? 1 : !strcmp(argv[3], "memory") ? 2 :
    !strcmp(argv[3], "transcendental") ? 3 : !strcmp(argv[3], "control") ? 4 : 0;
  code = mmap(0, 2 * 9 * 256 * 32, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  static u8 state[512] __attribute__((aligned(64))), memory[512] __attribute__((aligned(64)));
  while (count--) {
    insn x = pick();
    int isMemory = !!(x.kind & (MEMLOAD | MEMSTORE | MEMPUSH)), reg = x.modrm >> 3 & 7, op16 = 0;
    if (isMemory && ((x.opcode == 0xd9 && (reg == 4 || reg == 6)) || (x.opcode == 0xdd && (reg == 4 || reg == 6)))) op16 = below(2);
    u8 memLength = isMemory ? memoryBytes(x.opcode, reg, op16) : 0;
    u16 fcw = controlWord();
    u16 top = below(8), fsw = top << 11 | (rnd() & 0x4700);
    if (!below(3)) fsw |= rnd() & fcw & 0x3f;
    if (!below(8)) fsw |= 0x40;
    u8 valid = 0xff;
    if (x.kind & (PUSH | MEMPUSH)) valid &= ~(1 << ((top - 1) & 7));
    if (!below(10)) valid ^= 1 << ((top + below(2)) & 7);
    if (!below(16)) valid = rnd();
    f80 st[8];
    u8 given = 0;
    for (int i = 0; i < 8; i++) st[i] = filler((top + i) & 7);
    int other = (x.modrm >= 0xc0 && x.opcode != 0xd9 && x.opcode != 0x0f && !isMemory) ? x.modrm & 7 : 1;
    if (!isMemory && x.opcode == 0xd9 && x.modrm < 0xd0) other = x.modrm & 7;
    st[other] = (x.kind & TRANS) && below(8) ? (below(2) ? angle() : normal()) : operand();
    given |= 1 << other;
    st[0] = (x.kind & TRANS) && below(8) ? angle() : operand();
    given |= 1;
    if (!below(6)) { st[0] = st[other]; if (below(2)) st[0].se ^= 0x8000; }
    else if (!below(6)) { /* close operands: cancellation, remainders */
      st[0].sig = st[other].sig + (u64)below(5) - 2;
      st[0].se = st[other].se + below(5) - 2;
    }
    if ((x.kind & TRANS) && x.modrm == 0xf1 && below(8)) st[0].se &= 0x7fff;
    if ((x.kind & TRANS) && x.modrm == 0xf0 && below(8)) { st[0].se = (st[0].se & 0x8000) | (0x3ffe - below(below(2) ? 4 : 70)); }
    if ((x.kind & TRANS) && x.modrm == 0xf9 && below(8)) { st[0].se = (st[0].se & 0x8000) | (0x3ffd - below(below(2) ? 4 : 70)); if ((st[0].se & 0x7fff) == 0x3ffd) st[0].sig = (st[0].sig >> 3 ) | 1ull << 63; }
    if (x.opcode == 0xd9 && x.modrm == 0xfd && below(4)) { /* fscale: small scales */
      int n = below(2) ? below(40) : below(40000);
      if (!n) n = 1;
      st[1].sig = (u64)n << __builtin_clzll(n);
      st[1].se = (0x3fff + 63 - __builtin_clzll(n)) | (below(2) << 15);
      given |= 2;
    }
    if (!isMemory && (x.modrm & 7) == 0 && other == 0) st[0] = operand();
    memset(memory, 0xa5, sizeof memory);
    if (isMemory && !(x.kind & MEMSTORE)) {
      for (int i = 0; i < 160; i++) memory[i] = rnd();
      u64 v = 0;
      if (x.kind & CONTROL) {
        u16 w = controlWord(), s = (rnd() & 0x7f00);
        if (reg == 5) w = rnd();
        s |= rnd() & (below(2) ? 0xff : w & 0x3f);
        if (x.opcode == 0x0f) {
          u16 zero = 0; u32 mxcsr = 0x1f80;
          memcpy(memory, &w, 2); memcpy(memory + 2, &s, 2); memcpy(memory + 5, &zero, 1);
          memcpy(memory + 24, &mxcsr, 4);
        } else if (reg == 5) memcpy(memory, &w, 2);
        else {
          memcpy(memory, &w, 2); memcpy(memory + (op16 ? 2 : 4), &s, 2);
        }
        if (x.opcode != 0xd9) for (int i = 0; i < 8; i++) {
          f80 o = operand();
          putF80(memory + (x.opcode == 0x0f ? 32 + 16 * i : (op16 ? 14 : 28) + 10 * i), o);
        }
      } else if (x.opcode == 0xd8 || (x.opcode == 0xd9)) { v = narrow(32); memcpy(memory, &v, 4); }
      else if (x.opcode == 0xdc || (x.opcode == 0xdd)) { v = narrow(64); memcpy(memory, &v, 8); }
      else if (x.opcode == 0xdb && reg == 5) { f80 o = operand(); putF80(memory, o); }
      else if (x.opcode == 0xdf && reg == 4) {
        for (int i = 0; i < 9; i++) memory[i] = below(10) << 4 | below(10);
        if (!below(4)) for (int i = below(9); i < 9; i++) memory[i] = 0;
        memory[9] = below(2) << 7;
      } else {
        v = below(3) ? rnd() : (u64)(int64_t)((int)below(7) - 3);
        if (!below(4)) v = (u64)((int64_t)rnd() >> below(60));
        memcpy(memory, &v, 8);
      }
    }
    u8 memoryIn[160];
    memcpy(memoryIn, memory, 160);

    memset(state, 0, sizeof state);
    memcpy(state, &fcw, 2);
    memcpy(state + 4, &fsw, 2);
    fullTag(state, valid, 1);
    u32 pointers[4] = {0x12345678, 0x05a10023, 0x9abcdef0, 0x002b};
    memcpy(state + 12, pointers, 16);
    for (int i = 0; i < 8; i++) putF80(state + 28 + 10 * i, st[i]);
    u8 before[80];
    memcpy(before, state + 28, 80);
    u64 rflagsIn = 0x202 | (rnd() & 0x8d5) , rflagsOut;
    rflagsIn &= ~0x800ull;
    rflagsOut = stubFor(x, op16)(state, memory, rflagsIn);

    u8 head[] = {x.opcode, x.modrm, isMemory | op16 << 1 | (x.kind & MEMSTORE ? 4 : 0), valid};
    u8 rflags8 = rflagsIn;
    put(head, 4); put(&fcw, 2); put(&fsw, 2); put(&rflags8, 1); put(&memLength, 1); put(&given, 1);
    for (int i = 0; i < 8; i++) if (given >> i & 1) put(before + 10 * i, 10);
    put(memoryIn, memLength);
    u16 fcwOut, fswOut, ftw;
    memcpy(&fcwOut, state, 2); memcpy(&fswOut, state + 4, 2); memcpy(&ftw, state + 8, 2);
    u8 validOut = 0, changed = 0, outTop = fswOut >> 11 & 7;
    for (int i = 0; i < 8; i++) if ((ftw >> (2 * i) & 3) != 3) validOut |= 1 << i;
    u8 after[80];
    for (int p = 0; p < 8; p++) {
      memcpy(after + 10 * p, state + 28 + 10 * ((p - outTop) & 7), 10);
      if (memcmp(after + 10 * p, before + 10 * ((p - top) & 7), 10)) changed |= 1 << p;
    }
    rflags8 = rflagsOut;
    put(&fcwOut, 2); put(&fswOut, 2); put(&validOut, 1); put(&rflags8, 1); put(&changed, 1);
    for (int p = 0; p < 8; p++) if (changed >> p & 1) put(after + 10 * p, 10);
    if (x.kind & MEMSTORE) put(memory, memLength);
  }
  return 0;
}
