// gcc: -O2 -Wno-unused-result
// gcc: -O2 -m32 -Wno-unused-result
/* Processes, pipes, signals with their codes and addresses, jumps out of handlers, mappings, and code that changes itself. */
#define _GNU_SOURCE
#include <errno.h>
#include <fenv.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>
#include "random.h"

enum { PAGE = 4096 };

#ifdef __x86_64__
#define PUSH_TRAP_FLAG "lea -128(%%rsp), %%rsp; pushf; orl $0x100, (%%rsp); popf; nop; nop; lea 128(%%rsp), %%rsp"
#else
#define PUSH_TRAP_FLAG "pushf; orl $0x100, (%%esp); popf; nop; nop"
#endif

static sigjmp_buf back;
static char *area;
static volatile sig_atomic_t ticks, children, queued;

static void caught(int number, siginfo_t *info, void *context) {
  ucontext_t *uc = context;
  long at = (char *)info->si_addr - area;
#ifdef __x86_64__
  long trap = (long)uc->uc_mcontext.gregs[REG_TRAPNO], error = (long)uc->uc_mcontext.gregs[REG_ERR];
#else
  long trap = uc->uc_mcontext.gregs[REG_TRAPNO], error = uc->uc_mcontext.gregs[REG_ERR];
#endif
  // Addresses in code differ from run to run; those in the area do not, counted from its start.
  if (number == SIGSEGV && at >= 0 && at < 4 * PAGE) printf("signal %d code %d trap %ld error %ld at +%ld\n", number, info->si_code, trap, error, at);
  else printf("signal %d code %d trap %ld error %ld\n", number, info->si_code, trap, error);
  siglongjmp(back, number);
}

