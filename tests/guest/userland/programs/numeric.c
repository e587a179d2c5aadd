// gcc: -O0
// gcc: -O2
// gcc: -O3 -march=x86-64-v3
// gcc: -Ofast -march=x86-64-v3
// gcc: -O2 -m32
// gcc: -O2 -m32 -msse2 -mfpmath=sse
/* Loops of real programs in float, double and long double: matrices, a Fourier transform, n bodies, a Mandelbrot set, complex numbers. */
#include <complex.h>
#include <math.h>
#include <stdio.h>
#include "random.h"

#define PROGRAMS(T, name, sqrt_)                                                                                       \
  static void name(void) {                                                                                             \
    enum { N = 24, M = 128, BODIES = 5 };                                                                              \
    static T a[N][N], b[N][N], c[N][N], re[M], im[M], position[BODIES][3], velocity[BODIES][3];                        \
    for (int i = 0; i < N; i++)                                                                                        \
      for (int j = 0; j < N; j++) a[i][j] = (T)((int)(random64() % 2001) - 1000) / 7, b[i][j] = (T)(random64() % 999) / 3; \
    for (int i = 0; i < N; i++)                                                                                        \
      for (int j = 0; j < N; j++) {                                                                                    \
        T sum = 0;                                                                                                     \
        for (int k = 0; k < N; k++) sum += a[i][k] * b[k][j];                                                          \
        c[i][j] = sum;                                                                                                 \
      }                                                                                                                \
    T trace = 0;                                                                                                       \
    for (int i = 0; i < N; i++) trace += c[i][i];                                                                      \
    printf(#T " trace %La\n", (long double)trace);                                                                     \
    for (int k = 0; k < N; k++)                                                                                        \
      for (int i = k + 1; i < N; i++) {                                                                                \
        T factor = a[i][k] / a[k][k];                                                                                  \
        for (int j = k; j < N; j++) a[i][j] -= factor * a[k][j];                                                       \
      }                                                                                                                \
    T determinant = 1;                                                                                                 \
    for (int k = 0; k < N; k++) determinant *= a[k][k] / 1000;                                                         \
    printf(#T " determinant %La\n", (long double)determinant);                                                         \
    for (int i = 0; i < M; i++) re[i] = (T)(i * i % 31) / 9, im[i] = 0;                                                \
    for (int size = 2; size <= M; size *= 2) {                                                                         \
      T wr = 1, wi = 0, cr = (T)(1 - 2.0 / size), ci = sqrt_((T)1 - cr * cr);                                          \
      for (int j = 0; j < size / 2; j++) {                                                                             \
        for (int i = j; i < M; i += size) {                                                                            \
          T xr = re[i + size / 2] * wr - im[i + size / 2] * wi, xi = re[i + size / 2] * wi + im[i + size / 2] * wr;     \
          re[i + size / 2] = re[i] - xr, im[i + size / 2] = im[i] - xi, re[i] += xr, im[i] += xi;                       \
        }                                                                                                              \
        T t = wr * cr - wi * ci;                                                                                       \
        wi = wr * ci + wi * cr, wr = t;                                                                                \
      }                                                                                                                \
    }                                                                                                                  \
    for (int i = 0; i < M; i += 16) printf(#T " butterfly %La %La\n", (long double)re[i], (long double)im[i]);         \
    for (int i = 0; i < BODIES; i++)                                                                                   \
      for (int j = 0; j < 3; j++) position[i][j] = (T)(random64() % 100) / 10, velocity[i][j] = (T)(random64() % 100) / 1000; \
    for (int step = 0; step < 300; step++) {                                                                           \
      for (int i = 0; i < BODIES; i++)                                                                                 \
        for (int j = 0; j < BODIES; j++) {                                                                             \
          if (i == j) continue;                                                                                        \
          T d[3], r2 = (T)0.01;                                                                                        \
          for (int k = 0; k < 3; k++) d[k] = position[j][k] - position[i][k], r2 += d[k] * d[k];                       \
          T pull = (T)0.001 / (r2 * sqrt_(r2));                                                                        \
          for (int k = 0; k < 3; k++) velocity[i][k] += d[k] * pull;                                                   \
        }                                                                                                              \
      for (int i = 0; i < BODIES; i++)                                                                                 \
        for (int k = 0; k < 3; k++) position[i][k] += velocity[i][k] * (T)0.01;                                        \
    }                                                                                                                  \
    for (int i = 0; i < BODIES; i++) printf(#T " body %La\n", (long double)position[i][i % 3]);                        \
    unsigned inside = 0;                                                                                               \
    for (int y = 0; y < 40; y++)                                                                                       \
      for (int x = 0; x < 60; x++) {                                                                                   \
        T zr = 0, zi = 0, pr = (T)x / 20 - 2, pi = (T)y / 20 - 1;                                                      \
        unsigned n = 0;                                                                                                \
        for (; n < 100 && zr * zr + zi * zi < 4; n++) {                                                                \
          T t = zr * zr - zi * zi + pr;                                                                                \
          zi = 2 * zr * zi + pi, zr = t;                                                                               \
        }                                                                                                              \
        inside = inside * 31 + n;                                                                                      \
      }                                                                                                                \
    printf(#T " set %u\n", inside);                                                                                    \
    T tiny = 1;                                                                                                        \
    int halvings = 0;                                                                                                  \
    for (volatile T v = 1; v > 0; v = v / 2) tiny = v, halvings++;                                                     \
    printf(#T " smallest %La after %d\n", (long double)tiny, halvings);                                                \
  }
PROGRAMS(float, floats, sqrtf)
PROGRAMS(double, doubles, sqrt)
PROGRAMS(long double, long_doubles, sqrtl)

int main(void) {
  floats();
  doubles();
  long_doubles();
  for (int i = 0; i < 60; i++) {
    double complex z = random_double() + random_double() * I, w = 0.25 * i - 3 + 0.5 * I;
    double complex p = z * w, q = z / w, r = csqrt(w);
    printf("%a %a %a %a %a %a\n", creal(p), cimag(p), creal(q), cimag(q), creal(r), cimag(r));
  }
  return 0;
}
