/** SIMD instruction table and execution, for tests. */
export { simdExecute } from '../../core-as/simd/execute';
export { simdDescribe, simdTableRow } from '../../core-as/simd/table';
export { simdExecuteSpecial } from '../../core-as/simd/special';
export { arithmeticFlags, setArithmeticFlags } from '../../core-as/cpu/flags';
