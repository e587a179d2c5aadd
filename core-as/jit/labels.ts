/** Where a branch goes: WebAssembly's nested labels, and the nodes that they stand for (jit/structure.ts makes them). */
import { LOCAL_ENTRY } from './locals';
import { N_FLOW, node } from './region';
import { BR, BR_IF, END, IF, TYPE_VOID, byte, const32, set, unsigned } from './wasm';

/** u16: the sequence that the node belongs to. */
export const F_LEVEL: u32 = N_FLOW;
/** u16: its number in that sequence's row of components. */
export const F_GROUP: u32 = N_FLOW + 2;
/** u16: Tarjan's index and lowlink. */
export const F_INDEX: u32 = N_FLOW + 4;
export const F_LOW: u32 = N_FLOW + 6;
/** u16: nesting depth of the block or loop that a branch to the node leaves or repeats. */
export const F_LABEL: u32 = N_FLOW + 8;
/** u16: level at which the node is a loop header: edges to it are back edges there. */
export const F_HEADER: u32 = N_FLOW + 10;
/** u8: on Tarjan's stack. */
export const F_STACKED: u32 = N_FLOW + 12;
/** u8: a branch to the node must say so in LOCAL_ENTRY. */
export const F_DISPATCH: u32 = N_FLOW + 13;
/** u8: some loop starts here: the budget is looked at. */
export const F_LOOPS: u32 = N_FLOW + 14;

/** Labels that are open. */
export let depth: u32 = 0;
/** What follows the node that is being translated without a jump: a group of a level. */
let nextLevel: u32 = 0;
let nextGroup: u32 = 0;

/** A function's body begins, inside the block that branchExit leaves. */
export function beginLabels(): void {
  depth = EXIT_DEPTH;
}

/** A block or loop was opened. */
export function deepen(): void {
  depth++;
}

/** Says which group of a level follows the node that is translated next without a jump; level 0: none. */
export function setNext(level: u32, group: u32): void {
  nextLevel = level;
  nextGroup = group;
}

/** Depth of the block that a branch leaves the region by. */
const EXIT_DEPTH: u32 = 1;

export function isLoopHeader(n: u32): bool {
  return load<u8>(node(n), F_LOOPS) !== 0;
}

export function openIf(): void {
  byte(IF);
  byte(TYPE_VOID);
  depth++;
}

/** An `if` that leaves a value. */
export function openIfValue(type: u32): void {
  byte(IF);
  byte(type);
  depth++;
}

export function close(): void {
  byte(END);
  depth--;
}

/** Leaves the region; what the epilogue needs is in its locals. */
export function branchExit(): void {
  byte(BR);
  unsigned(depth - EXIT_DEPTH);
}

function isNext(to: u32): bool {
  const n = node(to);
  return nextLevel !== 0 && load<u16>(n, F_LEVEL) === nextLevel && load<u16>(n, F_GROUP) === nextGroup;
}

function nameEntry(to: u32): void {
  if (!load<u8>(node(to), F_DISPATCH)) return;
  const32(to);
  set(LOCAL_ENTRY);
}

/** True when going on at the node is what happens without a jump. */
export function fallsTo(to: i32): bool {
  return to >= 0 && isNext(to);
}

/** Goes on at a node. */
export function branch(to: u32): void {
  nameEntry(to);
  if (isNext(to)) return;
  byte(BR);
  unsigned(depth - load<u16>(node(to), F_LABEL));
}

/** The same inside an `if`, where nothing follows without a jump. */
export function branchAway(to: u32): void {
  nameEntry(to);
  byte(BR);
  unsigned(depth - load<u16>(node(to), F_LABEL));
}

/** Goes on at a node if the i32 on the stack is not 0. */
export function branchIf(to: u32): void {
  if (load<u8>(node(to), F_DISPATCH)) {
    openIf();
    branchAway(to);
    close();
    return;
  }
  byte(BR_IF);
  unsigned(depth - load<u16>(node(to), F_LABEL));
}
