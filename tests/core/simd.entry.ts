/** SIMD instruction table and execution, for tests. */
export { simdExecute, simdExecuteSpecial } from '../../core-as/simd/execute';
export { simdDescribe, simdTableRow } from '../../core-as/simd/table';
export { bindCpu, clearFault, updateMode } from '../../core-as/cpu/state';
export { flushAll } from '../../core-as/mmu/tlb';
