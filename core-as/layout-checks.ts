/**
 * What layout.ts promises, asserted when an instance of a build with assertions starts (`npm run build:core:checked`, the tests of tests/core):
 * regions follow one another, are aligned as their users need, and hold what is put into them. Files that divide a region further assert that
 * at their end. A release build contains none of this.
 */
import * as L from './layout';
import { S_CODE, S_FORM, S_OFFSET, S_PAGE, S_REST, S_TIMES, S_UOP, SITE_SIZE } from './jit/abi';
import {
  FPU_CONTROL,
  FPU_CS,
  FPU_DP,
  FPU_DS,
  FPU_FOP,
  FPU_IP,
  FPU_LAST_OPCODE,
  FPU_REGISTERS,
  FPU_STATUS,
  FPU_TOP,
  FPU_VALID,
} from './fpu/state';
import {
  REG_PAGE,
  REG_PAGE_HIGH,
  REG_ZERO,
  T0,
  T1,
  UOP_SIZE,
  U_AT,
  U_BASE,
  U_D,
  U_DISP,
  U_IDX,
  U_IMM,
  U_INDEX,
  U_KIND,
  U_LEN,
  U_LINK,
  U_NEXT,
  U_OFF,
  U_OP,
  U_S,
  U_SCALE,
  U_SEG,
  U_SUB,
} from './cpu/uops';

/** A field of some bytes begins where the one before it ended or later, and is aligned to its size. */
// @ts-ignore: decorator
@inline
function follows(end: i32, field: i32, bytes: i32): bool {
  return field >= end && field % bytes === 0;
}

// ---------------------------------------------------------------------------------------------------------------------
// Linear memory

assert(<i32>__heap_base <= L.STATIC_DATA_END, 'constant tables reach into the shared block');
assert(L.SHARED === L.STATIC_DATA_END);
assert(L.SHARED + L.SHARED_SIZE === L.UART_RINGS);
assert(L.UART_RINGS + L.UART_RINGS_SIZE <= L.CHUNKS);
assert(L.CHUNKS + L.CHUNKS_SIZE <= L.PAGE_FLAGS);
assert(L.PAGE_FLAGS + L.PAGE_FLAGS_SIZE === L.VCPU);
assert(L.VCPU + L.MAX_VCPUS * L.VCPU_STRIDE === L.CACHES);
assert(L.SHARED % 0x10000 === 0);
assert(L.CHUNKS % 8 === 0);
assert(L.VCPU % 0x10000 === 0);
assert(L.CACHES % 0x10000 === 0);
assert(L.MAX_VCPUS <= 32, 'HALTED_CPUS and ACTIVE_CPUS have a bit per vCPU');
assert(popcnt(L.VCPU_STRIDE) === 1);
// One byte per 4 KiB of 4 GiB.
assert(L.PAGE_FLAGS_SIZE === 1 << 20);
assert(L.CHUNK_SIZE === 1 << L.CHUNK_SHIFT);
assert(L.CHUNKS_SIZE === L.CHUNK_COUNT * 4);
assert(L.CHUNK_OUT === 1 << 6 && L.CHUNK_OUT < L.CHUNK_SIZE);
assert(
  (L.CHUNK_RAM | L.CHUNK_READONLY | L.CHUNK_BUSY | L.CHUNK_DEVICE | L.CHUNK_IDLE | L.CHUNK_CLEAN | L.CHUNK_OUT) ===
    2 * L.CHUNK_OUT - 1,
);
assert(popcnt(L.PAGE_CODE | L.PAGE_TRACKED | L.PAGE_DIRTY) === 3);

// ---------------------------------------------------------------------------------------------------------------------
// Shared block: configuration, then what threads share, then the chips

