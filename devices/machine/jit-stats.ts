/** The JIT's counters of one vCPU (core-as/jit/counts.ts) by name. */
import { SITE_ASIDE, SITE_DYNAMIC, SITE_FAULT, SITE_GO, SITE_STATUS } from '../../core-as/jit/abi.ts';
import {
  CACHE_JIT_COUNTS,
  CACHE_JIT_COUNTS_SIZE,
  COUNT_BYTES,
  COUNT_CALLED,
  COUNT_CALLED_COUNT,
  COUNT_EXITS,
  COUNT_INSTRUCTIONS,
  COUNT_KINDS,
  COUNT_KINDS_COUNT,
  COUNT_MODULES,
  COUNT_NANOSECONDS,
  COUNT_REGIONS,
  COUNT_VECTOR,
  COUNT_VECTOR_COUNT,
  R_CODE_CACHE,
} from '../../core-as/layout.ts';
import { vcpuBlock, type CoreState } from './core.ts';
import { CALLED_INSTRUCTIONS, MICRO_OPS, VECTOR_OPERATIONS } from './micro-op-names.ts';

const TOTALS = [
  ['regions', COUNT_REGIONS],
  ['modules', COUNT_MODULES],
  ['bytes of WebAssembly', COUNT_BYTES],
  ['compile time (ns)', COUNT_NANOSECONDS],
  ['instructions in regions', COUNT_INSTRUCTIONS],
] as const;

/** Why regions are left, by SITE_*. */
const EXITS = [
  ['to a known address', SITE_GO],
  ['to an address in a register', SITE_DYNAMIC],
  ['aside', SITE_ASIDE],
  ['with an exception', SITE_FAULT],
  ['after a helper', SITE_STATUS],
] as const;

/** Instructions that helpers ran, by table of counters. */
const RUNS = [
  [COUNT_KINDS, COUNT_KINDS_COUNT, (number: number) => MICRO_OPS[number]],
  [COUNT_CALLED, COUNT_CALLED_COUNT, (number: number) => CALLED_INSTRUCTIONS[number]],
  [COUNT_VECTOR, COUNT_VECTOR_COUNT, (number: number) => VECTOR_OPERATIONS.get(number)],
] as const;

/** Prefix of all names. */
export const JIT = 'jit';

/** Totals and exits always; of helpers those that have run, the busiest first. */
export function jitStatistics(state: CoreState, vcpu: number): { name: string; value: bigint }[] {
  // Code caches lie behind what CoreState has views of.
  const counts = new DataView(
    state.memory.buffer,
    state.u32(vcpuBlock(vcpu) + R_CODE_CACHE) + CACHE_JIT_COUNTS,
    CACHE_JIT_COUNTS_SIZE,
  );
  const count = (offset: number): bigint => counts.getBigUint64(offset, true);
  const runs = RUNS.flatMap(([offset, length, nameOf]) =>
    Array.from({ length }, (_, number) => ({
      name: `${JIT} helper runs: ${nameOf(number) ?? number}`,
      value: count(offset + number * 8),
    })),
  ).filter(({ value }) => value !== 0n);
  return [
    ...TOTALS.map(([name, offset]) => ({ name: `${JIT} ${name}`, value: count(offset) })),
    ...EXITS.map(([name, site]) => ({ name: `${JIT} regions left ${name}`, value: count(COUNT_EXITS + site * 8) })),
    ...runs.toSorted((a, b) => (a.value < b.value ? 1 : a.value > b.value ? -1 : 0)),
  ];
}
