/**
 * Turns a region's control-flow graph into WebAssembly's structured control flow.
 *
 * Strongly connected components, in topological order, become a row of nested `block`s: a forward jump is a `br` out of the block that ends
 * right before its target. A component with a cycle becomes a `loop`: edges to its headers (the nodes that are reached from outside) are taken out,
 * and what is left is laid out in the same way inside. Where execution can begin at several nodes (the entries of the region, the headers of an
 * irreducible loop) a `br_table` on a local picks one.
 */
import { JIT_LISTS, JIT_LISTS_SIZE, R_JIT } from '../layout';
import { cpu } from '../cpu/state';
import { N_ENTRY, N_FALL, N_FLOW, N_FLOW_BYTES, N_TAKEN, node, nodeCount } from './region';
import {
  F_DISPATCH,
  F_GROUP,
  F_HEADER,
  F_INDEX,
  F_LABEL,
  F_LEVEL,
  F_LOOPS,
  F_LOW,
  F_STACKED,
  beginLabels,
  close,
  deepen,
  depth,
  setNext,
} from './labels';
import { LOCAL_ENTRY } from './locals';
import { translateNode } from './translate';
import { firstWay, leadsTo, otherWays, waysOf } from './ways';
import { BLOCK, BR_TABLE, LOOP, TYPE_VOID, byte, get, unsigned } from './wasm';

let free: u32 = 0;
let levels: u32 = 0;
let indices: u32 = 0;
let stackTop: u32 = 0;
let groupTop: u32 = 0;
let groupOut: u32 = 0;

// @ts-ignore: decorator
@inline
function list(): u32 {
  return cpu + R_JIT + JIT_LISTS;
}

/** Lays out all nodes, translating each. False when the scratch lists are too small. */
export function emitFlow(): bool {
  beginLabels();
  free = 0;
  levels = 1;
  const all = list();
  for (let n: u32 = 0; n < nodeCount; n++) {
    store<u8>(all + n, <u8>n);
    memory.fill(node(n) + N_FLOW, 0, N_FLOW_BYTES);
    store<u16>(node(n), 1, F_LEVEL);
  }
  free = nodeCount;
  return sequence(all, nodeCount, 1, false);
}

// ---------------------------------------------------------------------------------------------------------------------
// Strongly connected components (Tarjan)

function visitEdge(n: u32, to: i32, level: u32): void {
  if (to < 0) return;
  const m = node(to);
  if (load<u16>(m, F_LEVEL) !== level || load<u16>(m, F_HEADER) === level) return;
  if (!load<u16>(m, F_INDEX)) {
    connect(to, level);
    if (load<u16>(m, F_LOW) < load<u16>(n, F_LOW)) store<u16>(n, load<u16>(m, F_LOW), F_LOW);
  } else if (load<u8>(m, F_STACKED) && load<u16>(m, F_INDEX) < load<u16>(n, F_LOW)) {
    store<u16>(n, load<u16>(m, F_INDEX), F_LOW);
  }
}

function connect(number: u32, level: u32): void {
  const n = node(number);
  indices++;
  store<u16>(n, <u16>indices, F_INDEX);
  store<u16>(n, <u16>indices, F_LOW);
  store<u8>(n, 1, F_STACKED);
  store<u8>(stackTop, <u8>number);
  stackTop++;
  for (let ways = waysOf(n); ways; ways = otherWays(ways)) visitEdge(n, firstWay(ways), level);
  visitEdge(n, load<i16>(n, N_TAKEN), level);
  // Visited last, so laid out next: falling through then needs no jump.
  visitEdge(n, load<i16>(n, N_FALL), level);
  if (load<u16>(n, F_LOW) !== load<u16>(n, F_INDEX)) return;
  let member: u32;
  do {
    stackTop--;
    member = load<u8>(stackTop);
    store<u8>(node(member), 0, F_STACKED);
    store<u16>(node(member), <u16>groupTop, F_GROUP);
    store<u8>(groupOut, <u8>member);
    groupOut++;
  } while (member !== number);
  groupTop++;
}

// ---------------------------------------------------------------------------------------------------------------------
// Layout

function enteredFromOutside(number: u32, level: u32): bool {
  const group = load<u16>(node(number), F_GROUP);
  if (load<u8>(node(number), N_ENTRY)) return true;
  for (let m: u32 = 0; m < nodeCount; m++) {
    const from = node(m);
    if (load<u16>(from, F_LEVEL) !== level || load<u16>(from, F_GROUP) === group) continue;
    if (load<i16>(from, N_TAKEN) === number || load<i16>(from, N_FALL) === number) return true;
    if (leadsTo(from, number)) return true;
  }
  return false;
}

function hasSelfEdge(number: u32, level: u32): bool {
  const n = node(number);
  if (load<u16>(n, F_HEADER) === level) return false;
  if (load<i16>(n, N_TAKEN) === number || load<i16>(n, N_FALL) === number) return true;
  return leadsTo(n, number);
}

