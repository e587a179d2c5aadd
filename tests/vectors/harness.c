/*
 * Runs single instructions on the processor below and records what they did.
 *
 *     harness < cases > results
 *
 * An instruction is run by returning from a signal handler into a prepared register set with TF set; the #DB after it (or the fault
 * instead of it) arrives as the next signal, whose frame holds every register. No compiler-made code runs in between, so
 * RSP, the flags and the segment bases may have any value. Little-endian, every record 8-byte aligned:
 *
 *   file:   u32 image bytes, u32 case count, background image
 *   case:   u64 gpr[16], rflags, rip, fs base, gs base; u32 code length, u32 repeat; u8 code[32]; u32 patches, u32 wide;
 *           if wide: struct wide; patches: u32 image offset, u32 length, bytes (padded to 8)
 *   result: u64 gpr[16], rflags, rip, fs base, gs base, cr2; u32 trap number, u32 error code; if wide: struct wide;
 *           u32 differences, u32 0; differences: u32 image offset, u32 length, bytes (padded to 8)
 *
 * A wide case gives the SSE, AVX and x87 registers too. They travel through the XSAVE image of the signal frame, which the kernel saves
 * and restores without waiting for x87 exceptions, so that those too are seen as the instruction leaves them.
 *
 * The windows are those of windows.ts.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#define CODE_ADDRESS 0x10000000UL
#define CODE_SIZE 0x2000UL
#define IMAGE_SIZE 0x7000
#define EFLAGS_TF 0x100
#define REPEAT_LIMIT 4096

static const struct {
	uint64_t address;
	uint32_t size, offset;
	int writable;
} windows[] = {
	{ 0x10010000, 0x2000, 0x0000, 1 },
	{ 0x10020000, 0x1000, 0x2000, 0 },
	{ 0x10030000, 0x2000, 0x3000, 1 },
	{ 0x123450010000, 0x2000, 0x5000, 1 },
};
#define WINDOW_COUNT 4

struct registers {
	uint64_t gpr[16], rflags, rip, fs_base, gs_base;
};

/* The words of state.ts from MXCSR on; x87 registers and tags by physical number. */
struct wide {
	uint32_t mxcsr;
	uint32_t ymm[16][8];
	uint32_t fcw, fsw, ftw;
	struct { uint32_t low, high, se; } fpr[8];
};

/* Offsets in an XSAVE image (SDM volume 1, 13.4). */
#define XSAVE_XMM 160
#define XSAVE_HEADER 512
#define XSAVE_YMM 576
#define XSAVE_SIZE 832

/* Encoding order -> index in gregs. */
static const int greg_of[16] = { REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
	REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15 };

static struct registers input, output;
static struct wide wide_input, wide_output;
static uint32_t wide;
static uint8_t own_wide[XSAVE_SIZE];
static uint64_t out_cr2;
static uint32_t out_trap, out_error;
static uint32_t repeat;
static int running;
static uint32_t steps;
static uint64_t own_fs, own_gs;
static gregset_t own_registers;
static uint8_t background[IMAGE_SIZE], expected[IMAGE_SIZE];

static inline uint64_t read_fs(void) { uint64_t v; __asm__ volatile("rdfsbase %0" : "=r"(v)); return v; }
static inline uint64_t read_gs(void) { uint64_t v; __asm__ volatile("rdgsbase %0" : "=r"(v)); return v; }
static inline void write_fs(uint64_t v) { __asm__ volatile("wrfsbase %0" : : "r"(v)); }
static inline void write_gs(uint64_t v) { __asm__ volatile("wrgsbase %0" : : "r"(v)); }

static void
put_wide(uint8_t *image)
{
	const struct wide *from = &wide_input;
	uint16_t fcw = (uint16_t)from->fcw, fsw = (uint16_t)from->fsw;
	uint64_t components = 7;
	memset(image, 0, 24);
	memcpy(image, &fcw, 2);
	memcpy(image + 2, &fsw, 2);
	image[4] = (uint8_t)from->ftw;
	memcpy(image + 24, &from->mxcsr, 4);
	for (int n = 0; n < 8; n++) {
		uint8_t *st = image + 32 + 16 * ((n - (fsw >> 11)) & 7);
		memcpy(st, &from->fpr[n], 10);
		memset(st + 10, 0, 6);
	}
	for (int n = 0; n < 16; n++) {
		memcpy(image + XSAVE_XMM + n * 16, from->ymm[n], 16);
		memcpy(image + XSAVE_YMM + n * 16, from->ymm[n] + 4, 16);
	}
	memcpy(image + XSAVE_HEADER, &components, 8);
}

