/** Whether a device reads each word of a request once (FreeBSD-SA-24:17): a second processor of the guest changes it afterwards. */
import { vi } from 'vitest';
import type { FakeMachine } from './fake-bus.ts';

/** Fails at the second read of a byte in the ranges, by whatever access; those that commands lie in. */
export function expectReadOnce(
  machine: FakeMachine,
  ranges: readonly (readonly [gpa: number, lengthBytes: number])[],
): void {
  const seen = new Set<number>();
  const { memory } = machine;
  const note = (gpa: number, lengthBytes: number): void => {
    for (let at = gpa; at < gpa + lengthBytes; at++) {
      if (!ranges.some(([first, length]) => at >= first && at < first + length)) continue;
      if (seen.has(at)) throw new Error(`the byte at 0x${at.toString(16)} is read twice`);
      seen.add(at);
    }
  };
  const views = memory.views.bind(memory);
  const write = memory.write.bind(memory);
  // Reads go through views, and so do transfers of data, which touch each buffer once; writes are the driver's and the answers.
  let isWrite = false;
  vi.spyOn(memory, 'views').mockImplementation((gpa, lengthBytes) => {
    if (!isWrite) note(gpa, lengthBytes);
    return views(gpa, lengthBytes);
  });
  vi.spyOn(memory, 'write').mockImplementation((gpa, from) => {
    isWrite = true;
    write(gpa, from);
    isWrite = false;
  });
}
