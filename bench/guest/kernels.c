/*
 * The processor kernels of `npm run bench -- --kernels-only`: `kernels NAME` computes for some tenths of a second and prints a checksum. Statically linked,
 * built with gcc -O2 on the host and run by the same Linux on every machine that is compared.
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static uint64_t state = 88172645463325252ull;

/* xorshift64: the same numbers on every machine. */
static uint64_t next(void) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}

static uint64_t sum_words(const void *words, size_t bytes) {
  const uint8_t *at = words;
  uint64_t sum = 1469598103934665603ull;
  for (size_t i = 0; i < bytes; i++) sum = (sum ^ at[i]) * 1099511628211ull;
  return sum;
}

static uint64_t sum_double(double value) {
  return (uint64_t)(int64_t)llround(value * 1e6);
}

/* Additions, shifts and exclusive ors in registers. */
static uint64_t alu(void) {
  uint64_t a = 1, b = 2, c = 3;
  for (uint64_t i = 0; i < 60000000; i++) {
    a += b ^ (c << 3);
    b = (b >> 5) + a;
    c ^= a + i;
  }
  return a ^ b ^ c;
}

/* Products and quotients of 64 bits. */
static uint64_t divide(void) {
  uint64_t sum = 0;
  for (uint64_t i = 1; i < 6000000; i++) {
    uint64_t value = i * 0x9e3779b97f4a7c15ull;
    sum += value / (i | 1) + value % (i + 7);
  }
  return sum;
}

static uint64_t sieve(void) {
  enum { LIMIT = 2000000 };
  uint8_t *composite = calloc(1, LIMIT);
  uint64_t count = 0;
  for (int round = 0; round < 6; round++) {
    memset(composite, 0, LIMIT);
    for (uint32_t i = 2; i < LIMIT; i++) {
      if (composite[i]) continue;
      count++;
      for (uint64_t k = (uint64_t)i * i; k < LIMIT; k += i) composite[k] = 1;
    }
  }
  free(composite);
  return count;
}

static __attribute__((noinline)) uint64_t fibonacci(uint32_t n) {
  return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}

/* Calls and returns. */
static uint64_t recursion(void) {
  return fibonacci(34);
}

static void sort(int32_t *values, int32_t low, int32_t high) {
  while (low < high) {
    int32_t pivot = values[(low + high) >> 1], i = low, k = high;
    while (i <= k) {
      while (values[i] < pivot) i++;
      while (values[k] > pivot) k--;
      if (i > k) break;
      int32_t kept = values[i];
      values[i++] = values[k];
      values[k--] = kept;
    }
    if (k - low < high - i) {
      sort(values, low, k);
      low = i;
    } else {
      sort(values, i, high);
      high = k;
    }
  }
}

/* Branches that cannot be foretold. */
static uint64_t quicksort(void) {
  enum { COUNT = 1500000 };
  int32_t *values = malloc(COUNT * sizeof *values);
  for (int i = 0; i < COUNT; i++) values[i] = (int32_t)next();
  sort(values, 0, COUNT - 1);
  uint64_t sum = sum_words(values, COUNT * sizeof *values);
  free(values);
  return sum;
}

/* A table much larger than the processor's first caches and the TLB. */
static uint64_t hash(void) {
  enum { SLOTS = 1 << 20 };
  uint64_t *table = calloc(SLOTS, sizeof *table);
  uint64_t found = 0;
  for (int i = 0; i < 2000000; i++) {
    uint64_t key = next() % 700000 + 1;
    uint64_t at = (key * 0x9e3779b97f4a7c15ull) >> 44;
    while (table[at] && table[at] != key) at = (at + 1) & (SLOTS - 1);
    found += table[at] == key;
    table[at] = key;
  }
  free(table);
  return found;
}

/* Pointers from node to node in an order that no prefetcher knows. */
static uint64_t list(void) {
  enum { NODES = 1 << 18 };
  uint32_t *to = malloc(NODES * sizeof *to);
  for (uint32_t i = 0; i < NODES; i++) to[i] = i;
  for (uint32_t i = NODES - 1; i > 0; i--) {
    uint32_t k = next() % i, kept = to[i];
    to[i] = to[k];
    to[k] = kept;
  }
  uint64_t sum = 0;
  uint32_t at = 0;
  for (int i = 0; i < 20000000; i++) {
    at = to[at];
    sum += at;
  }
  free(to);
  return sum;
}

