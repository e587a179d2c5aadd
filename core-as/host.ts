/**
 * The door to the user half: functions that the host imports into the core.
 * In worker mode each call blocks on the vCPU's mailbox until the devices' thread answered; inline they are plain calls.
 */

/** The machine's monotonic clock in nanoseconds, the same on every thread of the machine. */
// @ts-ignore: decorator
@external("env", "hostNowNs")
export declare function hostNowNs(): f64;

/** Wall-clock time, seconds since 1970-01-01 in the zone that the RTC keeps (local time unless CFGF_RTC_UTC). */
// @ts-ignore: decorator
@external("env", "hostWallSeconds")
export declare function hostWallSeconds(): f64;

/** Port input that no in-core device claims; size 1, 2 or 4 bytes. */
// @ts-ignore: decorator
@external("env", "hostPortRead")
export declare function hostPortRead(port: u32, size: u32): u32;

/** Port output that no in-core device claims; size 1, 2 or 4 bytes. */
// @ts-ignore: decorator
@external("env", "hostPortWrite")
export declare function hostPortWrite(port: u32, size: u32, value: u32): void;

/** Memory-mapped read at a guest-physical address; size 1, 2 or 4 bytes (the core splits wider ones, low part first). */
// @ts-ignore: decorator
@external("env", "hostMmioRead")
export declare function hostMmioRead(gpa: f64, size: u32): u32;

/** Memory-mapped write; size 1, 2 or 4 bytes. */
// @ts-ignore: decorator
@external("env", "hostMmioWrite")
export declare function hostMmioWrite(gpa: f64, size: u32, value: u32): void;

/** 32 random bits from the host's entropy source (RDRAND, RDSEED). */
// @ts-ignore: decorator
@external("env", "hostRandom")
export declare function hostRandom(): u32;

/**
 * With CFGF_PAGED: linear address of the 2 MiB chunk of guest-physical memory by its number, which is brought in if it is not there. 0: there is
 * no room for it.
 */
// @ts-ignore: decorator
@external("env", "hostChunk")
export declare function hostChunk(index: u32): u32;

/** Something that the user may want to read about: NOTE_*; a and b are its details. */
// @ts-ignore: decorator
@external("env", "hostNote")
export declare function hostNote(note: u32, a: f64, b: f64): void;

/** RDMSR of an unknown register: a = MSR number. */
export const NOTE_RDMSR: u32 = 1;
/** WRMSR of an unknown register: a = MSR number, b = value (as f64, top bits may be rounded). */
export const NOTE_WRMSR: u32 = 2;
/** Triple fault: a = RIP, b = first vector. */
export const NOTE_TRIPLE_FAULT: u32 = 3;
/** The pool of RAM chunks is exhausted: a = guest-physical address. */
export const NOTE_POOL_EXHAUSTED: u32 = 4;
/** A region was compiled that is to be shown: a = address of its record (jit/abi.ts: DUMP_*). */
export const NOTE_REGION: u32 = 5;

/**
 * Compiles the WebAssembly module of `length` bytes at `address` and puts its `count` functions into the core's table from `slot` on. 0 when the
 * engine does not take it.
 */
// @ts-ignore: decorator
@external("env", "hostJitInstall")
export declare function hostJitInstall(address: u32, length: u32, slot: u32, count: u32): u32;

/** Takes every compiled region out of the table. */
// @ts-ignore: decorator
@external("env", "hostJitDropAll")
export declare function hostJitDropAll(): void;