assert(follows(L.SHARED, L.CFG_LOWMEM, 8));
assert(follows(L.CFG_LOWMEM + 8, L.CFG_HIGHMEM, 8));
assert(follows(L.CFG_HIGHMEM + 8, L.CFG_NCPUS, 4));
assert(follows(L.CFG_NCPUS + 4, L.CFG_FLAGS, 4));
assert(follows(L.CFG_FLAGS + 4, L.CFG_POOL_START, 4));
assert(follows(L.CFG_POOL_START + 4, L.CFG_POOL_END_PAGES, 4));
assert(follows(L.CFG_POOL_END_PAGES + 4, L.POOL_USED_CHUNKS, 4));
assert(follows(L.POOL_USED_CHUNKS + 4, L.POOL_EXHAUSTED, 4));
assert(follows(L.POOL_EXHAUSTED + 4, L.CFG_THREADS, 4));
assert(follows(L.CFG_THREADS + 4, L.CFG_CORES, 4));
assert(follows(L.CFG_CORES + 4, L.CFG_CPU_LEVEL, 4));
assert(follows(L.CFG_CPU_LEVEL + 4, L.CFG_FEATURES_OFF, 8));
assert(follows(L.CFG_FEATURES_OFF + 8, L.CFG_INSNS_PER_SECOND, 8));
assert(follows(L.CFG_INSNS_PER_SECOND + 8, L.DET_NOW_NS, 8));
assert(follows(L.DET_NOW_NS + 8, L.CFG_TIME_OFFSET_NS, 8));
assert(follows(L.CFG_TIME_OFFSET_NS + 8, L.CFG_FEATURES_ON, 8));
assert(follows(L.CFG_FEATURES_ON + 8, L.CFG_ROM_BYTES, 4));
assert(follows(L.CFG_ROM_BYTES + 4, L.MEMORY_LOW, 4));
assert(follows(L.MEMORY_LOW + 4, L.CFG_JIT_DUMP, 8));
assert(follows(L.CFG_JIT_DUMP + 8, L.INTC_LOCK, 4));
assert(follows(L.INTC_LOCK + 4, L.HOST_DOORBELL, 4));
assert(follows(L.HOST_DOORBELL + 4, L.HOST_UART_EVENTS, 4));
assert(follows(L.HOST_UART_EVENTS + 4, L.SUSPEND_REASON, 4));
assert(follows(L.SUSPEND_REASON + 4, L.HALTED_CPUS, 4));
assert(follows(L.HALTED_CPUS + 4, L.ACTIVE_CPUS, 4));
assert(follows(L.ACTIVE_CPUS + 4, L.MAILBOX_TICKETS, 4));
assert(follows(L.MAILBOX_TICKETS + 4, L.WIDE_LOCK, 4));
assert(follows(L.WIDE_LOCK + 4, L.CODE_RING_LOCK, 4));
assert(follows(L.CODE_RING_LOCK + 4, L.CODE_RING_SEQ, 4));
assert(follows(L.CODE_RING_SEQ + 4, L.CODE_RING, 4));
assert(popcnt(L.CODE_RING_ENTRIES) === 1, 'sequence numbers wrap');
assert(L.CODE_RING + L.CODE_RING_ENTRIES * 4 <= L.PIC);
assert(L.PIC % 0x1000 === 0);
assert(L.PIC + L.PIC_SIZE === L.PIT);
assert(L.PIT + L.PIT_SIZE === L.IOAPIC);
assert(L.IOAPIC + L.IOAPIC_SIZE === L.HPET);
assert(L.HPET + L.HPET_SIZE === L.RTC);
assert(L.RTC + L.RTC_SIZE === L.PMTIMER);
assert(L.PMTIMER + L.PMTIMER_SIZE <= L.UART);
assert(L.UART + L.UART_COUNT * L.UART_STRIDE === L.PCI_CONFIG_ADDRESS && L.PCI_CONFIG_ADDRESS % 4 === 0);
assert(follows(L.PCI_CONFIG_ADDRESS + 4, L.PCI_SLOTS, 4));
assert(L.PCI_SLOTS + L.PCI_SLOTS_SIZE <= L.CPUID_OVERRIDES && L.CPUID_OVERRIDES % 4 === 0);
assert(L.CPUID_ENTRIES + L.CPUID_OVERRIDES_MAX * L.CPUID_ENTRY_SIZE === L.CPUID_OVERRIDES_SIZE);
assert(L.CPUID_VALUE + 4 === L.CPUID_ENTRY_SIZE);
assert(L.CPUID_OVERRIDES + L.CPUID_OVERRIDES_SIZE <= L.SHARED + L.SHARED_SIZE);
assert(L.UART_COUNT <= 32, 'HOST_UART_EVENTS has a bit per UART');
assert(popcnt(L.UART_RING_SIZE) === 1, 'heads and tails wrap');
assert(follows(L.UART_TX_HEAD + 4, L.UART_TX_TAIL, 4));
assert(follows(L.UART_TX_TAIL + 4, L.UART_RX_HEAD, 4));
assert(follows(L.UART_RX_HEAD + 4, L.UART_RX_TAIL, 4));
assert(follows(L.UART_RX_TAIL + 4, L.UART_CONNECTED, 4));
assert(follows(L.UART_CONNECTED + 4, L.UART_TX_NOTIFY, 4));
assert(follows(L.UART_TX_NOTIFY + 4, L.UART_IO_BASE, 4));
assert(follows(L.UART_IO_BASE + 4, L.UART_INTX_LINES, 4));
assert(L.UART_INTX_LINES + 4 <= L.UART_STRIDE);
assert(follows(L.RTC + L.RTC_RAM_SIZE, L.RTC_BASE_SECONDS, 8));
assert(follows(L.RTC_BASE_SECONDS + 8, L.RTC_BASE_NS, 8));
assert(follows(L.RTC_BASE_NS + 8, L.RTC_SECONDS_SEEN, 8));
assert(follows(L.RTC_SECONDS_SEEN + 8, L.RTC_INTERVALS_SEEN, 8));
assert(L.RTC_INTERVALS_SEEN + 8 <= L.RTC + L.RTC_SIZE);