#define TRY(what)                                                                                                      \
  if (sigsetjmp(back, 1) == 0) {                                                                                       \
    what;                                                                                                              \
    printf("passed: %s\n", #what);                                                                                     \
  } else printf("caught: %s\n", #what)

static void tick(int number) { (void)number, ticks++; }
static void child(int number) { (void)number, children++; }
static void real_time(int number, siginfo_t *info, void *context) { (void)number, (void)context, queued = queued * 10 + info->si_value.sival_int; }

static void signals(void) {
  static char alternate[65536];
  stack_t stack = {.ss_sp = alternate, .ss_size = sizeof alternate};
  sigaltstack(&stack, NULL);
  struct sigaction action = {.sa_sigaction = caught, .sa_flags = SA_SIGINFO | SA_ONSTACK};
  for (int i = 0; i < 5; i++) sigaction((int[]){SIGSEGV, SIGFPE, SIGILL, SIGTRAP, SIGBUS}[i], &action, NULL);
  volatile int zero = 0, one = 1, lowest = -2147483647 - 1, minus = -1;
  TRY(one /= zero);
  TRY(lowest /= minus);
  TRY(area[PAGE + 5] = 1);
  TRY(one = area[2 * PAGE + 7]);
  TRY(area[2 * PAGE + 8] = 1);
  TRY(((void (*)(void))(area + 3 * PAGE))());
  TRY(__asm__ volatile("ud2"));
  TRY(__asm__ volatile("int3"));
  TRY(__asm__ volatile("hlt"));
  TRY(__asm__ volatile("int $0x50"));
  TRY(__asm__ volatile("cli"));
  TRY(raise(SIGTRAP));
  TRY(__asm__ volatile(PUSH_TRAP_FLAG ::: "memory", "cc"));
  volatile double a = 1, b = 0;
  TRY((feenableexcept(FE_DIVBYZERO), a = a / b));
  fedisableexcept(FE_ALL_EXCEPT);
  volatile long double la = 1, lb = 0;
  TRY((feenableexcept(FE_DIVBYZERO | FE_INVALID), la = la / lb, la = la + 1));
  feclearexcept(FE_ALL_EXCEPT), fedisableexcept(FE_ALL_EXCEPT);

  signal(SIGALRM, tick);
  struct itimerval every = {{0, 10000}, {0, 10000}}, never = {{0, 0}, {0, 0}};
  setitimer(ITIMER_REAL, &every, NULL);
  volatile double sum = 0;
  for (unsigned i = 1; ticks < 5; i++) sum += 1.0 / i;
  setitimer(ITIMER_REAL, &never, NULL);
  printf("ticks arrived, sum %s\n", sum > 1 && sum < 60 ? "kept" : "lost");

  struct sigaction queue = {.sa_sigaction = real_time, .sa_flags = SA_SIGINFO};
  sigaction(SIGRTMIN + 1, &queue, NULL);
  sigset_t block, old;
  sigemptyset(&block), sigaddset(&block, SIGRTMIN + 1), sigprocmask(SIG_BLOCK, &block, &old);
  for (int i = 1; i <= 5; i++) sigqueue(getpid(), SIGRTMIN + 1, (union sigval){.sival_int = i});
  sigprocmask(SIG_SETMASK, &old, NULL);
  printf("queued %d\n", queued);
}

static void processes(void) {
  int to[2], from[2];
  signal(SIGCHLD, child);
  fflush(stdout);
  for (int i = 0; i < 8; i++) {
    pipe(to), pipe(from);
    pid_t pid = fork();
    if (pid == 0) {
      dup2(to[0], 0), dup2(from[1], 1);
      close(to[1]), close(from[0]), close(to[0]), close(from[1]);
      if (i % 3 == 0) execlp("tr", "tr", "a-z", "A-Z", NULL);
      if (i % 3 == 1) execlp("sed", "sed", "s/[aeiou]/*/g", NULL);
      execlp("sort", "sort", "-r", NULL);
      _exit(9);
    }
    close(to[0]), close(from[1]);
    dprintf(to[1], "the quick brown\nfox %d jumps\nover the lazy dog\n", i);
    close(to[1]);
    char text[256];
    ssize_t length = 0, got;
    while ((got = read(from[0], text + length, sizeof text - (size_t)length)) > 0 || (got < 0 && errno == EINTR)) length += got > 0 ? got : 0;
    close(from[0]);
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
    printf("%.*s", (int)length, text);
    printf("status %x\n", (unsigned)status);
  }
  printf("children seen: %s\n", children > 0 ? "yes" : "no");
  // Copy on write, and a shared page.
  int *shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  int own = 5;
  fflush(stdout);
  for (int i = 0; i < 20; i++) {
    pid_t pid = fork();
    if (pid == 0) {
      own += i, __atomic_add_fetch(shared, own, __ATOMIC_SEQ_CST);
      if (i == 7) abort();
      if (i == 8) kill(getpid(), SIGKILL);
      if (i == 9) signal(SIGSEGV, SIG_DFL), area[2 * PAGE] = 1;
      _exit(i);
    }
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
    printf("%x ", (unsigned)status);
  }
  printf("own %d shared %d\n", own, *shared);
}

static void changing_code(void) {
  unsigned char *code = mmap(NULL, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  unsigned sum = 0;
  for (unsigned i = 0; i < 500; i++) {
    // mov eax, i * 3; ret
    unsigned char body[] = {0xb8, 0, 0, 0, 0, 0xc3};
    unsigned value = i * 3;
    memcpy(body + 1, &value, 4);
    memcpy(code + i % 7, body, sizeof body);
    sum = sum * 31 + ((unsigned (*)(void))(void *)(code + i % 7))();
  }
  // A loop whose body is written by itself: mov byte [rip + 3], 5 makes the add that follows it add 5.
  static const unsigned char self[] = {0x31, 0xc0, 0xb9, 10, 0, 0, 0, 0xc6, 0x05, 3, 0, 0, 0, 0x05, 0x90, 0x83, 0xc0, 0x01, 0x83, 0xe9, 0x01, 0x75, 0xf0, 0xc3};
#ifdef __x86_64__
  memcpy(code, self, sizeof self);
  printf("changing itself: %u\n", ((unsigned (*)(void))(void *)code)());
#else
  printf("changing itself: %u\n", (unsigned)sizeof self);
#endif
  printf("code %u\n", sum);
  mprotect(code, PAGE, PROT_READ | PROT_EXEC);
  printf("run %u\n", ((unsigned (*)(void))(void *)(code + 499 % 7))());
}

static void files(void) {
  int file = open("mapped", O_RDWR | O_CREAT | O_TRUNC, 0600);
  ftruncate(file, 5 * PAGE);
  unsigned char *map = mmap(NULL, 5 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  for (int i = 0; i < 5 * PAGE; i++) map[i] = (unsigned char)random64();
  msync(map, 5 * PAGE, MS_SYNC);
  unsigned char text[5 * PAGE];
  pread(file, text, sizeof text, 0);
  printf("mapped %d %016llx\n", memcmp(text, map, sizeof text), (unsigned long long)mix(HASH_START, text, sizeof text));
  text[17] ^= 1;
  pwrite(file, text, sizeof text, 0);
  printf("written %d\n", memcmp(text, map, sizeof text));
  map = mremap(map, 5 * PAGE, 9 * PAGE, MREMAP_MAYMOVE);
  area = (char *)map;
  if (sigsetjmp(back, 1) == 0) map[8 * PAGE] = 1;
  else puts("beyond the end of the file");
}

int main(void) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  area = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  mprotect(area + PAGE, PAGE, PROT_READ);
  mprotect(area + 2 * PAGE, PAGE, PROT_NONE);
  memset(area, 1, PAGE);
  signals();
  processes();
  changing_code();
  files();
  return 0;
}
