// gcc: -O2 -fno-builtin
// gcc: -O2 -fno-builtin -mlong-double-80 -DINSTRUCTIONS
/* libm's functions of long double and the x87 instructions that they use: name, arguments and result as 80-bit patterns. */
#define _GNU_SOURCE
#include <math.h>
#include <stdio.h>
#include "random.h"

static void show(long double x) {
  uint64_t mantissa;
  uint16_t exponent;
  memcpy(&mantissa, &x, 8), memcpy(&exponent, (char *)&x + 8, 2);
  printf(" %04x%016llx", exponent, (unsigned long long)mantissa);
}

static long double uniform(long double from, long double to) {
  return from + (to - from) * ((long double)random64() * 0x1p-64L + (long double)(random64() >> 40) * 0x1p-88L);
}

/* Half of the arguments small, half large. */
static long double spread(void) {
  long double x = uniform(-1, 1);
  return random64() & 1 ? x * 20 : scalbnl(x, -(int)(random64() % 60));
}

enum { ARGUMENTS = 1500 };

#ifdef INSTRUCTIONS
static long double f2xm1(long double x) { __asm__("f2xm1" : "+t"(x)); return x; }
static long double fsin_(long double x) { __asm__("fsin" : "+t"(x)); return x; }
static long double fcos_(long double x) { __asm__("fcos" : "+t"(x)); return x; }
static long double fptan_(long double x) { long double one, r; __asm__("fptan" : "=t"(one), "=u"(r) : "0"(x)); return r; }
static long double fpatan_(long double x, long double y) { __asm__("fpatan" : "+t"(x) : "u"(y) : "st(1)"); return x; }
static long double fyl2x_(long double x, long double y) { __asm__("fyl2x" : "+t"(x) : "u"(y) : "st(1)"); return x; }
static long double fyl2xp1_(long double x, long double y) { __asm__("fyl2xp1" : "+t"(x) : "u"(y) : "st(1)"); return x; }

#define UNARY(name, call, argument)                                                                                    \
  for (int i = 0; i < ARGUMENTS; i++) {                                                                                \
    long double x = argument;                                                                                          \
    printf(name), show(x), show(call(x)), puts("");                                                                    \
  }
#define BINARY(name, call, argument, other)                                                                            \
  for (int i = 0; i < ARGUMENTS; i++) {                                                                                \
    long double x = argument, y = other;                                                                               \
    printf(name), show(x), show(y), show(call(x, y)), puts("");                                                        \
  }
int main(void) {
  UNARY("f2xm1", f2xm1, random64() & 1 ? uniform(-1, 1) : scalbnl(uniform(-1, 1), -(int)(random64() % 40)))
  UNARY("fsin", fsin_, spread())
  UNARY("fcos", fcos_, spread())
  UNARY("fptan", fptan_, spread())
  BINARY("fpatan", fpatan_, spread(), spread())
  BINARY("fyl2x", fyl2x_, fabsl(spread()), spread())
  BINARY("fyl2xp1", fyl2xp1_, uniform(-0.29L, 0.29L) * (random64() & 1 ? 1 : 0x1p-20L), spread())
  return 0;
}
#else
static const struct {
  const char *name;
  long double (*f)(long double);
  int positive;
} unary[] = {{"expl", expl, 0}, {"exp2l", exp2l, 0}, {"exp10l", exp10l, 0}, {"expm1l", expm1l, 0}, {"logl", logl, 1}, {"log2l", log2l, 1},
             {"log10l", log10l, 1}, {"log1pl", log1pl, 1}, {"atanl", atanl, 0}, {"sinl", sinl, 0}, {"cosl", cosl, 0}, {"tanl", tanl, 0},
             {"sinhl", sinhl, 0}, {"tanhl", tanhl, 0}, {"cbrtl", cbrtl, 0}, {"sqrtl", sqrtl, 1}, {"erfl", erfl, 0}, {"lgammal", lgammal, 1}};

int main(void) {
  for (unsigned k = 0; k < sizeof unary / sizeof *unary; k++) {
    for (int i = 0; i < ARGUMENTS; i++) {
      long double x = spread();
      if (unary[k].positive) x = fabsl(x);
      printf("%s", unary[k].name), show(x), show(unary[k].f(x)), puts("");
    }
  }
  for (int i = 0; i < ARGUMENTS; i++) {
    long double x = fabsl(spread()), y = spread();
    printf("powl"), show(x), show(y), show(powl(x, y)), puts("");
    printf("atan2l"), show(x), show(y), show(atan2l(x, y)), puts("");
  }
  return 0;
}
#endif