static uint64_t crc32(void) {
  static uint32_t table[256];
  for (uint32_t i = 0; i < 256; i++) {
    uint32_t value = i;
    for (int bit = 0; bit < 8; bit++) value = value & 1 ? (value >> 1) ^ 0xedb88320u : value >> 1;
    table[i] = value;
  }
  static uint8_t bytes[65536];
  for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)next();
  uint32_t crc = ~0u;
  for (int round = 0; round < 700; round++)
    for (size_t i = 0; i < sizeof bytes; i++) crc = (crc >> 8) ^ table[(crc ^ bytes[i]) & 0xff];
  return ~crc;
}

/* Single bits: population counts, scans, rotations. */
static uint64_t bits(void) {
  uint64_t sum = 0;
  for (int i = 0; i < 15000000; i++) {
    uint64_t value = next() | 1;
    sum += (uint64_t)__builtin_popcountll(value) + (uint64_t)__builtin_ctzll(value) + (uint64_t)__builtin_clzll(value);
    sum = (sum << 7) | (sum >> 57);
  }
  return sum;
}

/* Copies of many lengths. */
static uint64_t copy(void) {
  enum { BYTES = 1 << 20 };
  uint8_t *from = malloc(BYTES), *to = malloc(BYTES);
  for (int i = 0; i < BYTES; i++) from[i] = (uint8_t)next();
  for (int i = 0; i < 600000; i++) {
    uint32_t length = 1 + (uint32_t)(next() & 1023), at = (uint32_t)(next() % (BYTES - 2048));
    memcpy(to + (at ^ 512), from + at, length);
  }
  for (int i = 0; i < 100; i++) memmove(from + 64, from, BYTES - 64);
  uint64_t sum = sum_words(from, BYTES) ^ sum_words(to, BYTES);
  free(from);
  free(to);
  return sum;
}

static uint64_t strings(void) {
  static char text[1 << 16];
  for (size_t i = 0; i + 1 < sizeof text; i++) text[i] = (char)('a' + next() % 20);
  uint64_t sum = 0;
  for (int i = 0; i < 500; i++) {
    text[sizeof text - 2 - i] = 'z';
    sum += strlen(text) + (uint64_t)(strchr(text, 'z') - text);
    for (const char *at = text; (at = strstr(at, "ab")) && sum % 7; at += 2) sum++;
  }
  for (int i = 0; i < 300000; i++) {
    char word[32];
    snprintf(word, sizeof word, "%d/%x", i, i * 77);
    sum += strtoul(word, NULL, 10) + strlen(word);
  }
  return sum;
}

/* Jumps through tables and calls through pointers, as an interpreter of bytecode makes them. */
static uint64_t (*volatile operations[4])(uint64_t, uint64_t);
static uint64_t op_add(uint64_t a, uint64_t b) { return a + b; }
static uint64_t op_xor(uint64_t a, uint64_t b) { return a ^ (b << 1); }
static uint64_t op_mul(uint64_t a, uint64_t b) { return a * (b | 1); }
static uint64_t op_ror(uint64_t a, uint64_t b) { return (a >> 9) | ((a + b) << 55); }

static uint64_t bytecode(void) {
  operations[0] = op_add;
  operations[1] = op_xor;
  operations[2] = op_mul;
  operations[3] = op_ror;
  uint8_t code[256];
  for (int i = 0; i < 256; i++) code[i] = (uint8_t)(next() % 9);
  uint64_t a = 1, b = 2, steps = 0;
  for (uint32_t at = 0; steps < 20000000; steps++, at++) {
    switch (code[at & 255]) {
      case 0: a += b; break;
      case 1: b ^= a >> 3; break;
      case 2: a = operations[steps & 3](a, b); break;
      case 3: b = operations[a & 3](b, a); break;
      case 4: if (a & 1) at += 3; break;
      case 5: a -= b << 2; break;
      case 6: b += code[a & 255]; break;
      case 7: a = (a << 11) | (a >> 53); break;
      default: at += (uint32_t)b & 7; break;
    }
  }
  return a ^ b;
}

