/**
 * The one place that says where things lie in linear memory.
 *
 * Imported by the core (AssemblyScript) and by the devices' typed binding (TypeScript): untyped integer constants only,
 * so that both compilers read the same file. All values are byte addresses or byte offsets unless the name says so. A region begins where
 * the one before it ends, or at the next multiple of what it must be aligned to; layout-checks.ts asserts that, and that what lies in a region
 * fits, in builds with assertions.
 *
 *   0x000000  null guard, then the core's constant tables (data segments start at 1024, see asconfig.json)
 *   0x100000  SHARED: one machine's state that every vCPU and the devices touch
 *   0x120000  UART rings
 *   0x180000  CHUNKS: guest-physical address >> 21 -> linear address
 *   0x200000  PAGE_FLAGS: one byte per 4 KiB page of linear memory
 *   0x300000  vCPU blocks, 1 MiB each
 *   0x1300000 per-vCPU caches of decoded code, then the pool that guest RAM chunks are taken from (sizes chosen at start)
 */

/** First address that the core's data segments must not reach. */
export const STATIC_DATA_END = 0x100000;

// ---------------------------------------------------------------------------------------------------------------------
// SHARED block

export const SHARED = STATIC_DATA_END;
export const SHARED_SIZE = 0x20000;

// Machine configuration, written by the devices' half before the first vCPU runs.
/** u64: bytes of RAM below 4 GiB. */
export const CFG_LOWMEM = SHARED + 0x00;
/** u64: bytes of RAM from 4 GiB up. */
export const CFG_HIGHMEM = SHARED + 0x08;
/** u32: number of vCPUs. */
export const CFG_NCPUS = SHARED + 0x10;
/** u32: CFGF_* bits. */
export const CFG_FLAGS = SHARED + 0x14;
/** u32: start of the pool of 2 MiB RAM chunks (linear address, 2 MiB aligned). */
export const CFG_POOL_START = SHARED + 0x18;
/** u32: end of the pool, in 64 KiB Wasm pages (4 GiB does not fit a u32 as bytes). With CFGF_PAGED the host keeps some of it to give out itself. */
export const CFG_POOL_END_PAGES = SHARED + 0x1c;
/** u32 atomic: 2 MiB chunks handed out so far. */
export const POOL_USED_CHUNKS = SHARED + 0x20;
/** u32: non-zero once a guest touched more memory than the pool holds. */
export const POOL_EXHAUSTED = SHARED + 0x24;
/** u32: threads per core, cores per socket (CPUID leaves 1, 4, 0xB). */
export const CFG_THREADS = SHARED + 0x28;
export const CFG_CORES = SHARED + 0x2c;
/** u32: CPU model level 1, 2 or 3 (x86-64-v1..v3). */
export const CFG_CPU_LEVEL = SHARED + 0x30;
/** u64: CPUID features switched off by configuration, by index (see core-as/cpu/features.ts). */
export const CFG_FEATURES_OFF = SHARED + 0x38;
/** u64: instructions per second of the deterministic clock (with CFGF_DETERMINISTIC). */
export const CFG_INSNS_PER_SECOND = SHARED + 0x40;
/** u64: deterministic clock, ns; advanced by vCPU 0. */
export const DET_NOW_NS = SHARED + 0x48;
/** f64: nanoseconds added to the host clock (non-zero after a restore, so guest time continues where it stopped). */
export const CFG_TIME_OFFSET_NS = SHARED + 0x50;
/** u64: CPUID features switched on beyond the model's, by index. */
export const CFG_FEATURES_ON = SHARED + 0x58;
/** u32: bytes of boot ROM, which end at 4 GiB; what else lies in its lowest chunk is not memory. */
export const CFG_ROM_BYTES = SHARED + 0x60;
/** u32 atomic, with CFGF_PAGED: few chunks are left that can be given out: vCPUs that had to be given one rest at the next block boundary. */
export const MEMORY_LOW = SHARED + 0x64;

/** u64: compiled regions that hold the instruction at this linear address are shown (core-as/jit/dump.ts); 0: none. */
export const CFG_JIT_DUMP = SHARED + 0x68;

