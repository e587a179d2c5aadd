/* Numbers that are the same everywhere, with the edges of ranges among them. */
#include <stdint.h>
#include <string.h>

static uint64_t random_state = 88172645463325252ull;

/* xorshift64 (Marsaglia 2003). */
static inline uint64_t random64(void) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return random_state;
}

static inline uint64_t random_edge(void) {
  static const uint64_t edges[] = {0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000u, 0xffffffffu,
                                   0x7fffffffffffffffull, 0x8000000000000000ull, ~0ull};
  uint64_t r = random64();
  switch (r >> 62) {
  case 0: return edges[r % (sizeof edges / sizeof *edges)];
  case 1: return random64() >> (r & 63);
  default: return random64();
  }
}

/* A double of any kind: bit patterns, small integers, decimal fractions, edges. */
static inline double random_double(void) {
  static const double edges[] = {0.0, -0.0, 1.0, -1.0, 0.5, 2.0, 1e308, 5e-324, 2.2250738585072014e-308, __builtin_inf(), -__builtin_inf(),
                                 9007199254740992.0, 4503599627370496.5, 0.1, 3.141592653589793, 1.7976931348623157e308};
  uint64_t r = random64();
  double d;
  switch (r & 7) {
  case 0: return edges[(r >> 8) % (sizeof edges / sizeof *edges)];
  case 1: return (double)((int64_t)random64() >> (r >> 58));
  case 2: return (double)(int64_t)random64() / 1e16;
  case 3: r = random64(); memcpy(&d, &r, 8); return d;
  default: return ((double)(int64_t)random64()) * 0x1p-63 * (double)(1 << (r >> 60));
  }
}

/* FNV-1a, to say much in few characters. */
static inline uint64_t mix(uint64_t hash, const void *data, unsigned length) {
  const unsigned char *p = data;
  while (length--) hash = (hash ^ *p++) * 1099511628211ull;
  return hash;
}
#define HASH_START 14695981039346656037ull
