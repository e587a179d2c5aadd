/** Function types of a module of regions, and calls of its helpers. */
import { HELPER_COUNT } from './abi';
import * as w from './wasm';

export const TYPE_REGION: u32 = 0;
/** (i64, i32) -> i64 */
export const TYPE_READ: u32 = 1;
/** (i64, i64, i32) -> i32 */
export const TYPE_WRITE: u32 = 2;
/** (i64, i32) -> i32 */
export const TYPE_RMW_END: u32 = 3;
/** (i32, i64) -> i32 */
export const TYPE_RUN: u32 = 4;
/** (i32, i64, i64, i64, i32) -> () */
export const TYPE_FLAGS: u32 = 5;
/** (i32, i32) -> i32 */
export const TYPE_VECTOR: u32 = 6;

/** Calls a helper whose arguments are on the stack. */
export function callHelper(helper: u32, type: u32): void {
  assert(helper < <u32>HELPER_COUNT);
  w.const32(helper);
  w.byte(w.CALL_INDIRECT);
  w.unsigned(type);
  w.byte(0);
}

function functionType(parameters: u32, p0: u32, p1: u32, p2: u32, p3: u32, p4: u32, result: u32): void {
  w.byte(w.TYPE_FUNC);
  w.byte(parameters);
  if (parameters > 0) w.byte(p0);
  if (parameters > 1) w.byte(p1);
  if (parameters > 2) w.byte(p2);
  if (parameters > 3) w.byte(p3);
  if (parameters > 4) w.byte(p4);
  w.byte(result ? 1 : 0);
  if (result) w.byte(result);
}

/** The type section's contents, in the order of the TYPE_ constants. */
export function emitTypes(): void {
  const i = w.TYPE_I32;
  const l = w.TYPE_I64;
  w.byte(7);
  functionType(5, i, i, i, i, l, i);
  functionType(2, l, i, 0, 0, 0, l);
  functionType(3, l, l, i, 0, 0, i);
  functionType(2, l, i, 0, 0, 0, i);
  functionType(2, i, l, 0, 0, 0, i);
  functionType(5, i, l, l, l, i, 0);
  functionType(2, i, i, 0, 0, 0, i);
}