/** Writes to unknown MSRs are ignored and reads return 0 (-w). */
export const CFGF_IGNORE_MSRS = 1;
/** Local APICs start in x2APIC mode (-x). */
export const CFGF_X2APIC = 2;
/** Time is counted in instructions. */
export const CFGF_DETERMINISTIC = 4;
/** The lpc device exists: COM1-4 answer. */
export const CFGF_LPC = 8;
/** HPET is present. */
export const CFGF_HPET = 16;
/** RTC keeps UTC; otherwise local time (see rtc.ts). */
export const CFGF_RTC_UTC = 32;
/** The processor is one of AMD's, not one of Intel's. */
export const CFGF_AMD = 64;
/** Hot code is compiled to WebAssembly (core-as/jit). */
export const CFGF_JIT = 128;
/** PAUSE ends run(), so that another vCPU may have the host's processor (-P). */
export const CFGF_PAUSE_EXITS = 256;
/** With CFGF_JIT: 64-bit code is compiled before it runs at all, hot or not. */
export const CFGF_JIT_ALWAYS = 512;
/** The host brings in chunks that the pool has no room for (docs/memory.md). */
export const CFGF_PAGED = 1024;

/** i32 atomic: lock around the platform interrupt controllers, timers and UARTs (0 free, 1 held). */
export const INTC_LOCK = SHARED + 0x80;
/** i32 atomic: the devices' thread waits here; bumped when a UART ring or another host-visible state changed. */
export const HOST_DOORBELL = SHARED + 0x84;
/** u32 atomic: UARTn has output for the host or took input (bit n). */
export const HOST_UART_EVENTS = SHARED + 0x88;
/** u32 atomic: why the machine stops: SUSPEND_*; 0 while it runs. First writer wins. */
export const SUSPEND_REASON = SHARED + 0x8c;
/** u32 atomic: vCPUs (bit n) that sit in HLT with interrupts disabled. */
export const HALTED_CPUS = SHARED + 0x90;
/** u32 atomic: vCPUs (bit n) that have been started. */
export const ACTIVE_CPUS = SHARED + 0x94;
/** i32 atomic: the next ticket of the vCPUs' mailboxes; it only grows, and wraps (devices/machine/mailbox.ts). */
export const MAILBOX_TICKETS = SHARED + 0x98;

export const SUSPEND_NONE = 0;
export const SUSPEND_RESET = 1;
export const SUSPEND_POWEROFF = 2;
export const SUSPEND_HALT = 3;
export const SUSPEND_TRIPLEFAULT = 4;
export const SUSPEND_ERROR = 5;

/** i32 atomic: lock that makes locked operations on two words exclude each other (core-as/cpu/atomic-memory.ts). */
export const WIDE_LOCK = SHARED + 0xf8;
/** i32 atomic: lock around appending to the code ring. */
export const CODE_RING_LOCK = SHARED + 0xfc;
/** Ring of linear page numbers whose decoded code went stale: [u32 atomic head sequence][u32 x CODE_RING_ENTRIES]. */
export const CODE_RING_SEQ = SHARED + 0x100;
export const CODE_RING = SHARED + 0x104;
export const CODE_RING_ENTRIES = 256;

// State of the platform interrupt controllers and timers. The offsets inside each block belong to core-as/intc/.
export const PIC = SHARED + 0x1000;
export const PIC_SIZE = 0x100;
export const PIT = PIC + PIC_SIZE;
export const PIT_SIZE = 0x100;
export const IOAPIC = PIT + PIT_SIZE;
export const IOAPIC_SIZE = 0x400;
export const HPET = IOAPIC + IOAPIC_SIZE;
export const HPET_SIZE = 0x400;
export const RTC = HPET + HPET_SIZE;
export const RTC_SIZE = 0x200;
/** The CMOS RAM, clock registers included. */
export const RTC_RAM_SIZE = 0x80;
/** Behind it (core-as/intc/rtc.ts): i64 seconds since 1970-01-01 that the clock showed at the machine time f64 RTC_BASE_NS. */
export const RTC_BASE_SECONDS = RTC + 0x88;
export const RTC_BASE_NS = RTC + 0x90;
/** u64: seconds and periodic intervals since then whose flags were raised already. */
export const RTC_SECONDS_SEEN = RTC + 0x98;
export const RTC_INTERVALS_SEEN = RTC + 0xa0;
export const PMTIMER = RTC + RTC_SIZE;
export const PMTIMER_SIZE = 0x40;

