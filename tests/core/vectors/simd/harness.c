/*
 * Runs single x86-64 instructions on the machine's own CPU: the oracle behind vectors.bin (see record.ts).
 *
 * Standard input and output are arrays of struct state. Registers are loaded from it, `code` runs, and they are stored
 * again; status says which signal the instruction caused: 0 none, 1 SIGFPE (#XM), 2 SIGILL (#UD), 3 SIGSEGV or SIGBUS.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

struct state {
    uint8_t ymm[16][32];
    uint64_t gpr[16];
    uint64_t mm[8];
    uint8_t memory[64];
    uint32_t mxcsr, rflags;
    uint8_t tags, top, pad[6];
    uint16_t exponents[8];
    uint32_t status, code_length;
    uint8_t code[16];
};

/* The record, the FXSAVE image and the code lie at fixed addresses, so that a record can hold pointers. */
#define BASE 0x10000000ul
struct fixed {
    struct state s __attribute__((aligned(64)));
    uint8_t fx[512] __attribute__((aligned(64)));
    uint64_t saved_rsp;
};
static struct fixed *const F = (struct fixed *)BASE;
#define CODE ((uint8_t *)(BASE + 0x10000))

_Static_assert(sizeof(struct state) == 824, "record layout");
_Static_assert(offsetof(struct state, memory) == 704, "record layout");
_Static_assert(offsetof(struct fixed, fx) == 832, "fixed layout");

void run(void);
extern char run_done[];

__asm__(
    ".intel_syntax noprefix\n"
    ".text\n.globl run\nrun:\n"
    "push rbx\npush rbp\npush r12\npush r13\npush r14\npush r15\n"
    "mov r14, 0x10000000\n"
    "fxrstor64 [r14+832]\n"
#define LOADY(n) "vmovups ymm" #n ", [r14+" #n "*32]\n"
    LOADY(0) LOADY(1) LOADY(2) LOADY(3) LOADY(4) LOADY(5) LOADY(6) LOADY(7)
    LOADY(8) LOADY(9) LOADY(10) LOADY(11) LOADY(12) LOADY(13) LOADY(14) LOADY(15)
    "ldmxcsr [r14+768]\n"
    "mov [r14+1344], rsp\n"
    "mov eax, [r14+772]\npush rax\npopfq\n"
    "mov rax, [r14+512]\nmov rcx, [r14+520]\nmov rdx, [r14+528]\nlea rbx, [r14+704]\n"
    "mov rsi, [r14+560]\nmov rdi, [r14+568]\nmov r8, [r14+576]\nmov r9, [r14+584]\nmov r10, [r14+592]\nmov r11, [r14+600]\n"
    "mov r15, 0x10010000\n"
    "call r15\n"
    ".globl run_done\nrun_done:\n"
    "mov [r14+512], rax\nmov [r14+520], rcx\nmov [r14+528], rdx\n"
    "mov [r14+560], rsi\nmov [r14+568], rdi\nmov [r14+576], r8\nmov [r14+584], r9\nmov [r14+592], r10\nmov [r14+600], r11\n"
    "pushfq\npop rax\nmov [r14+772], eax\n"
    "mov rsp, [r14+1344]\n"
    "stmxcsr [r14+768]\n"
#define SAVEY(n) "vmovups [r14+" #n "*32], ymm" #n "\n"
    SAVEY(0) SAVEY(1) SAVEY(2) SAVEY(3) SAVEY(4) SAVEY(5) SAVEY(6) SAVEY(7)
    SAVEY(8) SAVEY(9) SAVEY(10) SAVEY(11) SAVEY(12) SAVEY(13) SAVEY(14) SAVEY(15)
    "fxsave64 [r14+832]\n"
    "vzeroupper\nfninit\n"
    "push 0x1f80\nldmxcsr [rsp]\nadd rsp, 8\n"
    "pop r15\npop r14\npop r13\npop r12\npop rbp\npop rbx\nret\n"
    ".att_syntax\n");

_Static_assert(offsetof(struct fixed, saved_rsp) == 1344, "fixed layout");

static void handler(int signal, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    (void)info;
    F->s.status = signal == SIGFPE ? 1 : signal == SIGILL ? 2 : 3;
    uc->uc_mcontext.gregs[REG_RIP] = (greg_t)run_done;
    uc->uc_mcontext.gregs[REG_RSP] = (greg_t)(F->saved_rsp - 8);
}

static void image_from_state(void)
{
    uint8_t *fx = F->fx;
    struct state *s = &F->s;
    memset(fx, 0, 512);
    uint16_t control = 0x037f, status = (uint16_t)(s->top << 11);
    uint32_t mxcsr = 0x1f80;
    memcpy(fx, &control, 2);
    memcpy(fx + 2, &status, 2);
    fx[4] = s->tags;
    memcpy(fx + 24, &mxcsr, 4);
    for (int n = 0; n < 8; n++) {
        uint8_t *st = fx + 32 + 16 * ((n - s->top) & 7);
        memcpy(st, &s->mm[n], 8);
        memcpy(st + 8, &s->exponents[n], 2);
    }
}

static void state_from_image(void)
{
    uint8_t *fx = F->fx;
    struct state *s = &F->s;
    s->top = (fx[3] >> 3) & 7;
    s->tags = fx[4];
    for (int n = 0; n < 8; n++) {
        uint8_t *st = fx + 32 + 16 * ((n - s->top) & 7);
        memcpy(&s->mm[n], st, 8);
        memcpy(&s->exponents[n], st + 8, 2);
    }
    s->rflags &= 0x8d5;
}

int main(void)
{
    if (mmap((void *)BASE, 0x20000, PROT_READ | PROT_WRITE | PROT_EXEC,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) != (void *)BASE)
        return 1;
    struct sigaction sa;
    memset(&sa, 0, sizeof sa);
    sa.sa_sigaction = handler;
    sa.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK;
    static uint8_t alternate[65536];
    stack_t ss = { .ss_sp = alternate, .ss_size = sizeof alternate };
    sigaltstack(&ss, NULL);
    int signals[] = { SIGFPE, SIGILL, SIGSEGV, SIGBUS, SIGTRAP };
    for (unsigned i = 0; i < sizeof signals / sizeof *signals; i++) sigaction(signals[i], &sa, NULL);
    while (fread(&F->s, sizeof F->s, 1, stdin) == 1) {
        memcpy(CODE, F->s.code, F->s.code_length);
        CODE[F->s.code_length] = 0xc3;
        F->s.status = 0;
        image_from_state();
        run();
        state_from_image();
        if (fwrite(&F->s, sizeof F->s, 1, stdout) != 1) return 1;
    }
    return 0;
}
