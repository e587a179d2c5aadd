/** What the page makes of a command line: words, suggestions, edits; and the formats that pages read. */
import { describe, expect, test } from 'vitest';
import { isChunkIndex } from '../../devices/publish/chunk-index.ts';
import { addDisk, setLoader } from '../../host-browser/page/command-edits.ts';
import { complete, freeSlots } from '../../host-browser/page/completion.ts';
import { joinWords, locateWords, ShellWordError, splitWords } from '../../host-browser/shell-words.ts';
import { parseOpfsName } from '../../host-browser/storage/file-space.ts';
import { sharedClock } from '../../host-browser/clock.ts';
import { parseRange } from '../../host-node/web/static-server.ts';

describe('words of a shell', () => {
  test.each([
    ['a  b\tc', ['a', 'b', 'c']],
    [`'kexec,k,i,console=ttyS0 quiet' vm`, ['kexec,k,i,console=ttyS0 quiet', 'vm']],
    [`"a \\"b\\" \\c" d\\ e`, ['a "b" \\c', 'd e']],
    [`a''b ''`, ['ab', '']],
    ['a \\\n b', ['a', 'b']],
    ['', []],
  ])('%j', (line, words) => {
    expect(splitWords(line)).toEqual(words);
    expect(splitWords(joinWords(words))).toEqual(words);
  });

  test('a quotation mark without its partner is refused, and completion lives with it', () => {
    expect(() => splitWords(`-f 'kexec,`)).toThrow(ShellWordError);
    expect(locateWords(`-f 'kexec,`).words.at(-1)?.text).toBe('kexec,');
  });

  test('words hold whatever they held', () => {
    for (const word of [`it's`, '$HOME `x`', 'a\nb', '*', ''])
      expect(splitWords(joinWords([word, 'end']))).toEqual([word, 'end']);
  });
});

describe('suggestions', () => {
  const labels = (line: string, files: string[] = []): string[] =>
    complete(line, line.length, files, 100).map(({ label }) => label);
  const accept = (line: string, label: string, files: string[] = []): string => {
    const found = complete(line, line.length, files, 100).find((suggestion) => suggestion.label === label);
    if (!found) throw new Error(`no ${label} for ${line}`);
    return line.slice(0, found.start) + found.insert + line.slice(found.end);
  };

  test('options, free slots, devices, their variables, files', () => {
    expect(labels('-')).toContain('-s');
    expect(accept('-A -', '-s')).toBe('-A -s ');
    expect(labels('-s 0,hostbridge -s ')).not.toContain('0');
    expect(accept('-s 0,hostbridge -s ', '1')).toBe('-s 0,hostbridge -s 1,');
    expect(accept('-s 3,virtio-b', 'virtio-blk')).toBe('-s 3,virtio-blk');
    expect(labels('-s 3,virtio-blk,', ['disk.img'])).toContain('disk.img');
    expect(accept('-s 3,virtio-blk,disk.img,sec', 'sectorsize')).toBe('-s 3,virtio-blk,disk.img,sectorsize=');
    expect(labels('-l com1,')).toEqual(['stdio']);
    expect(labels('-o memory.')).toContain('memory.size');
    expect(labels(`-f 'kexec,`, ['vmlinuz'])).toEqual(['vmlinuz']);
  });

  test('nothing for the name of the machine, nor for what is complete', () => {
    expect(labels('-A vm')).toEqual([]);
    expect(labels('-s 3,no-such-device,')).toEqual([]);
  });

  test('the caret may be in the middle', () => {
    const line = '-s 3,virtio- -m 256M vm';
    const [first] = complete(line, '-s 3,virtio-'.length);
    expect(line.slice(first?.start, first?.end)).toBe('virtio-');
  });
});