/** 16550A register blocks: 0-3 are COM1-4, 4-7 are PCI uart functions. */
export const UART = SHARED + 0x2000;
export const UART_STRIDE = 0x100;
export const UART_COUNT = 8;

/** u32 atomic: CONFIG_ADDRESS of PCI configuration mechanism #1 (core-as/intc/pci-config.ts). */
export const PCI_CONFIG_ADDRESS = UART + UART_COUNT * UART_STRIDE;
/** u32 atomic per bus: slots that have functions (bit n). */
export const PCI_SLOTS = PCI_CONFIG_ADDRESS + 0x100;
export const PCI_SLOTS_SIZE = 256 * 4;

/** u32: how many answers of CPUID the configuration changes (`cpuid.*`), and then of each the fields CPUID_*. */
export const CPUID_OVERRIDES = SHARED + 0x3000;
export const CPUID_OVERRIDES_MAX = 64;
export const CPUID_OVERRIDES_SIZE = 8 + CPUID_OVERRIDES_MAX * 24;
/** Offset of the first entry, and bytes of each. */
export const CPUID_ENTRIES = 8;
export const CPUID_ENTRY_SIZE = 24;
/** u32: EAX of the CPUID; ECX, and whether it counts; the register (its number); bits that are replaced, and by what. */
export const CPUID_LEAF = 0x00;
export const CPUID_SUBLEAF = 0x04;
export const CPUID_ANY_SUBLEAF = 0x08;
export const CPUID_REGISTER = 0x0c;
export const CPUID_MASK = 0x10;
export const CPUID_VALUE = 0x14;

/**
 * Rings between a UART and the host: UARTn's output, then its input. head and tail are u32 atomics inside the UART block
 * (UART_TX_HEAD ...), counted without wrapping; an index is taken modulo UART_RING_SIZE.
 */
export const UART_RINGS = SHARED + SHARED_SIZE;
export const UART_RING_SIZE = 0x4000;
export const UART_RINGS_SIZE = UART_COUNT * 2 * UART_RING_SIZE;
/** Offsets in a UART block. Producer writes head, consumer writes tail. */
export const UART_TX_HEAD = 0xc0;
export const UART_TX_TAIL = 0xc4;
export const UART_RX_HEAD = 0xc8;
export const UART_RX_TAIL = 0xcc;
/** u32: non-zero when a backend is attached; output is dropped otherwise. */
export const UART_CONNECTED = 0xd0;
/** u32: the host wants to hear of output once so many bytes wait in the ring; 0 as 1. It looks by itself meanwhile. */
export const UART_TX_NOTIFY = 0xd4;
/** u32: I/O port at which a PCI function's registers are decoded; 0: nowhere. */
export const UART_IO_BASE = 0xd8;
/** u32: lines that a PCI function's UART interrupts on, one bit each: ISA lines 0-15, I/O APIC pins 16-23. */
export const UART_INTX_LINES = 0xdc;

// ---------------------------------------------------------------------------------------------------------------------
// Guest-physical memory

/** u32 per 2 MiB of guest-physical address space: linear address of the chunk, 2 MiB aligned, | CHUNK_* bits. */
export const CHUNKS = (UART_RINGS + UART_RINGS_SIZE + 0x7ffff) & ~0x7ffff;
/** Guest-physical addresses from here on are never RAM (chunks: 128 GiB). */
export const CHUNK_COUNT = 0x10000;
export const CHUNKS_SIZE = CHUNK_COUNT * 4;
export const CHUNK_SHIFT = 21;
export const CHUNK_SIZE = 1 << CHUNK_SHIFT;
/** The chunk is RAM; its linear address is 0 until first touched. */
export const CHUNK_RAM = 1;
/** Guest writes are not stored but go to the MMIO door. */
export const CHUNK_READONLY = 2;
/** A thread takes the chunk from the pool. */
export const CHUNK_BUSY = 4;
/** Memory of a device, mapped where its BAR says: RAM outside CFG_LOWMEM and CFG_HIGHMEM. */
export const CHUNK_DEVICE = 8;
/** Nobody has touched the chunk since all vCPUs were told to drop their translations: it may be taken away. Whoever touches it clears the bit. */
export const CHUNK_IDLE = 16;
/** The swap file holds the same bytes. Whoever writes to the chunk clears the bit. */
export const CHUNK_CLEAN = 32;
/** The chunk's bytes are in the swap file alone; it has no linear address. */
export const CHUNK_OUT = 64;

