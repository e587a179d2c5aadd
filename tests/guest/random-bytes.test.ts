/**
 * The whole program under a guest that executes random bytes in every mode (asm/random-bytes.asm): the process neither crashes nor hangs
 * nor grows, and bhyvectl is answered. A case may end the machine, by a triple fault or a port that resets it: that is an end in order,
 * and the next machine gets another seed.
 *
 * RANDOM_BYTES_SECONDS=600 makes the run longer, RANDOM_SEED=number another one. The counts are printed.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { runBhyvectl } from '../../host-node/registry/bhyvectl.ts';
import { Registry } from '../../host-node/registry/registry.ts';
import { openRuntimeDir } from '../../host-node/registry/runtime-dir.ts';
import { killPrograms, Program, programForTests, type Ended } from '../support/machine-program.ts';
import { BASIC_ARGS, scratchDirectory } from '../support/machine.ts';

const SECONDS = Number(process.env['RANDOM_BYTES_SECONDS'] ?? 10);
const SEED = Number(process.env['RANDOM_SEED'] ?? 20260101);
/** All that bhyve itself ends with when its guest ends: reset, power-off, halt, triple fault. */
const GUEST_ENDS = [0, 1, 2, 3];
const END_NAMES = ['reset', 'power-off', 'halt', 'triple fault'];
const ANSWER_MS = 15_000;
/** A case may break the supervising processor: the guest is at an end then, and the process must still obey. */
const PROGRESS_MS = 20_000;
const MEMORY_MIB = 64;
/** Guest memory, the code caches of two vCPUs, and Node. */
const LARGEST_RESIDENT_MIB = MEMORY_MIB + 500;

const MODES = [
  ...['real', 'protected, ring 0', 'protected, ring 3', 'virtual-8086', '16-bit protected, ring 0'],
  ...['long, ring 0', 'long, ring 3', 'compatibility, ring 3'],
];
const ALL_MODES = (1 << MODES.length) - 1;
const VECTORS = 33;

afterEach(killPrograms);

/** Cases of one mode, those whose time was over, and what ended the others, by vector. */
interface Counts {
  cases: number;
  hung: number;
  readonly byVector: number[];
}

const noCounts = (): Counts[] => MODES.map(() => ({ cases: 0, hung: 0, byVector: Array<number>(VECTORS).fill(0) }));

/** The last line of each mode. Random code can print as well, so that only lines whose sum is right are taken. */
function readCounts(transcript: string): Counts[] {
  const counts = noCounts();
  for (const [, mode, cases, hung, vectors = ''] of transcript.matchAll(
    /^mode ([0-7]) cases ([0-9a-f]+) hung ([0-9a-f]+):((?: [0-9a-f]+){33})\.$/gm,
  )) {
    const byVector = vectors
      .trim()
      .split(' ')
      .map((word) => parseInt(word, 16));
    const line = { cases: parseInt(cases ?? '', 16), hung: parseInt(hung ?? '', 16), byVector };
    const sum = byVector.reduce((a, b) => a + b, line.hung);
    if (sum === line.cases) counts[Number(mode)] = line;
  }
  return counts;
}

const total = (counts: readonly Counts[]): number => counts.reduce((sum, { cases }) => sum + cases, 0);

function add(to: readonly Counts[], from: readonly Counts[]): void {
  for (const [mode, { cases, hung, byVector }] of from.entries()) {
    const sum = to[mode];
    if (!sum) continue;
    sum.cases += cases;
    sum.hung += hung;
    for (const [vector, count] of byVector.entries()) sum.byVector[vector] = (sum.byVector[vector] ?? 0) + count;
  }
}

const within = <T>(ms: number, promise: Promise<T>): Promise<T | undefined> => {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<undefined>((resolve) => (timer = setTimeout(() => resolve(undefined), ms)));
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
};

/** Undefined when the process has ended just now. */
function residentMib(program: Program): number | undefined {
  try {
    const mib = program.residentMib();
    return Number.isNaN(mib) ? undefined : mib;
  } catch {
    return undefined;
  }
}

/** Status of a bhyvectl command; undefined when it was not answered in time. */
async function ctl(name: string, option: string): Promise<number | undefined> {
  const quiet = { stdout: () => undefined, stderr: () => undefined };
  return within(
    ANSWER_MS,
    runBhyvectl([`--vm=${name}`, option], () => new Registry(openRuntimeDir()), quiet),
  );
}

