import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { BhyveExit, parseCommandLine, type ConfigTree } from '../../devices/config/index.ts';
import { CPU_FEATURES, cpuLevelOf, featuresOffOf } from '../../devices/machine/cpu-options.ts';

function tree(): ConfigTree {
  return parseCommandLine(['vm'], { programName: 'bhyve', readTextFile: () => '' }).tree;
}

test("names are in the order of the core's table", () => {
  const source = readFileSync(new URL('../../core-as/cpu/cpuid.ts', import.meta.url), 'utf8');
  const table = [...source.matchAll(/^ {2}(?:LEAF|EXT)\w+, \d+, \d, \/\/ (\d+) (\S+)$/gm)];
  expect(table.map(([, index]) => Number(index))).toEqual(CPU_FEATURES.map((_, index) => index));
  expect(table.map(([, , name]) => name)).toEqual(CPU_FEATURES);
});

test('models and features', () => {
  expect(cpuLevelOf(tree(), undefined)).toBe(3);
  expect(cpuLevelOf(tree(), 'x86-64-v2')).toBe(2);
  expect(cpuLevelOf(tree(), 'v1')).toBe(1);
  expect(() => cpuLevelOf(tree(), 'i486')).toThrow(BhyveExit);
  expect(featuresOffOf(tree(), undefined)).toBe(0n);
  expect(featuresOffOf(tree(), '-mmx,-avx2,+sse')).toBe((1n << 0n) | (1n << 13n));
  expect(featuresOffOf(tree(), '-avx,+avx')).toBe(0n);
  expect(() => featuresOffOf(tree(), 'avx')).toThrow(/unknown cpu.features word "avx"/);
  expect(() => featuresOffOf(tree(), '-nonsense')).toThrow(BhyveExit);
});