/** One byte per 4 KiB page of linear memory. */
export const PAGE_FLAGS = (CHUNKS + CHUNKS_SIZE + 0xfffff) & ~0xfffff;
export const PAGE_FLAGS_SIZE = 0x100000;
/** Some vCPU holds decoded code of this page: a write must call noteWrite. */
export const PAGE_CODE = 1;
/** Stores must take the slow path, which marks the page as PAGE_DIRTY and lets the next ones pass (devices/machine/device-ram.ts). */
export const PAGE_TRACKED = 2;
/** A page of a device's memory was stored to since its host last looked. */
export const PAGE_DIRTY = 4;

// ---------------------------------------------------------------------------------------------------------------------
// vCPU blocks

export const VCPU = PAGE_FLAGS + PAGE_FLAGS_SIZE;
export const VCPU_STRIDE = 0x200000;
export const MAX_VCPUS = 16;

// Architectural state (saved in a snapshot: [0, VCPU_STATE_SIZE)).
export const VCPU_STATE_SIZE = 0x3000;
/** u64 x 16: RAX RCX RDX RBX RSP RBP RSI RDI R8-R15. */
export const R_GPR = 0x000;
/** u64 x 16: temporaries of the micro-ops; slot 16 + 0. */
export const R_TEMP = R_GPR + 16 * 8;
/** u64: linear address of the page that the running code lies in, and that + 2^31. Micro-ops name registers by offsets of 8 bits. */
export const R_PAGE = 0x0e8;
export const R_PAGE_HIGH = 0x0f0;
/** u64: always zero (an absent base or index register). */
export const R_ZERO = 0x0f8;
export const R_RIP = 0x100;
/** u64: RFLAGS without the six arithmetic flags, which live in R_LAZY_*. */
export const R_RFLAGS = 0x108;
/** i64: the result the lazy flags derive from, sign-extended (see core-as/cpu/flags.ts). */
export const R_LAZY_RESULT = 0x110;
/** u32: carries of the last flag-setting operation. */
export const R_LAZY_AUX = 0x118;
export const R_CR0 = 0x120;
export const R_CR2 = 0x128;
export const R_CR3 = 0x130;
export const R_CR4 = 0x138;
export const R_CR8 = 0x140;
export const R_EFER = 0x148;
export const R_XCR0 = 0x150;
/** u64 x 8: DR0-DR7. */
export const R_DR = 0x160;
/** Segments ES CS SS DS FS GS LDTR TR, SEG_STRIDE bytes each. */
export const R_SEG = 0x200;
export const SEG_STRIDE = 0x20;
/** Offsets in a segment: u64 base, u32 limit (bytes, inclusive), u32 access (SDM 26.2: VMX access-rights format), u16 selector. */
export const SEG_BASE = 0x00;
export const SEG_LIMIT = 0x08;
export const SEG_ACCESS = 0x0c;
export const SEG_SELECTOR = 0x10;
export const R_GDT_BASE = R_SEG + 8 * SEG_STRIDE;
export const R_GDT_LIMIT = 0x308;
export const R_IDT_BASE = 0x310;
export const R_IDT_LIMIT = 0x318;
/** MSRs. */
export const R_MSR_STAR = 0x320;
export const R_MSR_LSTAR = 0x328;
export const R_MSR_CSTAR = 0x330;
export const R_MSR_SFMASK = 0x338;
export const R_MSR_KERNEL_GS_BASE = 0x340;
export const R_MSR_SYSENTER_CS = 0x348;
export const R_MSR_SYSENTER_ESP = 0x350;
export const R_MSR_SYSENTER_EIP = 0x358;
export const R_MSR_PAT = 0x360;
/** u64: added to the machine clock to give the TSC. */
export const R_TSC_OFFSET = 0x368;
export const R_MSR_TSC_AUX = 0x370;
export const R_MSR_MISC_ENABLE = 0x378;
export const R_MSR_MTRR_DEF_TYPE = 0x380;
/** u64 x 11: fixed-range MTRRs; u64 x 20: variable base/mask pairs. */
export const R_MSR_MTRR_FIXED = 0x388;
export const R_MSR_MTRR_VAR = R_MSR_MTRR_FIXED + 11 * 8;
export const R_MSR_DEBUGCTL = R_MSR_MTRR_VAR + 20 * 8;
export const R_MSR_TSC_ADJUST = 0x488;

