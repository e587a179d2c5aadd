// gcc: -O2 -fno-builtin
/* The functions of libm over many arguments, every result written in full. */
#include <math.h>
#include <stdio.h>
#include "random.h"

#define F1(n) {#n, n, n##f}
static const struct {
  const char *name;
  double (*d)(double);
  float (*f)(float);
} unary[] = {F1(sin), F1(cos), F1(tan), F1(asin), F1(acos), F1(atan), F1(sinh), F1(cosh), F1(tanh), F1(asinh), F1(acosh), F1(atanh),
             F1(exp), F1(exp2), F1(expm1), F1(log), F1(log2), F1(log10), F1(log1p), F1(sqrt), F1(cbrt), F1(erf), F1(erfc), F1(tgamma),
             F1(lgamma), F1(j0), F1(j1), F1(y0), F1(y1), F1(floor), F1(ceil), F1(trunc), F1(round), F1(rint), F1(nearbyint), F1(logb)};
static const struct {
  const char *name;
  double (*d)(double, double);
  float (*f)(float, float);
} binary[] = {F1(pow), F1(atan2), F1(hypot), F1(fmod), F1(remainder), F1(fdim), F1(nextafter), F1(copysign), F1(fmax), F1(fmin)};

enum { ARGUMENTS = 250 };

int main(void) {
  for (unsigned k = 0; k < sizeof unary / sizeof *unary; k++) {
    for (int i = 0; i < ARGUMENTS; i++) {
      double x = random_double();
      printf("%s(%a) = %a, %a\n", unary[k].name, x, unary[k].d(x), unary[k].f((float)x));
    }
  }
  for (unsigned k = 0; k < sizeof binary / sizeof *binary; k++) {
    for (int i = 0; i < ARGUMENTS; i++) {
      double x = random_double(), y = random_double();
      if (i & 1) x = fabs(x), y = fmod(y, 40);
      printf("%s(%a, %a) = %a, %a\n", binary[k].name, x, y, binary[k].d(x, y), binary[k].f((float)x, (float)y));
    }
  }
  return 0;
}