describe('edits', () => {
  const line = `-s 0,hostbridge -s 2,virtio-rnd -s 31,lpc -f 'kexec,k,i,console=ttyS0 quiet' vm`;

  test('a disk takes the first free slot, before the name', () => {
    expect(addDisk(line, 'opfs:a')).toMatch(/-s 3,virtio-blk,opfs:a vm$/);
    expect(addDisk('-A', 'd')).toBe('-A -s 2,virtio-blk,d');
    expect(freeSlots(splitWords(line))).not.toContain(2);
  });

  test('a kernel and an initial RAM disk keep the rest', () => {
    expect(splitWords(setLoader(line, 'kernel', 'new'))).toContain('kexec,new,i,console=ttyS0 quiet');
    expect(splitWords(setLoader(line, 'initrd', 'new'))).toContain('kexec,k,new,console=ttyS0 quiet');
    expect(setLoader('-A vm', 'kernel', 'k')).toBe('-A -f kexec,k,,console=ttyS0 vm');
  });
});

test('names of images that the browser keeps', () => {
  expect(parseOpfsName('opfs:a.img')).toEqual({ name: 'a.img', createBytes: undefined, base: undefined });
  expect(parseOpfsName('opfs:a?size=64M')).toMatchObject({ createBytes: 64 * 2 ** 20 });
  expect(parseOpfsName('opfs:a?base=https://h/x?y=1')).toMatchObject({ base: 'https://h/x?y=1' });
  expect(parseOpfsName('https://h/opfs:a')).toBeUndefined();
  for (const bad of ['opfs:', 'opfs:../x', 'opfs:a/b', 'opfs:a?size=x', 'opfs:a?size=0', 'opfs:a?other=1']) {
    expect(() => parseOpfsName(bad), bad).toThrow(/^opfs:/);
  }
});

test('indexes of published files that somebody else wrote are looked at', () => {
  const good = {
    format: 'webhyve-chunks-1',
    sizeBytes: 10,
    chunkBytes: 4,
    chunks: ['0123456789abcdef', null, 'f'.repeat(32)],
  };
  expect(isChunkIndex(good)).toBe(true);
  const bad: unknown[] = [
    null,
    'x',
    { ...good, format: 'other' },
    { ...good, sizeBytes: -1 },
    { ...good, sizeBytes: 1e300 },
    { ...good, chunkBytes: 0 },
    { ...good, chunkBytes: 2 ** 30, chunks: [null] },
    { ...good, chunks: [null] },
    { ...good, chunks: ['../../secret', null, null] },
    { ...good, chunks: 'abc' },
  ];
  for (const value of bad) expect(isChunkIndex(value), JSON.stringify(value)).toBe(false);
});

test('ranges of HTTP', () => {
  expect(parseRange(undefined, 100)).toBeUndefined();
  expect(parseRange('bytes=0-9', 100)).toEqual([0, 9]);
  expect(parseRange('bytes=90-', 100)).toEqual([90, 99]);
  expect(parseRange('bytes=90-1000', 100)).toEqual([90, 99]);
  expect(parseRange('bytes=-10', 100)).toEqual([90, 99]);
  expect(parseRange('bytes=100-', 100)).toBeNull();
  expect(parseRange('bytes=9-3', 100)).toBeNull();
  expect(parseRange('bytes=0-1,5-6', 100)).toBeUndefined();
  expect(parseRange('bytes=-', 100)).toBeUndefined();
});

test('threads whose clocks differ see one time that never runs backwards', () => {
  const last = new Int32Array(new SharedArrayBuffer(4));
  let ns = 5_000_000;
  const fast = sharedClock(() => ns + 7000, last);
  const slow = sharedClock(() => ns, last);
  let before = 0;
  for (let step = 0; step < 1000; step++) {
    ns += step % 3 === 0 ? 5000 : 0;
    for (const clock of [fast, slow, slow, fast]) {
      const now = clock();
      expect(now).toBeGreaterThanOrEqual(before);
      before = now;
    }
  }
  // A reading from long ago, in another round of the 32-bit word, holds nobody back.
  ns += 3e12;
  expect(slow()).toBe(ns);
  expect(fast()).toBe(ns + 7000);
});