/** u32: CPL. */
export const R_CPL = 0x490;
/** u32: SHADOW_*: interrupts are inhibited for the next instruction. */
export const R_INT_SHADOW = 0x494;
export const SHADOW_STI = 1;
/** After a load of SS, which holds back #DB as well (SDM vol. 3, 6.8.3). */
export const SHADOW_SS = 2;
/** u32: NMIs are blocked until IRET. */
export const R_NMI_BLOCKED = 0x498;
/** u32: activity: ACT_*. */
export const R_ACTIVITY = 0x49c;
/** u64: instructions retired. */
export const R_ICOUNT = 0x4a0;
/** u32: vCPU number. */
export const R_INDEX = 0x4a8;
/** u32: SIPI vector + 1 waiting for a vCPU in ACT_WAIT_SIPI (atomic). */
export const R_SIPI = 0x4ac;
/** u64: a #DB is due after the current instruction (DR6 bits). */
export const R_PENDING_DB = 0x4b0;
export const R_MSR_SPEC_CTRL = 0x4b8;

export const ACT_RUNNING = 0;
export const ACT_HALTED = 1;
export const ACT_WAIT_SIPI = 2;
export const ACT_SHUTDOWN = 3;

/** x87 state; offsets inside belong to core-as/fpu/state.ts. */
export const R_FPU = 0x800;
export const R_FPU_SIZE = 0x200;
/** u32: MXCSR. */
export const R_MXCSR = R_FPU + R_FPU_SIZE;
/** 16 x 32 bytes: YMM0-15 (XMM in the low half). 32-byte aligned. */
export const R_YMM = 0xa20;
/** 32-byte scratch slots for SIMD and x87 memory operands and temporaries: 8 of them. */
export const R_SIMD_SCRATCH = R_YMM + 16 * 32;
export const R_SIMD_SCRATCH_SIZE = 8 * 32;
/** 1 KiB scratch for x87 and XSAVE images. */
export const R_IMAGE_SCRATCH = 0x1000;
export const R_IMAGE_SCRATCH_SIZE = 0x400;

/** Local APIC; offsets inside belong to core-as/intc/lapic.ts. */
export const R_LAPIC = 0x2000;
export const R_LAPIC_SIZE = 0x800;

// What other threads write.
/** u32 atomic: PEND_* bits: reasons to leave straight-line execution at the next block boundary. */
export const R_PENDING = VCPU_STATE_SIZE;
/** i32 atomic: the vCPU's thread sleeps here in HLT; bumped and notified when R_PENDING gets a bit. */
export const R_DOORBELL = 0x3004;

/** The local APIC may have a deliverable interrupt, or the PIC's output changed: re-evaluate. */
export const PEND_INTR = 1;
export const PEND_NMI = 2;
export const PEND_INIT = 4;
export const PEND_SIPI = 8;
/** Leave run() with EXIT_STOPPED (pause, reset, destroy, debugger). */
export const PEND_STOP = 16;
/** Another vCPU asks for nothing more than a look at the code ring. */
export const PEND_KICK = 32;
/** The vCPU itself asks for a look at the clock: it has done much work (core-as/cpu/work.ts). */
export const PEND_LOOK = 64;
/** The vCPU was given a chunk while MEMORY_LOW was set. */
export const PEND_MEMORY = 128;

// What run() leaves behind when it returns.
/** u32: EXIT_*. */
export const R_EXIT_REASON = 0x3010;
/** f64: machine time, ns, of the next timer this vCPU must be awake for (Infinity: none). */
export const R_EXIT_DEADLINE_NS = 0x3018;
/** u32: detail: a vector, an MSR number ... */
export const R_EXIT_DETAIL = 0x3020;

