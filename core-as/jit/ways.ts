/**
 * Which nodes of a region its returns and its jumps through registers may go to.
 *
 * A RET goes back to the calls of its own function; a jump or call through a register goes where it was seen to go. What goes elsewhere leaves the
 * region, so that neither need be exact: a way too many costs a comparison and an edge that is never taken.
 */
import { F, TARGET, familyOf, kindProperties } from '../cpu/kinds';
import { MAX_TARGETS, seenTarget } from '../cpu/seen-targets';
import { cpu } from '../cpu/state';
import { UOP_SIZE, U_KIND, U_LEN, U_OFF } from '../cpu/uops';
import { JIT_PLACES, JIT_PLACES_SIZE, R_JIT } from '../layout';
import { N_EDGES, N_END, N_ENTRY, N_FALL, N_PAGE, N_SEEN, N_TAKEN, N_WAYS, node, nodeAt, nodeCount } from './region';

/** Nodes that ways lead to have a bit each in a u64. */
const MAX_PLACES: u32 = 64;
/** So many are compared with a target at most. */
const MAX_WAYS: u32 = 12;

let places: u32 = 0;
let functionNumber: u32 = 0;

/** Node number of a place. */
// @ts-ignore: decorator
@inline
export function placeOf(n: u32): u32 {
  return load<u8>(cpu + R_JIT + JIT_PLACES + n);
}

/** Places (bit n: the n-th) that the jump at the end of a node may go to. */
// @ts-ignore: decorator
@inline
export function waysOf(n: u32): u64 {
  return load<u64>(n, N_WAYS);
}

/** The first of several places, and what is left of them: `for (let ways = waysOf(n); ways; ways = otherWays(ways)) firstWay(ways)`. */
// @ts-ignore: decorator
@inline
export function firstWay(ways: u64): u32 {
  return placeOf(<u32>ctz<u64>(ways));
}
// @ts-ignore: decorator
@inline
export function otherWays(ways: u64): u64 {
  return ways & (ways - 1);
}

/** The jump at the end of a node may go to another one. */
export function leadsTo(n: u32, number: u32): bool {
  for (let ways = waysOf(n); ways; ways = otherWays(ways)) if (firstWay(ways) === number) return true;
  return false;
}

/** Number of a place, made if there is room; -1: there is none. */
function placeFor(number: u32): i32 {
  for (let n: u32 = 0; n < places; n++) if (placeOf(n) === number) return n;
  if (places >= MAX_PLACES) return -1;
  store<u8>(cpu + R_JIT + JIT_PLACES + places, <u8>number);
  return places++;
}

function addWay(n: u32, place: i32): void {
  if (place < 0 || popcnt<u64>(waysOf(n)) >= MAX_WAYS) return;
  store<u64>(n, waysOf(n) | ((<u64>1) << place), N_WAYS);
}

// @ts-ignore: decorator
@inline
function lastUop(n: u32): u32 {
  return load<u32>(n, N_END) - UOP_SIZE;
}

/** What ends a node: row of cpu/kinds.ts. */
// @ts-ignore: decorator
@inline
function lastProperties(n: u32): u32 {
  return kindProperties(load<u8>(lastUop(n), U_KIND));
}

/** The node after a call, or -1. */
function afterCall(n: u32): i32 {
  const p = lastUop(n);
  return nodeAt(load<u8>(n, N_PAGE), <i64>load<u16>(p, U_OFF) + <i64>load<u8>(p, U_LEN));
}

/** Jumps and calls through registers. */
function noteSeenTargets(n: u32): void {
  const p = lastUop(n);
  for (let i: u32 = 0; i < MAX_TARGETS; i++) {
    const distance = seenTarget(p, i);
    if (!distance) return;
    const number = nodeAt(load<u8>(n, N_PAGE), distance);
    if (number >= 0) addWay(n, placeFor(number));
  }
}

/** Follows a function's code from a node on, past what it calls, and adds a place to each RET. */
function noteReturns(number: i32, place: i32): void {
  while (number >= 0) {
    const n = node(number);
    if (load<u32>(n, N_SEEN) === functionNumber) return;
    store<u32>(n, functionNumber, N_SEEN);
    const family = familyOf(lastProperties(n));
    if (family === F.RET) {
      addWay(n, place);
      return;
    }
    if (family === F.CALL) number = afterCall(n);
    else {
      for (let ways = waysOf(n); ways; ways = otherWays(ways)) noteReturns(firstWay(ways), place);
      noteReturns(load<i16>(n, N_TAKEN), place);
      number = load<i16>(n, N_FALL);
    }
  }
}

/** The calls of a node's end come back to the node after it. */
function pairReturns(n: u32): void {
  if (familyOf(lastProperties(n)) !== F.CALL) return;
  const back = afterCall(n);
  if (back < 0) return;
  const place = placeFor(back);
  if (place < 0) return;
  functionNumber++;
  noteReturns(load<i16>(n, N_TAKEN), place);
  for (let ways = waysOf(n); ways; ways = otherWays(ways)) noteReturns(firstWay(ways), place);
}

/** Finds the ways of all nodes, and counts the edges that lead to each. */
export function findWays(): void {
  places = 0;
  functionNumber = 0;
  for (let number: u32 = 0; number < nodeCount; number++) {
    const properties = lastProperties(node(number));
    const family = familyOf(properties);
    if (!(properties & TARGET) && (family === F.JMP || family === F.CALL)) noteSeenTargets(node(number));
  }
  for (let number: u32 = 0; number < nodeCount; number++) pairReturns(node(number));
  countEdges();
}

function countEdge(to: i32): void {
  if (to < 0) return;
  const n = node(to);
  store<u16>(n, load<u16>(n, N_EDGES) + 1, N_EDGES);
}

function countEdges(): void {
  for (let number: u32 = 0; number < nodeCount; number++) {
    const n = node(number);
    countEdge(load<i16>(n, N_TAKEN));
    countEdge(load<i16>(n, N_FALL));
    for (let ways = waysOf(n); ways; ways = otherWays(ways)) countEdge(firstWay(ways));
    if (load<u8>(n, N_ENTRY)) countEdge(number);
  }
}

assert(MAX_PLACES <= <u32>JIT_PLACES_SIZE);
