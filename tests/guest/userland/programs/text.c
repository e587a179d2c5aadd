// gcc: -O2
// gcc: -O2 -m32
/* The C library's string functions at every alignment (it chooses SSE and AVX2 versions), and numbers to text and back. */
#define _GNU_SOURCE
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <wchar.h>
#include "random.h"

enum { SIZE = 700 };

static int sign(int n) { return (n > 0) - (n < 0); }

int main(void) {
  static char a[SIZE * 2], b[SIZE * 2];
  uint64_t hash = HASH_START;
  for (int i = 0; i < 6000; i++) {
    unsigned from = random64() % 80, to = random64() % 80, length = random64() % (i % 4 ? 40 : 500);
    for (unsigned j = 0; j < sizeof a; j++) a[j] = (char)('a' + random64() % 3), b[j] = 'b';
    a[from + length] = 0;
    memcpy(b + to, a + from, length + 1);
    int r[16] = {0};
    r[0] = (int)strlen(a + from), r[1] = sign(strcmp(a + from, b + to));
    if (length) b[to + random64() % length] ^= 3;
    r[2] = sign(strcmp(a + from, b + to)), r[3] = sign(memcmp(a + from, b + to, length)), r[4] = sign(strncmp(a + from, b + to, length / 2));
    char *p = memchr(a + from, 'c', length);
    r[5] = p ? (int)(p - a) : -1;
    p = strrchr(a + from, 'a'), r[6] = p ? (int)(p - a) : -1;
    p = strstr(a + from, "abcab"), r[7] = p ? (int)(p - a) : -1;
    r[8] = (int)strspn(a + from, "ab"), r[9] = (int)strcspn(a + from, "c"), r[10] = (int)strnlen(a + from, 30);
    p = strchr(a + from, 'b'), r[11] = p ? (int)(p - a) : -1;
    p = memmem(a + from, length, "ccb", 3), r[12] = p ? (int)(p - a) : -1;
    p = memrchr(a + from, 'b', length), r[13] = p ? (int)(p - a) : -1;
    r[14] = strcasecmp(a + from, b + to) > 0;
    memmove(a + to, a + from, length);
    memset(b + to, i, length / 3);
    strncat(b, a + to, 20);
    hash = mix(mix(mix(hash, r, sizeof r), a, 300), b, 300);
    if (i % 1000 == 999) printf("strings %016" PRIx64 "\n", hash);
  }
  wchar_t wide[64];
  for (int i = 0; i < 500; i++) {
    for (int j = 0; j < 63; j++) wide[j] = (wchar_t)(L'a' + random64() % 4);
    wide[random64() % 63 + 1] = 0;
    int r[3] = {(int)wcslen(wide), wcschr(wide, L'd') != NULL, wmemchr(wide, L'c', 5) != NULL};
    hash = mix(hash, r, sizeof r);
  }
  printf("wide %016" PRIx64 "\n", hash);
  for (int i = 0; i < 3000; i++) {
    char text[1200];
    double d = random_double();
    long double l = (long double)d * 1.000000000000000001L;
    int length = snprintf(text, sizeof text, "%.17g %a %.3e %.0f %10.4f %La %.21Lg %g", d, d, d, fabs(d) < 1e30 ? d : 0, fabs(d) < 1e30 ? d : 0, l, l, (float)d);
    hash = mix(hash, text, (unsigned)length);
    double back = 0, hexadecimal = 0;
    sscanf(text, "%lf %la", &back, &hexadecimal);
    if (d == d && (back != d || hexadecimal != d)) printf("there and back: %s\n", text);
    float f = strtof(text, NULL);
    long double ld = strtold(text, NULL);
    hash = mix(mix(hash, &f, 4), &ld, 10);
    if (i % 100 == 0) puts(text);
  }
  printf("numbers %016" PRIx64 "\n", hash);
  return 0;
}