/** Budget used up; call run() again. */
export const EXIT_BUDGET = 0;
/** HLT or wait-for-SIPI: sleep until R_PENDING, the deadline, or a doorbell. */
export const EXIT_HLT = 1;
/** SUSPEND_REASON is set. */
export const EXIT_SUSPEND = 2;
/** PEND_STOP was seen. */
export const EXIT_STOPPED = 3;
/** HLT with interrupts disabled on every active vCPU. */
export const EXIT_HALTED_FOREVER = 4;
/** Internal error: guest memory pool exhausted or a broken invariant; R_EXIT_DETAIL says which (ERR_*). */
export const EXIT_ERROR = 5;
/** MEMORY_LOW: call run() again when it is clear, or when the doorbell rings. */
export const EXIT_MEMORY = 6;

export const ERR_POOL_EXHAUSTED = 1;

// What a compiled region leaves behind (core-as/jit/abi.ts).
/** u32: the last slow access of a region raised a fault. */
export const R_JIT_FAULT = 0x3030;
/** u32: the TLB bank that data accesses use now. */
export const R_JIT_BANK = 0x3034;
/** u32: instructions left of the budget. */
export const R_JIT_BUDGET = 0x3038;
/** u32: JIT_*: why a helper ends the region. */
export const R_JIT_STATUS = 0x303c;
/** u64: linear address to go on at. */
export const R_JIT_TARGET = 0x3040;
/** Flags that a region left for the next one (core-as/jit/flags.ts): u32 kind, 0 when R_LAZY_* holds them; u64 operands. */
export const R_JIT_KIND = 0x3048;
export const R_JIT_FLAG_A = 0x3050;
export const R_JIT_FLAG_B = 0x3058;
/** u32: the bank of instruction translations in use (state.ts: itlbBank). */
export const R_ITLB_BANK = 0x3060;
/** u32: where the region that runs was entered (B_JIT). */
export const R_JIT_ENTRY = 0x3064;

/** u32: always 0; exchanged where a fence is needed (fence.ts). */
export const R_FENCE = 0x3068;
/** u32 atomic: CODE_RING_SEQ up to which this vCPU has done what the ring asks. */
export const R_RING_SEEN = 0x30f0;

/** u64: times that PAUSE ended run() (not architectural, not saved). */
export const R_PAUSE_EXITS = 0x3400;

/** 32 bytes: an instruction that crosses a page, put together for the decoder. */
export const R_DECODE_BUFFER = 0x3900;
export const R_DECODE_BUFFER_SIZE = 32;

/** Mailbox between this vCPU's thread and the devices' thread; offsets belong to devices/machine/mailbox.ts. */
export const R_MAILBOX = 0x4000;
export const R_MAILBOX_SIZE = 0x4000;

// Translations (core-as/mmu/banks.ts). A bank has entries for addresses with bit 63 clear, then for the others.
export const TLB_ENTRY_SIZE = 16;
/** Entries of a bank for data accesses, of each kind (reads, writes) and each half of the address space. */
export const TLB_ENTRIES = 4096;
export const DATA_BANK_SIZE = 2 * 2 * TLB_ENTRIES * TLB_ENTRY_SIZE;
export const DATA_BANK_COUNT = 3;
/** Entries of a bank for instruction fetches, of each half of the address space. */
export const ITLB_ENTRIES = 512;
export const FETCH_BANK_SIZE = 2 * ITLB_ENTRIES * TLB_ENTRY_SIZE;
export const FETCH_BANK_COUNT = 2;
/** The banks of one address space, and how many address spaces have some. */
export const TLB_SPACE_SIZE = DATA_BANK_COUNT * DATA_BANK_SIZE + FETCH_BANK_COUNT * FETCH_BANK_SIZE;
export const TLB_SPACE_COUNT = 8;

/** The TLB of one address space, then an empty bank. */
export const R_TLB = 0x10000;
export const R_TLB_SIZE = TLB_SPACE_SIZE + DATA_BANK_SIZE;

/** Notes on each address space that translations are kept of. */
export const R_SPACES = R_TLB + R_TLB_SIZE;
export const R_SPACE_NOTES_SIZE = 312;
export const R_SPACES_SIZE = TLB_SPACE_COUNT * R_SPACE_NOTES_SIZE;

/** Where a linear address's region is entered (core-as/jit/jump-cache.ts). */
export const R_JUMPS = (R_SPACES + R_SPACES_SIZE + 0xffff) & ~0xffff;
export const JUMP_COUNT = 4096;
export const R_JUMPS_SIZE = JUMP_COUNT * 16;

