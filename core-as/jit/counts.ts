/** What compiled code costs and saves, counted where a user can read it (devices/machine/jit-stats.ts). */
import { K, U_KIND, U_SUB } from '../cpu/uops';
import { cpu } from '../cpu/state';
import { hostNowNs } from '../host';
import {
  CACHE_JIT_COUNTS,
  COUNT_BYTES,
  COUNT_CALLED,
  COUNT_CALLED_COUNT,
  COUNT_EXITS,
  COUNT_EXITS_COUNT,
  COUNT_INSTRUCTIONS,
  COUNT_KINDS,
  COUNT_MODULES,
  COUNT_NANOSECONDS,
  COUNT_REGIONS,
  COUNT_VECTOR,
  COUNT_VECTOR_COUNT,
  R_CODE_CACHE,
} from '../layout';
import { SITE_STATUS } from './abi';

let counts: u32 = 0;

/** Binds this instance to its vCPU's counters. */
export function bindCounts(): void {
  counts = load<u32>(cpu, R_CODE_CACHE) + CACHE_JIT_COUNTS;
}

// @ts-ignore: decorator
@inline
function add(offset: u32, n: u64): void {
  store<u64>(counts + offset, load<u64>(counts + offset) + n);
}

/** A region was left by a site of kind SITE_*. */
// @ts-ignore: decorator
@inline
export function countExit(code: u32): void {
  add(COUNT_EXITS + (code << 3), 1);
}

/** So many instructions were retired in regions. */
// @ts-ignore: decorator
@inline
export function countInstructions(n: i32): void {
  add(COUNT_INSTRUCTIONS, n);
}

/** A module was made, or tried: its functions and bytes, and the machine's time when that began. */
export function countModule(regions: u32, bytes: u32, sinceNs: f64): void {
  add(COUNT_MODULES, 1);
  add(COUNT_REGIONS, regions);
  add(COUNT_BYTES, bytes);
  add(COUNT_NANOSECONDS, <u64>max<f64>(hostNowNs() - sinceNs, 0));
}

/** A helper runs a micro-op. */
// @ts-ignore: decorator
@inline
export function countRun(p: u32): void {
  const kind: i32 = load<u8>(p, U_KIND);
  if (kind === K.CALL_X) add(COUNT_CALLED + ((load<u32>(p, U_SUB) & (COUNT_CALLED_COUNT - 1)) << 3), 1);
  else if (kind >= K.SIMD_R) add(COUNT_VECTOR + ((load<u32>(p, U_SUB) & (COUNT_VECTOR_COUNT - 1)) << 3), 1);
  else add(COUNT_KINDS + (kind << 3), 1);
}

assert(SITE_STATUS < COUNT_EXITS_COUNT);
