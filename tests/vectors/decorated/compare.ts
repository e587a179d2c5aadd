/**
 * Compares decorated instructions on the core with this machine's processor:
 *
 *     node tests/vectors/decorated/compare.mjs COUNT [SEED [FIRST]]
 *     node tests/vectors/decorated/compare.mjs record
 *
 * Prints what differs by kind, with the numbers of examples; `record` writes recorded.bin, which tests/core/decorated.test.ts replays. Needs
 * gcc and an x86-64 Linux. COMPILED=1 in the environment runs the core's side as compiled code.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { compileCore } from '../../support/compile-core.ts';
import type { Results } from '../wide/format.ts';
import { cpuName } from '../wide/generate.ts';
import { imageOffsetOf } from '../windows.ts';
import { DecoratedMachine, differences } from './case.ts';
import type { Decorated } from './generate.ts';
import { buildHarness, runOnProcessor } from './processor.ts';
import { NOT_COMPARED, RECORDED_COUNT, RECORDED_SEED, encodeRecorded } from './recorded.ts';
import { isElsewhereOnly, isPeculiar, ruleOf } from './rules.ts';
import { STATE_WORDS } from '../wide/state.ts';

const PORTION = 20_000;

function kindOf({ map, opcode, modrm, vex, prefixes, rex }: Decorated): string {
  const digit = (modrm >> 3) & 7;
  const place = modrm >= 0xc0 ? 'register' : 'memory';
  const encoding = vex ? `VEX.${vex.l ? 256 : 128}.pp${vex.pp}.W${vex.w}` : rex ? 'REX' : 'plain';
  const names = [...new Set(prefixes)].sort().map((byte) => byte.toString(16));
  return `${encoding} map ${map} opcode ${opcode.toString(16)}/${digit} ${place} [${names.join(' ')}]`;
}

/** The core has a #PF where the harness's process has memory: its code window, which it can write, or memory of its own. */
function isHarnessMemory(core: Results, processor: Results): boolean {
  if (core.outcome !== 15) return false;
  // A string instruction may have gone on from there to a fault of its own.
  if (processor.outcome === 15 && core.special[0] === processor.special[0]) return false;
  const address = (BigInt(core.special[1] ?? 0) << 32n) | BigInt(core.special[0] ?? 0);
  return imageOffsetOf(address) < 0 && (core.errorCode & 0x10) === 0;
}

export async function compare(root: string, words: readonly string[]): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'decorated-'));
  try {
    const harness = buildHarness(root, directory);
    if (words[0] === 'record') {
      record(root, harness, new DecoratedMachine(await compileCore('core-as/index.ts', 'release'), false));
      return;
    }
    const count = Number(words[0] ?? 100_000);
    const seed = Number(words[1] ?? 1);
    const start = Number(words[2] ?? 0);
    const machine = new DecoratedMachine(
      await compileCore('core-as/index.ts', 'release'),
      process.env.COMPILED !== undefined,
    );
    const kinds = new Map<string, { count: number; example: string }>();
    const outcomes = new Map<number, number>();
    let differing = 0;
    let elsewhere = 0;
    for (let first = start; first < start + count; first += PORTION) {
      const portion = Math.min(PORTION, start + count - first);
      runOnProcessor(harness, seed, first, portion, (number, instruction, output, results) => {
        outcomes.set(results.outcome, (outcomes.get(results.outcome) ?? 0) + 1);
        if (isElsewhereOnly(instruction) || isPeculiar(instruction)) {
          elsewhere++;
          return;
        }
        machine.run(seed, number, instruction);
        const found = differences(ruleOf(instruction), machine, { output, results });
        if (found.length === 0 || isHarnessMemory(machine.results, results)) return;
        differing++;
        if (count === 1) printDetails(machine, { output, results });
        const kind = `${kindOf(instruction)}: ${found.join(', ')}`;
        const known = kinds.get(kind);
        const example = `${number} ${Buffer.from(instruction.code).toString('hex')} at ${instruction.codeOffset.toString(16)}`;
        kinds.set(kind, { count: (known?.count ?? 0) + 1, example: known?.example ?? example });
      });
    }
    for (const [kind, { count: times, example }] of [...kinds].sort((a, b) => b[1].count - a[1].count).slice(0, 400)) {
      process.stdout.write(`${times} ${kind}; ${example}\n`);
    }
    const summary = [...outcomes].sort((a, b) => a[0] - b[0]).map(([o, n]) => `${o ? `#${o - 1}` : 'done'} ${n}`);
    process.stdout.write(`${count} instructions of seed ${seed} on ${cpuName()}: ${summary.join(', ')}\n`);
    process.stdout.write(
      `${elsewhere} exist there only or are peculiar to it, ${differing} differ in ${kinds.size} kinds\n`,
    );
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** What the core has and what the processor had, word by word. */
function printDetails(core: DecoratedMachine, processor: Pick<DecoratedMachine, 'output' | 'results'>): void {
  const [a, b] = [core.results, processor.results];
  const wide = (high = 0, low = 0): string => ((BigInt(high) << 32n) | BigInt(low)).toString(16);
  const line = (name: string, got: string, wanted: string): void => {
    if (got !== wanted) process.stdout.write(`  ${name}: core ${got}, processor ${wanted}\n`);
  };
  line('outcome', `${a.outcome - 1} ${a.errorCode.toString(16)}`, `${b.outcome - 1} ${b.errorCode.toString(16)}`);
  line('cr2', wide(a.special[1], a.special[0]), wide(b.special[1], b.special[0]));
  line('rip', wide(a.special[3], a.special[2]), wide(b.special[3], b.special[2]));
  for (let word = 0; word < STATE_WORDS; word++) {
    line(`state ${word}`, (core.output[word] ?? 0).toString(16), (processor.output[word] ?? 0).toString(16));
  }
}

function record(root: string, harness: string, machine: DecoratedMachine): void {
  const outcomes = new Uint8Array(RECORDED_COUNT);
  const digests = new Uint32Array(RECORDED_COUNT);
  for (let first = 0; first < RECORDED_COUNT; first += PORTION) {
    const portion = Math.min(PORTION, RECORDED_COUNT - first);
    runOnProcessor(harness, RECORDED_SEED, first, portion, (number, instruction, _output, results) => {
      machine.run(RECORDED_SEED, number, instruction);
      const leftOut =
        isElsewhereOnly(instruction) ||
        isPeculiar(instruction) ||
        ruleOf(instruction).estimate === true ||
        isHarnessMemory(machine.results, results);
      outcomes[number] = leftOut ? NOT_COMPARED : results.outcome;
      digests[number] = results.digest();
    });
  }
  writeFileSync(join(root, 'tests/vectors/decorated/recorded.bin'), encodeRecorded(outcomes, digests, cpuName()));
}