/** Scratch memory of the region compiler (core-as/jit), up to the end of the block. */
export const R_JIT = (R_JUMPS + R_JUMPS_SIZE + 0x1ffff) & ~0x1ffff;
export const R_JIT_SIZE = VCPU_STRIDE - R_JIT;

// Offsets in it. Per page of a region: u8 node number + 1 by offset, then u8 marks of block starts (region.ts).
export const JIT_NODE_AT = 0;
export const JIT_NODE_AT_SIZE = 0x8000;
export const JIT_STARTS = JIT_NODE_AT + JIT_NODE_AT_SIZE;
export const JIT_STARTS_SIZE = JIT_NODE_AT_SIZE;
export const JIT_NODES = JIT_STARTS + JIT_STARTS_SIZE;
export const JIT_NODES_SIZE = 0x4000;
/** Blocks of a region, and those that they lead to: u32 block, u32 page or distance (region.ts). */
export const JIT_WORK = JIT_NODES + JIT_NODES_SIZE;
export const JIT_WORK_SIZE = 0x1000;
/** u8: numbers of the nodes that returns and jumps through registers go to. */
export const JIT_PLACES = JIT_WORK + JIT_WORK_SIZE;
export const JIT_PLACES_SIZE = 0x100;
/** Pages, 16 bytes each: i64 distance from the first one, u32 linear address. */
export const JIT_PAGES = JIT_PLACES + JIT_PLACES_SIZE;
export const JIT_PAGES_SIZE = 0x100;
/** Per general register, 16 bytes: u32 value, i64 distance from it (ranges.ts); then the same for looking ahead. */
export const JIT_VALUES = JIT_PAGES + JIT_PAGES_SIZE;
export const JIT_VALUES_SIZE = 16 * 16;
export const JIT_AHEAD = JIT_VALUES + JIT_VALUES_SIZE;
export const JIT_AHEAD_SIZE = JIT_VALUES_SIZE;
/** Ranges that were checked: u32 value, u32 written, i64 first byte, i64 end. */
export const JIT_RANGES = JIT_AHEAD + JIT_AHEAD_SIZE;
export const JIT_RANGES_SIZE = 0xc00;
/** Lists of node numbers (structure.ts). */
export const JIT_LISTS = JIT_RANGES + JIT_RANGES_SIZE;
export const JIT_LISTS_SIZE = 0x9000;
/** Blocks that wait to be compiled (jit.ts): u64 page address, u32 block. */
export const JIT_QUEUE = JIT_LISTS + JIT_LISTS_SIZE;
export const JIT_QUEUE_SIZE = 0x200;
/** What was compiled: u32 block, u32 B_JIT. */
export const JIT_ENTRIES = JIT_QUEUE + JIT_QUEUE_SIZE;
export const JIT_ENTRIES_SIZE = 0xe00;
/** The module that is being written; the host copies it from here. */
export const JIT_CODE = JIT_ENTRIES + JIT_ENTRIES_SIZE;
export const JIT_CODE_SIZE = 0x58000;
/** The end of its room stays free: what is written before the check of the room must not reach the sites. */
export const JIT_CODE_SLACK = 0x1000;
/** Sites of the region that is being translated (exits.ts). */
export const JIT_SITES = JIT_CODE + JIT_CODE_SIZE + JIT_CODE_SLACK;
export const JIT_SITES_SIZE = R_JIT_SIZE - JIT_SITES;

/** Linear address and size of this vCPU's cache of decoded code (u32 each), set by the host before init(). */
export const R_CODE_CACHE = 0x3008;
export const R_CODE_CACHE_SIZE = 0x300c;