// ---------------------------------------------------------------------------------------------------------------------
// vCPU block: architectural state

assert(L.R_GPR === 0, 'register n is at offset n * 8');
assert(L.R_TEMP === L.R_GPR + 16 * 8);
assert(T0 === <u32>L.R_TEMP && T1 === T0 + 8);
assert(follows(L.R_TEMP + 16, L.R_PAGE, 8));
assert(follows(L.R_PAGE + 8, L.R_PAGE_HIGH, 8));
assert(follows(L.R_PAGE_HIGH + 8, L.R_ZERO, 8));
assert(REG_PAGE === <u32>L.R_PAGE && REG_PAGE_HIGH === <u32>L.R_PAGE_HIGH && REG_ZERO === <u32>L.R_ZERO);
assert(L.R_ZERO + 8 <= 0x100, 'micro-ops name registers by one byte');
assert(follows(L.R_ZERO + 8, L.R_RIP, 8));
assert(follows(L.R_RIP + 8, L.R_RFLAGS, 8));
assert(follows(L.R_RFLAGS + 8, L.R_LAZY_RESULT, 8));
assert(follows(L.R_LAZY_RESULT + 8, L.R_LAZY_AUX, 4));
assert(follows(L.R_LAZY_AUX + 4, L.R_CR0, 8));
assert(L.R_CR2 === L.R_CR0 + 8 && L.R_CR3 === L.R_CR2 + 8 && L.R_CR4 === L.R_CR3 + 8 && L.R_CR8 === L.R_CR4 + 8);
assert(follows(L.R_CR8 + 8, L.R_EFER, 8));
assert(follows(L.R_EFER + 8, L.R_XCR0, 8));
assert(follows(L.R_XCR0 + 8, L.R_DR, 8));
assert(follows(L.R_DR + 8 * 8, L.R_SEG, 8));
assert(follows(L.SEG_BASE + 8, L.SEG_LIMIT, 4));
assert(follows(L.SEG_LIMIT + 4, L.SEG_ACCESS, 4));
assert(follows(L.SEG_ACCESS + 4, L.SEG_SELECTOR, 2));
assert(L.SEG_SELECTOR + 2 <= L.SEG_STRIDE);
assert(L.R_SEG + 8 * L.SEG_STRIDE === L.R_GDT_BASE);
assert(follows(L.R_GDT_BASE + 8, L.R_GDT_LIMIT, 4));
assert(follows(L.R_GDT_LIMIT + 4, L.R_IDT_BASE, 8));
assert(follows(L.R_IDT_BASE + 8, L.R_IDT_LIMIT, 4));
assert(follows(L.R_IDT_LIMIT + 4, L.R_MSR_STAR, 8));
assert(
  L.R_MSR_LSTAR === L.R_MSR_STAR + 8 && L.R_MSR_CSTAR === L.R_MSR_LSTAR + 8 && L.R_MSR_SFMASK === L.R_MSR_CSTAR + 8,
);
assert(follows(L.R_MSR_SFMASK + 8, L.R_MSR_KERNEL_GS_BASE, 8));
assert(follows(L.R_MSR_KERNEL_GS_BASE + 8, L.R_MSR_SYSENTER_CS, 8));
assert(follows(L.R_MSR_SYSENTER_CS + 8, L.R_MSR_SYSENTER_ESP, 8));
assert(follows(L.R_MSR_SYSENTER_ESP + 8, L.R_MSR_SYSENTER_EIP, 8));
assert(follows(L.R_MSR_SYSENTER_EIP + 8, L.R_MSR_PAT, 8));
assert(follows(L.R_MSR_PAT + 8, L.R_TSC_OFFSET, 8));
assert(follows(L.R_TSC_OFFSET + 8, L.R_MSR_TSC_AUX, 8));
assert(follows(L.R_MSR_TSC_AUX + 8, L.R_MSR_MISC_ENABLE, 8));
assert(follows(L.R_MSR_MISC_ENABLE + 8, L.R_MSR_MTRR_DEF_TYPE, 8));
assert(follows(L.R_MSR_MTRR_DEF_TYPE + 8, L.R_MSR_MTRR_FIXED, 8));
assert(L.R_MSR_MTRR_FIXED + 11 * 8 === L.R_MSR_MTRR_VAR);
assert(L.R_MSR_MTRR_VAR + 20 * 8 === L.R_MSR_DEBUGCTL);
assert(follows(L.R_MSR_DEBUGCTL + 8, L.R_MSR_TSC_ADJUST, 8));
assert(follows(L.R_MSR_TSC_ADJUST + 8, L.R_CPL, 4));
assert(follows(L.R_CPL + 4, L.R_INT_SHADOW, 4));
assert(follows(L.R_INT_SHADOW + 4, L.R_NMI_BLOCKED, 4));
assert(follows(L.R_NMI_BLOCKED + 4, L.R_ACTIVITY, 4));
assert(follows(L.R_ACTIVITY + 4, L.R_ICOUNT, 8));
assert(follows(L.R_ICOUNT + 8, L.R_INDEX, 4));
assert(follows(L.R_INDEX + 4, L.R_SIPI, 4));
assert(follows(L.R_SIPI + 4, L.R_PENDING_DB, 8));
assert(follows(L.R_PENDING_DB + 8, L.R_MSR_SPEC_CTRL, 8));
assert(L.R_MSR_SPEC_CTRL + 8 <= L.R_FPU);
assert(FPU_REGISTERS === L.R_FPU && L.R_FPU % 16 === 0);
assert(follows(FPU_REGISTERS + 8 * 16, FPU_CONTROL, 4));
assert(follows(FPU_CONTROL + 4, FPU_STATUS, 4));
assert(follows(FPU_STATUS + 4, FPU_TOP, 4));
assert(follows(FPU_TOP + 4, FPU_VALID, 4));
assert(follows(FPU_VALID + 4, FPU_FOP, 4));
assert(follows(FPU_FOP + 4, FPU_LAST_OPCODE, 4));
assert(follows(FPU_LAST_OPCODE + 4, FPU_IP, 8));
assert(follows(FPU_IP + 8, FPU_DP, 8));
assert(follows(FPU_DP + 8, FPU_CS, 4));
assert(follows(FPU_CS + 4, FPU_DS, 4));
assert(FPU_DS + 4 <= L.R_FPU + L.R_FPU_SIZE);
assert(L.R_MXCSR === L.R_FPU + L.R_FPU_SIZE);
assert(follows(L.R_MXCSR + 4, L.R_YMM, 32));
assert(L.R_YMM + 16 * 32 === L.R_SIMD_SCRATCH && L.R_SIMD_SCRATCH % 32 === 0);
assert(L.R_SIMD_SCRATCH + L.R_SIMD_SCRATCH_SIZE <= L.R_IMAGE_SCRATCH);
assert(L.R_IMAGE_SCRATCH % 64 === 0, 'XSAVE images are aligned to 64 bytes');
// FXSAVE, XSAVE header, YMM.
assert(L.R_IMAGE_SCRATCH_SIZE >= 512 + 64 + 256);
assert(L.R_IMAGE_SCRATCH + L.R_IMAGE_SCRATCH_SIZE <= L.R_LAPIC);
assert(L.R_LAPIC + L.R_LAPIC_SIZE <= L.VCPU_STATE_SIZE);