test('random bytes in every mode', { timeout: (SECONDS + 120) * 1000 }, async (context) => {
  if (spawnSync('nasm', ['-v']).status !== 0) context.skip('nasm is not installed');
  const scratch = scratchDirectory();
  try {
    const image = join(scratch.path, 'guest');
    const asm = join(import.meta.dirname, 'asm', 'random-bytes.asm');
    const include = `${join(import.meta.dirname, '..', 'system', 'guests')}/`;
    execFileSync('nasm', ['-i', include, '-w-prefix-lock', '-f', 'bin', '-o', image, asm]);
    const disk = join(scratch.path, 'disk');
    writeFileSync(disk, '');
    truncateSync(disk, 1 << 20);
    const bhyve = await programForTests();

    const sum = noCounts();
    const ends = new Map<string, number>();
    const resident: number[] = [];
    let [answers, machine] = [0, 0];
    const stopMs = performance.now() + SECONDS * 1000;
    while (performance.now() < stopMs) {
      const name = `random-${process.pid}-${++machine}`;
      const seed = (SEED + machine * 7919).toString(16);
      const program = new Program(process.execPath, [
        ...[
          bhyve,
          ...BASIC_ARGS,
          '-c',
          '2',
          '-m',
          `${MEMORY_MIB}M`,
          '-s',
          '3,virtio-rnd',
          '-s',
          `4,virtio-blk,${disk}`,
        ],
        ...['-f', `multiboot,${image},,${seed} ${ALL_MODES.toString(16)}`, name],
      ]);
      let ended: Ended | undefined;
      let [cases, progressMs] = [0, performance.now()];
      let stopped = '';
      while (ended === undefined) {
        ended = await within(1000, program.ended);
        if (ended !== undefined) break;
        const status = await ctl(name, '--get-stats');
        if (status === 0) answers++;
        else {
          // It may have ended just now, or not be there yet.
          ended = await within(2000, program.ended);
          if (ended === undefined && performance.now() - progressMs > ANSWER_MS) {
            throw new Error(`seed ${seed}: bhyvectl was not answered (${status ?? 'no answer'})`);
          }
          continue;
        }
        const mib = residentMib(program);
        if (mib !== undefined) resident.push(mib);
        const now = total(readCounts(program.console.transcript));
        if (now > cases) [cases, progressMs] = [now, performance.now()];
        if (performance.now() > stopMs) stopped = 'stopped at the end';
        else if (performance.now() - progressMs > PROGRESS_MS) stopped = 'supervisor broken';
        if (stopped === '') continue;
        await ctl(name, '--force-poweroff');
        ended = await within(ANSWER_MS, program.ended);
        expect(ended, `seed ${seed}: --force-poweroff`).toBeDefined();
      }
      const { code = null, signal = null } = ended ?? {};
      expect(
        { signal, known: GUEST_ENDS.includes(code ?? -1) },
        `seed ${seed}: status ${code}\n${program.stderr}`,
      ).toEqual({
        signal: null,
        known: true,
      });
      expect(program.stderr, `seed ${seed}`).not.toMatch(/RuntimeError|TypeError|RangeError|unreachable|^\s+at /m);
      const end = stopped || (END_NAMES[code ?? -1] ?? '');
      ends.set(end, (ends.get(end) ?? 0) + 1);
      add(sum, readCounts(program.console.transcript));
      await ctl(name, '--destroy');
    }

    const lines = sum.map(({ cases, hung, byVector }, mode) => {
      const vectors = byVector.flatMap((count, vector) => (count === 0 ? [] : [`${vector}:${count}`]));
      return `${MODES[mode]}: ${cases} cases, ${hung} out of time; by vector ${vectors.join(' ')}`;
    });
    const mib = (value: number | undefined): string => `${value?.toFixed(0)} MiB`;
    const memory = `resident ${mib(resident[0])} ... ${mib(Math.max(...resident))}, at the end ${mib(resident.at(-1))}`;
    const how = [...ends].map(([end, count]) => `${end} ${count}`).join(', ');
    process.stderr.write(
      `${[`random bytes: ${total(sum)} cases, ${machine} machines (${how}), ${answers} answers, ${memory}`, ...lines].join('\n  ')}\n`,
    );
    expect(Math.max(...resident)).toBeLessThan(LARGEST_RESIDENT_MIB);
    expect(answers).toBeGreaterThan(0);
    for (const [mode, { cases }] of sum.entries()) expect(cases, MODES[mode]).toBeGreaterThan(0);
  } finally {
    scratch.remove();
  }
});