/** Emits the nodes of a list (all of one level). `inLoop`: execution begins at headers of that loop, else at entries of the region. */
function sequence(nodes: u32, count: u32, level: u32, inLoop: bool): bool {
  // Scratch: the order (count bytes), Tarjan's stack (count bytes), then where each group starts (count + 1 bytes).
  if (free + 3 * count + 4 > <u32>JIT_LISTS_SIZE) return false;
  const order = list() + free;
  const stack = order + count;
  const bounds = stack + count;
  free += 3 * count + 4;
  const freeAfter = free;

  groupTop = 0;
  groupOut = order;
  stackTop = stack;
  indices = 0;
  for (let i: u32 = 0; i < count; i++) store<u16>(node(load<u8>(nodes + i)), 0, F_INDEX);
  for (let i: u32 = 0; i < count; i++) {
    const number: u32 = load<u8>(nodes + i);
    if (!load<u16>(node(number), F_INDEX)) connect(number, level);
  }
  const groups = groupTop;
  // Tarjan finds components last first: number them in topological order.
  let at: u32 = 0;
  for (let g: u32 = 0; g < groups; g++) {
    store<u8>(bounds + g, <u8>at);
    while (at < count && load<u16>(node(load<u8>(order + at)), F_GROUP) === g) at++;
  }
  store<u8>(bounds + groups, <u8>count);
  for (let i: u32 = 0; i < count; i++) {
    const n = node(load<u8>(order + i));
    store<u16>(n, <u16>(groups - 1 - load<u16>(n, F_GROUP)), F_GROUP);
  }

  // Loop headers of the groups, and where execution begins.
  let begins: u32 = 0;
  let beginsElsewhere = false;
  for (let g: u32 = 0; g < groups; g++) {
    const from: u32 = load<u8>(bounds + (groups - 1 - g));
    const to: u32 = load<u8>(bounds + (groups - g));
    const first: u32 = load<u8>(order + from);
    const loops = to - from > 1 || hasSelfEdge(first, level);
    let headers: u32 = 0;
    for (let i = from; i < to; i++) {
      const number: u32 = load<u8>(order + i);
      const n = node(number);
      const begin = inLoop ? load<u16>(n, F_HEADER) === level : load<u8>(n, N_ENTRY) !== 0;
      if (begin) {
        begins++;
        if (g) beginsElsewhere = true;
      }
      if (loops && enteredFromOutside(number, level)) {
        headers++;
        store<u8>(n, 2, F_LOOPS);
      }
    }
    if (headers > 1) {
      for (let i = from; i < to; i++) {
        const n = node(load<u8>(order + i));
        if (load<u8>(n, F_LOOPS) === 2) store<u8>(n, 1, F_DISPATCH);
      }
    }
  }
  const dispatch = begins > 1 || beginsElsewhere;

  // The last group's block is the outermost.
  for (let g = groups - 1; g > 0 || (g === 0 && dispatch); g--) {
    byte(BLOCK);
    byte(TYPE_VOID);
    deepen();
    const from: u32 = load<u8>(bounds + (groups - 1 - g));
    const to: u32 = load<u8>(bounds + (groups - g));
    for (let i = from; i < to; i++) {
      const n = node(load<u8>(order + i));
      if (load<u16>(n, F_HEADER) !== level) store<u16>(n, <u16>depth, F_LABEL);
    }
    if (g === 0) break;
  }
  if (dispatch) {
    get(LOCAL_ENTRY);
    byte(BR_TABLE);
    unsigned(nodeCount);
    for (let number: u32 = 0; number < nodeCount; number++) {
      const n = node(number);
      const begin =
        load<u16>(n, F_LEVEL) === level && (inLoop ? load<u16>(n, F_HEADER) === level : load<u8>(n, N_ENTRY) !== 0);
      // Group g's block is the (g + 1)-th from inside.
      unsigned(begin ? load<u16>(n, F_GROUP) : 0);
    }
    unsigned(0);
  }

  for (let g: u32 = 0; g < groups; g++) {
    if (g > 0 || dispatch) close();
    const from: u32 = load<u8>(bounds + (groups - 1 - g));
    const to: u32 = load<u8>(bounds + (groups - g));
    const first: u32 = load<u8>(order + from);
    if (to - from === 1 && !hasSelfEdge(first, level)) {
      setNext(g + 1 < groups ? level : 0, g + 1);
      if (!translateNode(first)) return false;
      continue;
    }
    byte(LOOP);
    byte(TYPE_VOID);
    deepen();
    const inner = ++levels;
    for (let i = from; i < to; i++) {
      const n = node(load<u8>(order + i));
      store<u16>(n, <u16>inner, F_LEVEL);
      if (load<u8>(n, F_LOOPS) === 2) {
        store<u8>(n, 1, F_LOOPS);
        store<u16>(n, <u16>inner, F_HEADER);
        store<u16>(n, <u16>depth, F_LABEL);
      }
    }
    if (!sequence(order + from, to - from, inner, true)) return false;
    close();
  }
  free = freeAfter - (3 * count + 4);
  return true;
}