// ---------------------------------------------------------------------------------------------------------------------
// vCPU block: what is not saved

assert(L.R_PENDING === L.VCPU_STATE_SIZE);
assert(follows(L.R_PENDING + 4, L.R_DOORBELL, 4));
assert(follows(L.R_DOORBELL + 4, L.R_CODE_CACHE, 4));
assert(follows(L.R_CODE_CACHE + 4, L.R_CODE_CACHE_SIZE, 4));
assert(follows(L.R_CODE_CACHE_SIZE + 4, L.R_EXIT_REASON, 4));
assert(follows(L.R_EXIT_REASON + 4, L.R_EXIT_DEADLINE_NS, 8));
assert(follows(L.R_EXIT_DEADLINE_NS + 8, L.R_EXIT_DETAIL, 4));
assert(follows(L.R_EXIT_DETAIL + 4, L.R_JIT_FAULT, 4));
assert(follows(L.R_JIT_FAULT + 4, L.R_JIT_BANK, 4));
assert(follows(L.R_JIT_BANK + 4, L.R_JIT_BUDGET, 4));
assert(follows(L.R_JIT_BUDGET + 4, L.R_JIT_STATUS, 4));
assert(follows(L.R_JIT_STATUS + 4, L.R_JIT_TARGET, 8));
assert(follows(L.R_JIT_TARGET + 8, L.R_JIT_KIND, 4));
assert(follows(L.R_JIT_KIND + 4, L.R_JIT_FLAG_A, 8));
assert(follows(L.R_JIT_FLAG_A + 8, L.R_JIT_FLAG_B, 8));
assert(follows(L.R_JIT_FLAG_B + 8, L.R_ITLB_BANK, 4));
assert(follows(L.R_ITLB_BANK + 4, L.R_JIT_ENTRY, 4));
assert(follows(L.R_JIT_ENTRY + 4, L.R_FENCE, 4));
assert(follows(L.R_FENCE + 4, L.R_RING_SEEN, 4));
assert(follows(L.R_RING_SEEN + 4, L.R_PAUSE_EXITS, 8));
assert(L.R_PAUSE_EXITS + 8 <= L.R_DECODE_BUFFER);
assert(L.R_DECODE_BUFFER_SIZE >= 15 + 8, 'the longest instruction, and what is read at once beyond it');
assert(L.R_DECODE_BUFFER + L.R_DECODE_BUFFER_SIZE <= L.R_MAILBOX);
assert(L.R_MAILBOX + L.R_MAILBOX_SIZE <= L.R_TLB);
assert(L.R_TLB % L.TLB_ENTRY_SIZE === 0);
assert(popcnt(L.TLB_ENTRIES) === 1 && popcnt(L.ITLB_ENTRIES) === 1);
assert(L.R_TLB_SIZE === L.TLB_SPACE_SIZE + L.DATA_BANK_SIZE);
assert(L.R_TLB + L.R_TLB_SIZE === L.R_SPACES);
assert(L.R_SPACES + L.R_SPACES_SIZE <= L.R_JUMPS);
assert(popcnt(L.JUMP_COUNT) === 1);
assert(L.R_JUMPS % 16 === 0 && L.R_JUMPS_SIZE === L.JUMP_COUNT * 16);
assert(L.R_JUMPS + L.R_JUMPS_SIZE <= L.R_JIT);
assert(L.R_JIT + L.R_JIT_SIZE === L.VCPU_STRIDE);