static void
take_wide(const uint8_t *image)
{
	struct wide *to = &wide_output;
	uint64_t components;
	memset(to, 0, sizeof *to);
	memcpy(&components, image + XSAVE_HEADER, 8);
	memcpy(&to->mxcsr, image + 24, 4);
	if (components & 1) {
		memcpy(&to->fcw, image, 2);
		memcpy(&to->fsw, image + 2, 2);
		to->ftw = image[4];
		for (int n = 0; n < 8; n++)
			memcpy(&to->fpr[n], image + 32 + 16 * ((n - (to->fsw >> 11)) & 7), 10);
	} else
		to->fcw = 0x37f;
	for (int n = 0; n < 16; n++) {
		if (components & 2)
			memcpy(to->ymm[n], image + XSAVE_XMM + n * 16, 16);
		if (components & 4)
			memcpy(to->ymm[n] + 4, image + XSAVE_YMM + n * 16, 16);
	}
}

/* FS is not ours in here until it is restored: nothing before that may touch thread-local storage. */
static void
on_signal(int signal_number, siginfo_t *info, void *context)
{
	(void)info;
	uint64_t fs = read_fs(), gs = read_gs();
	write_fs(own_fs);
	write_gs(own_gs);
	/* NT, AC and ID may have been set by POPF and would last. */
	__asm__ volatile("pushfq; andq $~0x244000, (%%rsp); popfq" : : : "memory", "cc");
	greg_t *gregs = ((ucontext_t *)context)->uc_mcontext.gregs;
	uint8_t *image = (uint8_t *)((ucontext_t *)context)->uc_mcontext.fpregs;

	if (!running) {
		if (signal_number != SIGTRAP || gregs[REG_TRAPNO] != 3) {
			fprintf(stderr, "harness: signal %d at %llx\n", signal_number, (unsigned long long)gregs[REG_RIP]);
			_exit(2);
		}
		memcpy(own_registers, gregs, sizeof(gregset_t));
		for (int i = 0; i < 16; i++)
			gregs[greg_of[i]] = (greg_t)input.gpr[i];
		gregs[REG_EFL] = (greg_t)(input.rflags | EFLAGS_TF);
		gregs[REG_RIP] = (greg_t)input.rip;
		if (wide) {
			memcpy(own_wide, image, XSAVE_SIZE);
			put_wide(image);
		}
		running = 1;
		steps = 0;
		fs = input.fs_base;
		gs = input.gs_base;
	} else {
		uint32_t trap = (uint32_t)gregs[REG_TRAPNO];
		if (repeat && trap == 1 && (uint64_t)gregs[REG_RIP] == input.rip && ++steps < REPEAT_LIMIT) {
			write_fs(fs);
			write_gs(gs);
			return;
		}
		for (int i = 0; i < 16; i++)
			output.gpr[i] = (uint64_t)gregs[greg_of[i]];
		output.rflags = (uint64_t)gregs[REG_EFL];
		output.rip = (uint64_t)gregs[REG_RIP];
		output.fs_base = fs;
		output.gs_base = gs;
		out_trap = trap;
		out_error = (uint32_t)gregs[REG_ERR];
		out_cr2 = (uint64_t)gregs[REG_CR2];
		/* Only the register part: the FPU pointer in uc_mcontext belongs to this frame. */
		for (int i = 0; i <= REG_EFL; i++)
			gregs[i] = own_registers[i];
		if (wide) {
			take_wide(image);
			memcpy(image, own_wide, XSAVE_SIZE);
		}
		running = 0;
		return;
	}
	write_fs(fs);
	write_gs(gs);
}

static void
take(void *into, size_t length)
{
	if (fread(into, 1, length, stdin) != length) {
		fprintf(stderr, "harness: input ends early\n");
		exit(2);
	}
}

static void
map(uint64_t address, size_t size, int protection)
{
	if (mmap((void *)address, size, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_POPULATE, -1, 0) !=
	    (void *)address) {
		perror("harness: mmap");
		exit(2);
	}
}

