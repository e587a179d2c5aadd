// gcc: -O2 -frounding-math
// gcc: -O2 -march=x86-64-v3 -frounding-math
// gcc: -O2 -m32 -frounding-math
// gcc: -O2 -m32 -msse2 -mfpmath=sse -frounding-math
/* Arithmetic and conversions of float, double and long double in every rounding mode, with the exceptions that they raise. */
#include <fenv.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include "random.h"

static const int modes[] = {FE_TONEAREST, FE_DOWNWARD, FE_UPWARD, FE_TOWARDZERO};

#define KEEP(x) __asm__ volatile("" : "+m"(x))

#define ARITHMETIC(T, name, bytes, sqrt_, fma_, rint_, lrint_, rem_, fmod_, scalbn_, next_)                            \
  static void name(int rounds) {                                                                                       \
    for (int mode = 0; mode < 4; mode++) {                                                                             \
      uint64_t hash = HASH_START, flags = HASH_START;                                                                  \
      for (int i = 0; i < rounds; i++) {                                                                               \
        volatile T a = (T)random_double(), b = (T)random_double(), c = (T)random_double();                             \
        if (sizeof(T) > 8) a += (T)random64() * (T)0x1p-70, b += (T)random64() * (T)0x1p-75;                           \
        T r[18];                                                                                                       \
        long long n[4];                                                                                                \
        memset(r, 0, sizeof r), memset(n, 0, sizeof n);                                                                \
        fesetround(modes[mode]);                                                                                       \
        feclearexcept(FE_ALL_EXCEPT);                                                                                  \
        r[0] = a + b, r[1] = a - b, r[2] = a * b, r[3] = a / b, r[4] = sqrt_(a), r[5] = fma_(a, b, c), r[6] = rint_(a);  \
        r[7] = rem_(a, b), r[8] = fmod_(a, b), r[9] = scalbn_(a, (int)(random64() % 200) - 100), r[10] = next_(a, b);  \
        r[11] = (T)(float)a, r[12] = (T)(double)a, r[13] = (T)(int64_t)random64(), r[14] = (T)random64();              \
        r[15] = (T)(int32_t)random64();                                                                                \
        n[0] = a > -1e9 && a < 1e9 ? lrint_(a) : 0, n[1] = (a < b) + 2 * (a == b) + 4 * !!isless(a, b);                \
        n[2] = a > -9e18 && a < 9e18 ? (int64_t)a : 0, n[3] = a >= 0 && a < 1e19 ? (int64_t)(uint64_t)a : 0;           \
        int raised = fetestexcept(FE_ALL_EXCEPT);                                                                      \
        fesetround(FE_TONEAREST);                                                                                      \
        for (int j = 0; j < 18; j++) KEEP(r[j]);                                                                       \
        for (int j = 0; j < 18; j++) hash = mix(hash, &r[j], bytes);                                                   \
        hash = mix(hash, n, sizeof n), flags = mix(flags, &raised, sizeof raised);                                     \
      }                                                                                                                \
      printf("%s mode %d: %016" PRIx64 ", exceptions %016" PRIx64 "\n", #T, mode, hash, flags);                        \
    }                                                                                                                  \
  }
ARITHMETIC(float, arithmetic_float, 4, sqrtf, fmaf, rintf, lrintf, remainderf, fmodf, scalbnf, nextafterf)
ARITHMETIC(double, arithmetic_double, 8, sqrt, fma, rint, lrint, remainder, fmod, scalbn, nextafter)
ARITHMETIC(long double, arithmetic_long, 10, sqrtl, fmal, rintl, lrintl, remainderl, fmodl, scalbnl, nextafterl)

int main(void) {
  arithmetic_float(2500);
  arithmetic_double(2500);
  arithmetic_long(2500);
  return 0;
}