/* Products of matrices of doubles. */
static uint64_t matrix(void) {
  enum { N = 180 };
  static double a[N][N], b[N][N], c[N][N];
  for (int i = 0; i < N; i++)
    for (int k = 0; k < N; k++) a[i][k] = (double)(next() % 1000) / 997, b[i][k] = (double)(next() % 1000) / 991;
  for (int round = 0; round < 2; round++)
    for (int i = 0; i < N; i++)
      for (int k = 0; k < N; k++) {
        double sum = 0;
        for (int m = 0; m < N; m++) sum += a[i][m] * b[m][k];
        c[i][k] = sum;
      }
  double all = 0;
  for (int i = 0; i < N; i++) all += c[i][N - 1 - i];
  return sum_double(all);
}

static uint64_t mandelbrot(void) {
  uint64_t sum = 0;
  for (int y = 0; y < 160; y++)
    for (int x = 0; x < 240; x++) {
      double cr = x / 80.0 - 2, ci = y / 80.0 - 1, zr = 0, zi = 0;
      int i = 0;
      for (; i < 100 && zr * zr + zi * zi < 4; i++) {
        double kept = zr * zr - zi * zi + cr;
        zi = 2 * zr * zi + ci;
        zr = kept;
      }
      sum += (uint64_t)i;
    }
  return sum;
}

/* Doubles with square roots and quotients: five bodies that attract each other. */
static uint64_t bodies(void) {
  double p[5][3], v[5][3], m[5];
  for (int i = 0; i < 5; i++) {
    m[i] = 1.0 / (i + 1);
    for (int k = 0; k < 3; k++) p[i][k] = (double)(next() % 1000) / 100, v[i][k] = 0;
  }
  for (int step = 0; step < 60000; step++) {
    for (int i = 0; i < 5; i++)
      for (int k = i + 1; k < 5; k++) {
        double d[3], square = 0.01;
        for (int n = 0; n < 3; n++) d[n] = p[i][n] - p[k][n], square += d[n] * d[n];
        double force = 0.0001 / (square * sqrt(square));
        for (int n = 0; n < 3; n++) v[i][n] -= d[n] * m[k] * force, v[k][n] += d[n] * m[i] * force;
      }
    for (int i = 0; i < 5; i++)
      for (int n = 0; n < 3; n++) p[i][n] += v[i][n];
  }
  return sum_double(p[0][0] + p[1][1] + p[2][2] + p[3][0] + p[4][1]);
}

/* Sixteen bytes and four words at a time (SSE2, by the compiler). */
static __attribute__((optimize("O3"))) uint64_t vectors(void) {
  enum { N = 1 << 16 };
  static int32_t a[N], b[N];
  static uint8_t c[N];
  for (int i = 0; i < N; i++) a[i] = (int32_t)next(), b[i] = (int32_t)next(), c[i] = (uint8_t)a[i];
  for (int round = 0; round < 700; round++) {
    for (int i = 0; i < N; i++) a[i] = (a[i] + b[i]) ^ (b[i] >> 3);
    for (int i = 0; i < N; i++) c[i] = (uint8_t)(c[i] + (c[i] & 15) + round);
  }
  return sum_words(a, sizeof a) ^ sum_words(c, sizeof c);
}

/* Moves of a board game's small arrays: backtracking. */
static uint64_t place(uint32_t row, uint32_t columns, uint32_t left, uint32_t right) {
  if (row == 11) return 1;
  uint64_t count = 0;
  for (uint32_t open = ~(columns | left | right) & 2047; open; open &= open - 1) {
    uint32_t bit = open & -open;
    count += place(row + 1, columns | bit, (left | bit) << 1, (right | bit) >> 1);
  }
  return count;
}

static uint64_t queens(void) {
  return place(0, 0, 0, 0) + place(0, 1, 0, 0) + place(0, 2, 0, 0) + place(0, 4, 0, 0);
}

