/** What simdExecute and simdExecuteSpecial answer, and the flags they take. */

export const SIMD_OK: i32 = 0;
/** An unmasked SIMD floating-point exception: MXCSR has the flags, no destination changed. */
export const SIMD_XM: i32 = 1;
export const SIMD_UD: i32 = 2;
export const SIMD_GP: i32 = 3;
/** A memory access faulted; the fault is raised already. */
export const SIMD_FAULT: i32 = 4;

export const EXECUTE_VEX: u32 = 1;
export const EXECUTE_VEX_L: u32 = 2;
/** REX.W or VEX.W. */
export const EXECUTE_W: u32 = 4;
export const EXECUTE_64BIT: u32 = 8;
