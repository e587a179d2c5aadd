// gcc: -O0
// gcc: -O2
// gcc: -O3 -march=x86-64-v3
// gcc: -O2 -m32
/* Integer arithmetic of all widths, bit operations, overflow, sorting, string to number. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include "random.h"

#define OPERATIONS(T, U, name)                                                                                         \
  static uint64_t name(int rounds) {                                                                                   \
    uint64_t hash = HASH_START;                                                                                        \
    for (int i = 0; i < rounds; i++) {                                                                                 \
      T a = (T)random_edge(), b = (T)random_edge(), r[24];                                                             \
      U ua = (U)a, ub = (U)b;                                                                                          \
      unsigned s = (unsigned)(random64() % (8 * sizeof(T)));                                                           \
      memset(r, 0, sizeof r);                                                                                          \
      r[0] = (T)(ua + ub), r[1] = (T)(ua - ub), r[2] = (T)((U)(ua * (unsigned long long)ub));                          \
      r[3] = ub ? (T)(ua / ub) : 0, r[4] = ub ? (T)(ua % ub) : 0;                                                      \
      int safe = b != 0 && !(b == (T)-1 && ua == (U)((U)1 << (8 * sizeof(T) - 1)));                                    \
      r[5] = safe ? (T)(a / b) : 0, r[6] = safe ? (T)(a % b) : 0;                                                      \
      r[7] = (T)(ua << s), r[8] = (T)(ua >> s), r[9] = (T)(a >> s);                                                    \
      r[10] = (T)((U)(ua << s) | (U)(ua >> ((8 * sizeof(T) - s) % (8 * sizeof(T)))));                                  \
      r[11] = a < b, r[12] = ua < ub, r[13] = (T)(ua & ub), r[14] = (T)(ua | ub), r[15] = (T)(ua ^ ub);                \
      T t;                                                                                                             \
      r[16] = __builtin_add_overflow(a, b, &t), r[17] = t, r[18] = __builtin_mul_overflow(a, b, &t), r[19] = t;        \
      r[20] = __builtin_sub_overflow(a, b, &t), r[21] = t;                                                             \
      r[22] = (T)__builtin_popcountll(ua), r[23] = ua ? (T)(__builtin_ctzll(ua) + 64 * __builtin_clzll(ua)) : 0;       \
      hash = mix(hash, r, sizeof r);                                                                                   \
    }                                                                                                                  \
    return hash;                                                                                                       \
  }
OPERATIONS(int8_t, uint8_t, operations8)
OPERATIONS(int16_t, uint16_t, operations16)
OPERATIONS(int32_t, uint32_t, operations32)
OPERATIONS(int64_t, uint64_t, operations64)

#ifdef __SIZEOF_INT128__
static uint64_t operations128(int rounds) {
  uint64_t hash = HASH_START;
  for (int i = 0; i < rounds; i++) {
    unsigned __int128 a = (unsigned __int128)random_edge() << 64 | random_edge();
    unsigned __int128 b = (unsigned __int128)(random_edge() >> (random64() & 63)) << 64 | random_edge();
    unsigned s = random64() & 127;
    unsigned __int128 r[8] = {a + b, a - b, a * b, b ? a / b : 0, b ? a % b : 0, a << s, a >> s, (unsigned __int128)((__int128)a >> s)};
    hash = mix(hash, r, sizeof r);
  }
  return hash;
}
#endif

static int ascending(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

int main(void) {
  printf("8 bits %016" PRIx64 "\n", operations8(20000));
  printf("16 bits %016" PRIx64 "\n", operations16(20000));
  printf("32 bits %016" PRIx64 "\n", operations32(20000));
  printf("64 bits %016" PRIx64 "\n", operations64(20000));
#ifdef __SIZEOF_INT128__
  printf("128 bits %016" PRIx64 "\n", operations128(20000));
#endif
  enum { COUNT = 20000 };
  static int64_t values[COUNT];
  for (int i = 0; i < COUNT; i++) values[i] = (int64_t)random_edge();
  qsort(values, COUNT, sizeof *values, ascending);
  printf("sorted %016" PRIx64 "\n", mix(HASH_START, values, sizeof values));
  uint64_t hash = HASH_START;
  for (int i = 0; i < 3000; i++) {
    char text[96];
    int64_t v = (int64_t)random_edge();
    int base = 2 + i % 35;
    int length = snprintf(text, sizeof text, "%" PRId64 " %" PRIu64 " %" PRIx64 " %020" PRId64, v, (uint64_t)v, (uint64_t)v, v);
    hash = mix(hash, text, (unsigned)length);
    char *end;
    long long back = strtoll(text, &end, 0);
    unsigned long long other = strtoull(text, &end, base);
    hash = mix(mix(hash, &back, 8), &other, 8);
    if (back != v) printf("strtoll: %s\n", text);
  }
  printf("text %016" PRIx64 "\n", hash);
  return 0;
}
