/** A console whose far end is a page: what the guest prints is gathered, so that the page is not kept busy, and comes in its order. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { PagePort } from '../../host-browser/port/protocol.ts';
import { PageConsole } from '../../host-browser/worker/page-console.ts';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

function makeConsole(): { readonly console: PageConsole; readonly told: string[]; drained: () => number } {
  const told: string[] = [];
  let drained = 0;
  const page = {
    tell: (_: string, { bytes }: { readonly bytes: Uint8Array }) => told.push(new TextDecoder().decode(bytes)),
  };
  const console = new PageConsole('com1', page as unknown as PagePort);
  console.open({
    receive: () => true,
    drained: () => {
      drained++;
    },
  } as unknown as Parameters<PageConsole['open']>[0]);
  return { console, told, drained: () => drained };
}

const text = (characters: string): Uint8Array => new TextEncoder().encode(characters);

test('the first output goes at once, what follows soon goes together, and nothing stays behind', async () => {
  const { console, told } = makeConsole();
  const buffer = text('a');
  console.write(buffer);
  buffer.fill(0);
  expect(told).toEqual(['a']);
  for (const piece of ['b', 'c', 'd']) console.write(text(piece));
  expect(told).toEqual(['a']);
  vi.advanceTimersByTime(33);
  expect(told).toEqual(['a', 'bcd']);
  console.write(text('e'));
  await console.close();
  expect(told).toEqual(['a', 'bcd', 'e']);
  vi.advanceTimersByTime(1000);
  console.write(text('f'));
  expect(told).toEqual(['a', 'bcd', 'e', 'f']);
});

test('a flood goes in large pieces, and the guest waits until the page has dealt with it', () => {
  const { console, told, drained } = makeConsole();
  let wanted = '';
  let written = 0;
  for (let line = 0; written === 0 || line < 100_000; line++) {
    const piece = `line ${line}\n`;
    wanted += piece;
    if (console.write(text(piece))) continue;
    written = wanted.length;
    break;
  }
  expect(written).toBeGreaterThanOrEqual(256 * 1024);
  vi.advanceTimersByTime(33);
  expect(told.join('')).toBe(wanted);
  expect(told.length).toBeLessThan(25);
  for (const piece of told) console.taken(piece.length);
  expect(drained()).toBe(1);
});
