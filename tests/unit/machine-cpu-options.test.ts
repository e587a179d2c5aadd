import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { CFGF_AMD } from '../../core-as/layout.ts';
import { BhyveExit, parseCommandLine, type ConfigTree } from '../../devices/config/index.ts';
import { CPU_FEATURES, cpuLevelOf, featureChanges, vendorFlags } from '../../devices/machine/cpu-options.ts';

function tree(): ConfigTree {
  return parseCommandLine(['vm'], { programName: 'bhyve', readTextFile: () => '' }).tree;
}

test("names are in the order of the core's table", () => {
  const source = readFileSync(new URL('../../core-as/cpu/features.ts', import.meta.url), 'utf8');
  const table = [...source.matchAll(/^ {2}(?:LEAF|EXT)\w+, \d+, \d, \w+, \/\/ (\d+) (\S+)$/gm)];
  expect(table.map(([, index]) => Number(index))).toEqual(CPU_FEATURES.map((_, index) => index));
  expect(table.map(([, , name]) => name)).toEqual(CPU_FEATURES);
});

test('models and features', () => {
  expect(cpuLevelOf(tree(), undefined)).toBe(3);
  expect(cpuLevelOf(tree(), 'x86-64-v2')).toBe(2);
  expect(cpuLevelOf(tree(), 'v1')).toBe(1);
  expect(() => cpuLevelOf(tree(), 'i486')).toThrow(BhyveExit);
  expect(featureChanges(tree(), undefined)).toEqual({ on: 0n, off: 0n });
  expect(featureChanges(tree(), '-mmx,-avx2,+sse')).toEqual({ on: 2n, off: (1n << 0n) | (1n << 13n) });
  expect(featureChanges(tree(), '-avx,+avx,+sse,-sse')).toEqual({ on: 1n << 12n, off: 2n });
  expect(() => featureChanges(tree(), 'avx')).toThrow(/unknown cpu.features word "avx"/);
  expect(() => featureChanges(tree(), '-nonsense')).toThrow(BhyveExit);
  const haswell = featureChanges(tree(), '-avx2', 'Haswell');
  const has = (mask: bigint, name: string): boolean => ((mask >> BigInt(CPU_FEATURES.indexOf(name))) & 1n) === 1n;
  expect(cpuLevelOf(tree(), 'Haswell')).toBe(3);
  expect(haswell.on & haswell.off).toBe(0n);
  expect(haswell.on | haswell.off).toBe((1n << BigInt(CPU_FEATURES.length)) - 1n);
  expect(['fma', 'bmi2', 'avx2', 'adx'].map((name) => has(haswell.on, name))).toEqual([true, true, false, false]);
  expect(vendorFlags(undefined)).toBe(0);
  expect(vendorFlags('amd')).toBe(CFGF_AMD);
});
