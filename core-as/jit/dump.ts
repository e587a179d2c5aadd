/** `-o jit.dump=ADDRESS`: the host is told of each region that holds the instruction there, while its nodes and its code lie in memory. */
import { cpu } from '../cpu/state';
import { UOP_SIZE, U_LEN, U_OFF } from '../cpu/uops';
import { NOTE_REGION, hostNote } from '../host';
import { CFG_JIT_DUMP, JIT_LISTS, JIT_LISTS_SIZE, R_JIT } from '../layout';
import {
  DUMP_BODY,
  DUMP_BODY_BYTES,
  DUMP_HEADER,
  DUMP_NODES,
  DUMP_NODE_SIZE,
  DUMP_PAGE,
  D_DISTANCE,
  D_END,
  D_FIRST,
  D_LINEAR,
} from './abi';
import { N_END, N_FIRST, N_PAGE, node, nodeCount, pageDistance, pageLinear } from './region';

/** A region whose first page is mapped at `page` has been translated into `lengthBytes` at `body`. */
export function noteRegion(body: u32, lengthBytes: u32, page: u64): void {
  const wanted = load<u64>(CFG_JIT_DUMP);
  if (!wanted || !holds(<i64>(wanted - page))) return;
  // The lists of the layout are not needed any more.
  const record = cpu + R_JIT + JIT_LISTS;
  store<u64>(record, page, DUMP_PAGE);
  store<u32>(record, body, DUMP_BODY);
  store<u32>(record, lengthBytes, DUMP_BODY_BYTES);
  store<u32>(record, nodeCount, DUMP_NODES);
  for (let number: u32 = 0; number < nodeCount; number++) {
    const n = node(number);
    const to = record + DUMP_HEADER + number * DUMP_NODE_SIZE;
    assert(to + DUMP_NODE_SIZE <= record + JIT_LISTS_SIZE);
    store<i64>(to, pageDistance(load<u8>(n, N_PAGE)), D_DISTANCE);
    store<u32>(to, load<u32>(n, N_FIRST), D_FIRST);
    store<u32>(to, load<u32>(n, N_END), D_END);
    store<u32>(to, pageLinear(load<u8>(n, N_PAGE)), D_LINEAR);
  }
  hostNote(NOTE_REGION, <f64>record, 0);
}

/** Some node has the instruction that is so far from the first page. */
function holds(distance: i64): bool {
  for (let number: u32 = 0; number < nodeCount; number++) {
    const n = node(number);
    const from = pageDistance(load<u8>(n, N_PAGE));
    const last = load<u32>(n, N_END) - UOP_SIZE;
    if (distance < from + load<u16>(load<u32>(n, N_FIRST), U_OFF)) continue;
    if (distance < from + load<u16>(last, U_OFF) + max<u32>(load<u8>(last, U_LEN), 1)) return true;
  }
  return false;
}
