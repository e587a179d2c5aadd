/*
 * pattern BYTES ROUNDS: fills anonymous memory with words that depend on their place and on the round, and checks all of them in the next
 * one. Prints "BYTES bytes, ROUNDS rounds, WRONG wrong". Without a C library: cc -static -nostdlib -O2.
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

__attribute__((used)) static void run(long *stack) {
  const u64 bytes = number((const char *)stack[2]), rounds = number((const char *)stack[3]);
  /* PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE */
  u64 *memory = (u64 *)call(9, 0, (long)bytes, 3, 0x4022, -1, 0);
  u64 wrong = 0;
  for (u64 round = 0; round < rounds; round++) {
    for (u64 i = 0; i < bytes / 8; i++) {
      if (round && memory[i] != word(i, round - 1)) wrong++;
      memory[i] = word(i, round);
    }
  }
  for (u64 i = 0; rounds && i < bytes / 8; i++) wrong += memory[i] != word(i, rounds - 1);
  char line[100];
  char *end = text(put(text(put(text(put(line, bytes), " bytes, "), rounds), " rounds, "), wrong), " wrong\n");
  call(1, 1, (long)line, end - line, 0, 0, 0);
  call(231, wrong != 0, 0, 0, 0, 0, 0);
}

__asm__(".globl _start\n_start: mov %rsp, %rdi\n and $-16, %rsp\n call run\n");