static void
put_differences(void)
{
	static uint8_t buffer[IMAGE_SIZE * 2];
	uint32_t head[2] = { 0, 0 };
	size_t used = 0;
	for (int w = 0; w < WINDOW_COUNT; w++) {
		uint8_t *now = (uint8_t *)windows[w].address, *was = expected + windows[w].offset;
		if (memcmp(now, was, windows[w].size) == 0)
			continue;
		for (uint32_t at = 0; at < windows[w].size;) {
			if (now[at] == was[at]) {
				at++;
				continue;
			}
			uint32_t end = at + 1;
			while (end < windows[w].size && now[end] != was[end])
				end++;
			uint32_t run[2] = { windows[w].offset + at, end - at };
			if (used + 16 + ((run[1] + 7) & ~7u) > sizeof buffer)
				abort();
			memcpy(buffer + used, run, 8);
			memset(buffer + used + 8, 0, (run[1] + 7) & ~7u);
			memcpy(buffer + used + 8, now + at, run[1]);
			used += 8 + ((run[1] + 7) & ~7u);
			head[0]++;
			at = end;
		}
	}
	fwrite(head, 1, 8, stdout);
	fwrite(buffer, 1, used, stdout);
}

int
main(void)
{
	static uint8_t alternate_stack[65536];
	stack_t stack = { .ss_sp = alternate_stack, .ss_size = sizeof alternate_stack };
	struct sigaction action = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER };
	const int signals[] = { SIGTRAP, SIGSEGV, SIGBUS, SIGILL, SIGFPE };
	uint32_t head[2];

	sigaltstack(&stack, NULL);
	for (int i = 0; i < 5; i++)
		sigaction(signals[i], &action, NULL);
	own_fs = read_fs();
	own_gs = read_gs();
	map(CODE_ADDRESS, CODE_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC);
	memset((void *)CODE_ADDRESS, 0xcc, CODE_SIZE);
	for (int w = 0; w < WINDOW_COUNT; w++)
		map(windows[w].address, windows[w].size, PROT_READ | PROT_WRITE);

	take(head, 8);
	if (head[0] != IMAGE_SIZE)
		return 2;
	take(background, IMAGE_SIZE);
	for (uint32_t n = 0; n < head[1]; n++) {
		struct { uint32_t code_length, repeat; uint8_t code[32]; uint32_t patches, wide; } rest;
		take(&input, sizeof input);
		take(&rest, sizeof rest);
		repeat = rest.repeat;
		wide = rest.wide;
		if (wide)
			take(&wide_input, sizeof wide_input);
		memcpy(expected, background, IMAGE_SIZE);
		for (uint32_t p = 0; p < rest.patches; p++) {
			uint32_t patch[2];
			uint8_t bytes[4096];
			take(patch, 8);
			if (patch[1] > sizeof bytes - 8 || patch[0] + patch[1] > IMAGE_SIZE)
				return 2;
			take(bytes, (patch[1] + 7) & ~7u);
			memcpy(expected + patch[0], bytes, patch[1]);
		}
		for (int w = 0; w < WINDOW_COUNT; w++) {
			void *now = (void *)windows[w].address;
			if (!windows[w].writable && memcmp(now, expected + windows[w].offset, windows[w].size) != 0)
				mprotect(now, windows[w].size, PROT_READ | PROT_WRITE);
			if (memcmp(now, expected + windows[w].offset, windows[w].size) != 0)
				memcpy(now, expected + windows[w].offset, windows[w].size);
			if (!windows[w].writable)
				mprotect(now, windows[w].size, PROT_READ);
		}
		/* The last bytes of an instruction may lie beyond the window: that is a fetch fault. */
		uint64_t room = CODE_ADDRESS + CODE_SIZE - input.rip;
		size_t length = rest.code_length < room ? rest.code_length : room;
		memcpy((void *)input.rip, rest.code, length);
		__asm__ volatile("int3" : : : "memory");
		memset((void *)input.rip, 0xcc, length);
		fwrite(&output, 1, sizeof output, stdout);
		fwrite(&out_cr2, 1, 8, stdout);
		fwrite(&out_trap, 1, 4, stdout);
		fwrite(&out_error, 1, 4, stdout);
		if (wide)
			fwrite(&wide_output, 1, sizeof wide_output, stdout);
		put_differences();
	}
	return 0;
}
