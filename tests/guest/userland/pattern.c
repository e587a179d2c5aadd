/*
 * pattern BYTES ROUNDS [FILE]: fills anonymous memory, or a file by write(2), with words that depend on their place and on the round, and checks
 * all of them in the next one. Prints "BYTES bytes, ROUNDS rounds, WRONG wrong". Without a C library: cc -static -nostdlib -O2.
 */
typedef unsigned long u64;

static long call(long number, long a, long b, long c, long d, long e, long f) {
  register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
  long result;
  __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return result;
}

static u64 number(const char *text) {
  u64 value = 0;
  while (*text >= '0' && *text <= '9') value = value * 10 + (u64)(*text++ - '0');
  return value;
}

static char *put(char *at, u64 value) {
  char digits[24];
  int count = 0;
  do digits[count++] = (char)('0' + value % 10);
  while (value /= 10);
  while (count) *at++ = digits[--count];
  return at;
}

static char *text(char *at, const char *from) {
  while (*from) *at++ = *from++;
  return at;
}

static u64 word(u64 index, u64 round) { return (index + round * 0x100000001b3) * 0x9e3779b97f4a7c15; }

enum { PIECE = 1 << 20 };
static u64 piece[PIECE / 8];

/* Checks words that lie `first` words from the beginning, and puts those of the round in their place. */
static u64 pass(u64 *at, u64 first, u64 count, u64 round) {
  u64 wrong = 0;
  for (u64 i = 0; i < count; i++) {
    if (round) wrong += at[i] != word(first + i, round - 1);
    at[i] = word(first + i, round);
  }
  return wrong;
}

/* The same for memory of a file; what cannot be read or written is wrong. */
static u64 file_pass(int file, u64 bytes, u64 round) {
  u64 wrong = 0;
  for (u64 at = 0; at < bytes; at += PIECE) {
    /* pread64, pwrite64 */
    if (round && call(17, file, (long)piece, PIECE, (long)at, 0, 0) != PIECE) wrong++;
    wrong += pass(piece, at / 8, PIECE / 8, round);
    if (call(18, file, (long)piece, PIECE, (long)at, 0, 0) != PIECE) wrong++;
  }
  return wrong;
}

__attribute__((used)) static void run(long *stack) {
  const u64 bytes = number((const char *)stack[2]), rounds = number((const char *)stack[3]);
  u64 wrong = 0;
  if (stack[0] > 3) {
    /* O_RDWR | O_CREAT */
    const int file = (int)call(2, stack[4], 0102, 0600, 0, 0, 0);
    for (u64 round = 0; round < rounds; round++) wrong += file_pass(file, bytes, round);
    for (u64 at = 0; rounds && at < bytes; at += PIECE) {
      if (call(17, file, (long)piece, PIECE, (long)at, 0, 0) != PIECE) wrong++;
      for (u64 i = 0; i < PIECE / 8; i++) wrong += piece[i] != word(at / 8 + i, rounds - 1);
    }
  } else {
    /* PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE */
    u64 *memory = (u64 *)call(9, 0, (long)bytes, 3, 0x4022, -1, 0);
    for (u64 round = 0; round < rounds; round++) wrong += pass(memory, 0, bytes / 8, round);
    for (u64 i = 0; rounds && i < bytes / 8; i++) wrong += memory[i] != word(i, rounds - 1);
  }
  char line[100];
  char *end = text(put(text(put(text(put(line, bytes), " bytes, "), rounds), " rounds, "), wrong), " wrong\n");
  call(1, 1, (long)line, end - line, 0, 0, 0);
  call(231, wrong != 0, 0, 0, 0, 0, 0);
}

__asm__(".globl _start\n_start: mov %rsp, %rdi\n and $-16, %rsp\n call run\n");