/* A compressor's inner loops: longest matches by a chain of hashes. */
static uint64_t matches(void) {
  enum { N = 1 << 19, HASHES = 1 << 15 };
  static uint8_t text[N];
  static int32_t head[HASHES], before[N];
  for (int i = 0; i < N; i++) text[i] = i > 64 && next() % 8 ? text[i - 1 - next() % 63] : (uint8_t)(next() % 64);
  memset(head, -1, sizeof head);
  uint64_t sum = 0;
  for (int i = 0; i + 260 < N; i++) {
    uint32_t key = (text[i] | (uint32_t)text[i + 1] << 8 | (uint32_t)text[i + 2] << 16) * 0x9e3779b1u >> 17;
    int best = 0;
    for (int at = head[key], tries = 0; at >= 0 && tries < 6; at = before[at], tries++) {
      int length = 0;
      while (length < 258 && text[at + length] == text[i + length]) length++;
      if (length > best) best = length;
    }
    before[i] = head[key];
    head[key] = i;
    sum += (uint64_t)best;
  }
  return sum;
}

/* What follows measures the kernel of the guest as much as the processor: processes, pipes, system calls, page faults. */

static uint64_t forks(void) {
  uint64_t sum = 0;
  for (int i = 0; i < 400; i++) {
    pid_t child = fork();
    if (!child) _exit(i & 127);
    int status;
    if (child < 0 || waitpid(child, &status, 0) != child) abort();
    sum += (uint64_t)WEXITSTATUS(status);
  }
  return sum;
}

static uint64_t execs(void) {
  uint64_t sum = 0;
  for (int i = 0; i < 150; i++) {
    pid_t child = fork();
    if (!child) {
      execl("/proc/self/exe", "kernels", "nothing", (char *)NULL);
      _exit(1);
    }
    int status;
    if (child < 0 || waitpid(child, &status, 0) != child) abort();
    sum += (uint64_t)WEXITSTATUS(status);
  }
  return sum;
}

static uint64_t pipes(void) {
  int to[2], from[2];
  if (pipe(to) || pipe(from)) abort();
  pid_t child = fork();
  if (!child) {
    uint32_t value;
    close(to[1]);
    while (read(to[0], &value, 4) == 4) {
      value = value * 5 + 1;
      if (write(from[1], &value, 4) != 4) _exit(1);
    }
    _exit(0);
  }
  uint32_t value = 1;
  for (int i = 0; i < 8000; i++)
    if (write(to[1], &value, 4) != 4 || read(from[0], &value, 4) != 4) abort();
  close(to[1]);
  waitpid(child, NULL, 0);
  return value;
}

static uint64_t syscalls(void) {
  uint64_t sum = 0;
  for (int i = 0; i < 300000; i++) sum += (uint64_t)(syscall(SYS_getppid) > 0);
  return sum;
}

static uint64_t faults(void) {
  uint64_t sum = 0;
  for (int round = 0; round < 10; round++) {
    enum { BYTES = 8 << 20 };
    uint8_t *pages = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED) abort();
    for (int i = 0; i < BYTES; i += 4096) sum += ++pages[i];
    munmap(pages, BYTES);
  }
  return sum;
}

/* What execs() starts. */
static uint64_t nothing(void) {
  return 0;
}

static const struct {
  const char *name;
  uint64_t (*run)(void);
} KERNELS[] = {
    {"alu", alu},         {"divide", divide},   {"sieve", sieve},           {"recursion", recursion}, {"quicksort", quicksort},
    {"hash", hash},       {"list", list},       {"crc32", crc32},           {"bits", bits},           {"copy", copy},
    {"strings", strings}, {"bytecode", bytecode}, {"matrix", matrix},       {"mandelbrot", mandelbrot}, {"bodies", bodies},
    {"vectors", vectors}, {"queens", queens},   {"matches", matches},
    {"forks", forks},     {"execs", execs},     {"pipes", pipes},           {"syscalls", syscalls},   {"faults", faults},
    {"nothing", nothing},
};

int main(int count, char **words) {
  for (size_t i = 0; count == 2 && i < sizeof KERNELS / sizeof *KERNELS; i++) {
    if (strcmp(KERNELS[i].name, words[1])) continue;
    printf("%016llx\n", (unsigned long long)KERNELS[i].run());
    return 0;
  }
  for (size_t i = 0; i < sizeof KERNELS / sizeof *KERNELS; i++) puts(KERNELS[i].name);
  return 2;
}