// ---------------------------------------------------------------------------------------------------------------------
// Scratch memory of the region compiler, and the cache of code

assert(L.JIT_NODE_AT + L.JIT_NODE_AT_SIZE === L.JIT_STARTS);
assert(L.JIT_STARTS + L.JIT_STARTS_SIZE === L.JIT_NODES);
assert(L.JIT_NODES + L.JIT_NODES_SIZE === L.JIT_WORK && L.JIT_NODES % 64 === 0);
assert(L.JIT_WORK + L.JIT_WORK_SIZE === L.JIT_PLACES);
assert(L.JIT_PLACES + L.JIT_PLACES_SIZE === L.JIT_PAGES && L.JIT_PAGES % 16 === 0);
assert(L.JIT_PAGES + L.JIT_PAGES_SIZE === L.JIT_VALUES);
assert(L.JIT_VALUES + L.JIT_VALUES_SIZE === L.JIT_AHEAD && L.JIT_VALUES % 16 === 0);
assert(L.JIT_AHEAD + L.JIT_AHEAD_SIZE === L.JIT_RANGES && L.JIT_AHEAD_SIZE === L.JIT_VALUES_SIZE);
assert(L.JIT_RANGES + L.JIT_RANGES_SIZE === L.JIT_LISTS && L.JIT_RANGES % 8 === 0);
assert(L.JIT_LISTS + L.JIT_LISTS_SIZE === L.JIT_QUEUE);
assert(L.JIT_QUEUE + L.JIT_QUEUE_SIZE === L.JIT_ENTRIES && L.JIT_QUEUE % 16 === 0);
assert(L.JIT_ENTRIES + L.JIT_ENTRIES_SIZE === L.JIT_CODE);
assert(L.JIT_CODE + L.JIT_CODE_SIZE + L.JIT_CODE_SLACK === L.JIT_SITES && L.JIT_SITES % 8 === 0);
assert(L.JIT_SITES + L.JIT_SITES_SIZE === L.R_JIT_SIZE);
assert(S_OFFSET === 0 && follows(S_OFFSET + 4, S_UOP, 4));
assert(follows(S_UOP + 4, S_PAGE, 4));
assert(follows(S_PAGE + 4, S_REST, 4));
assert(follows(S_REST + 1, S_CODE, 1));
assert(follows(S_CODE + 1, S_FORM, 1));
assert(follows(S_FORM + 1, S_TIMES, 1));
assert(S_TIMES + 1 <= SITE_SIZE && SITE_SIZE % 8 === 0);
assert(L.CACHE_TLB_SIZE === (L.TLB_SPACE_COUNT - 1) * L.TLB_SPACE_SIZE);
assert(L.CACHE_TLB + L.CACHE_TLB_SIZE === L.CACHE_WRITERS && L.CACHE_WRITERS % 4 === 0);
assert(L.CACHE_WRITERS_SIZE === L.PAGE_FLAGS_SIZE * 4);
assert(L.CACHE_WRITERS + L.CACHE_WRITERS_SIZE === L.CACHE_TABLES && L.CACHE_TABLES % 8 === 0);
assert(L.CACHE_TABLES + L.CACHE_TABLES_SIZE === L.CACHE_REGIONS);
assert(popcnt(L.REGION_SLOTS) === 1);
assert(L.CACHE_SLOT_ENTRIES + L.REGION_SLOTS * 8 === L.CACHE_JIT_COUNTS);
assert(L.CACHE_JIT_COUNTS + L.CACHE_JIT_COUNTS_SIZE <= L.CACHE_REGIONS + L.CACHE_REGIONS_SIZE);
assert(L.COUNT_EXITS + L.COUNT_EXITS_COUNT * 8 <= L.COUNT_KINDS);
assert(L.CACHE_SHARED_PAGES_SIZE * 8 === L.PAGE_FLAGS_SIZE);
assert(popcnt(L.CACHE_SLOW_SITES_SIZE) === 1);
assert(L.CACHE_REGIONS + L.CACHE_REGIONS_SIZE === L.CACHE_HASH);
assert(popcnt(L.CACHE_HASH_COUNT) === 1);
assert(L.CACHE_PAGES_SIZE === L.PAGE_FLAGS_SIZE * 4);
assert(L.CACHE_PAGES + L.CACHE_PAGES_SIZE === L.CACHE_BLOCKS && L.CACHE_BLOCKS % 8 === 0);

// ---------------------------------------------------------------------------------------------------------------------
// Micro-ops

assert(U_KIND === 0 && follows(U_KIND + 1, U_OP, 1));
assert(follows(U_OP + 1, U_LEN, 1));
assert(U_AT === U_BASE && U_NEXT === U_DISP, 'branches have no memory operand');
assert(follows(U_LEN + 1, U_INDEX, 1));
assert(follows(U_INDEX + 1, U_OFF, 2));
assert(follows(U_OFF + 2, U_D, 1));
assert(follows(U_D + 1, U_S, 1));
assert(follows(U_S + 1, U_BASE, 1));
assert(follows(U_BASE + 1, U_IDX, 1));
assert(follows(U_IDX + 1, U_SCALE, 1));
assert(follows(U_SCALE + 1, U_SEG, 1));
assert(follows(U_SEG + 1, U_DISP, 4));
assert(follows(U_DISP + 4, U_IMM, 8));
assert(follows(U_IMM + 8, U_LINK, 4));
assert(follows(U_LINK + 4, U_SUB, 4));
assert(U_SUB + 4 <= UOP_SIZE && popcnt(UOP_SIZE) === 1);