// What lies at the beginning of it.
/** TLBs of further address spaces. */
export const CACHE_TLB = 0;
export const CACHE_TLB_SIZE = (TLB_SPACE_COUNT - 1) * TLB_SPACE_SIZE;
/** u32 per linear page: the write entry that leads to it (core-as/mmu/writers.ts). */
export const CACHE_WRITERS = CACHE_TLB + CACHE_TLB_SIZE;
export const CACHE_WRITERS_SIZE = PAGE_FLAGS_SIZE * 4;
/** Page tables that walks ended in (core-as/mmu/table-cache.ts). */
export const CACHE_TABLES = CACHE_WRITERS + CACHE_WRITERS_SIZE;
export const CACHE_TABLES_SIZE = 0x1000;
/** Compiled regions (core-as/jit/jit.ts): u32 linear pages of each region. */
export const CACHE_REGIONS = CACHE_TABLES + CACHE_TABLES_SIZE;
/** Slots of the core's table that regions can have, and pages of a region; the host grows the table by so many slots. */
export const REGION_SLOTS = 0x8000;
export const REGION_PAGES = 8;
export const CACHE_REGION_PAGES = CACHE_REGIONS;
export const CACHE_REGION_PAGES_SIZE = REGION_SLOTS * REGION_PAGES * 4;
/** A bit per linear page: a region of another page has code of it. */
export const CACHE_SHARED_PAGES = CACHE_REGION_PAGES + CACHE_REGION_PAGES_SIZE;
export const CACHE_SHARED_PAGES_SIZE = PAGE_FLAGS_SIZE / 8;
/** A byte per hash of an instruction's address (core-as/jit/slow-sites.ts). */
export const CACHE_SLOW_SITES = CACHE_SHARED_PAGES + CACHE_SHARED_PAGES_SIZE;
export const CACHE_SLOW_SITES_SIZE = 0x10000;
/** u32 per slot (core-as/jit/slots.ts): address of the region's sites; the hot block it was formed around; how often it was left aside. */
export const CACHE_SLOT_SITES = CACHE_SLOW_SITES + CACHE_SLOW_SITES_SIZE;
export const CACHE_SLOT_SEEDS = CACHE_SLOT_SITES + REGION_SLOTS * 4;
export const CACHE_SLOT_ASIDES = CACHE_SLOT_SEEDS + REGION_SLOTS * 4;
/** Two u32 per slot: entries that are left until the region is formed again, and how many those were. */
export const CACHE_SLOT_ENTRIES = CACHE_SLOT_ASIDES + REGION_SLOTS * 4;
/** Counters that a user can read (core-as/jit/counts.ts), u64 each. */
export const CACHE_JIT_COUNTS = CACHE_SLOT_ENTRIES + REGION_SLOTS * 8;
/** Regions, modules, bytes of them, and nanoseconds that they took. */
export const COUNT_REGIONS = 0;
export const COUNT_MODULES = 8;
export const COUNT_BYTES = 16;
export const COUNT_NANOSECONDS = 24;
/** Times that a region was left, by SITE_*. */
export const COUNT_EXITS = 32;
export const COUNT_EXITS_COUNT = 5;
/** u64: instructions retired in regions, those that helpers ran for them included. */
export const COUNT_INSTRUCTIONS = COUNT_EXITS + COUNT_EXITS_COUNT * 8;
/** Micro-ops that helpers ran: by kind; of CALL_X by instruction; of SIMD_* by operation. */
export const COUNT_KINDS = 0x80;
export const COUNT_KINDS_COUNT = 256;
export const COUNT_CALLED = COUNT_KINDS + COUNT_KINDS_COUNT * 8;
export const COUNT_CALLED_COUNT = 512;
export const COUNT_VECTOR = COUNT_CALLED + COUNT_CALLED_COUNT * 8;
export const COUNT_VECTOR_COUNT = 1024;
export const CACHE_JIT_COUNTS_SIZE = COUNT_VECTOR + COUNT_VECTOR_COUNT * 8;
export const CACHE_REGIONS_SIZE = 0x1d4000;
/** Decoded blocks (core-as/cpu/code-cache.ts): u32 per hash, u32 per linear page, then blocks up to the end of the cache. */
export const CACHE_HASH = CACHE_REGIONS + CACHE_REGIONS_SIZE;
export const CACHE_HASH_COUNT = 0x10000;
export const CACHE_HASH_SIZE = CACHE_HASH_COUNT * 4;
export const CACHE_PAGES = CACHE_HASH + CACHE_HASH_SIZE;
export const CACHE_PAGES_SIZE = PAGE_FLAGS_SIZE * 4;
export const CACHE_BLOCKS = CACHE_PAGES + CACHE_PAGES_SIZE;

/** First address after the vCPU blocks: code caches, then the RAM pool. */
export const CACHES = VCPU + MAX_VCPUS * VCPU_STRIDE;
