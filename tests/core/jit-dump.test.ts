/** `-o jit.dump=ADDRESS`: the text of a compiled region, and that each operation of compiled code has one. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import * as uops from '../../core-as/cpu/uops.ts';
import { CFG_JIT_DUMP } from '../../core-as/layout.ts';
import { CALLED_INSTRUCTIONS, MICRO_OPS, VECTOR_OPERATIONS } from '../../devices/machine/micro-op-names.ts';
import { MICRO_OP, regionText } from '../../devices/machine/region-dump.ts';
import { compileCore } from '../support/compile-core.ts';
import { instructionPool } from '../vectors/instruction-pool.ts';
import { drawInput, start } from '../vectors/random-state.ts';
import { Prng } from '../vectors/random.ts';
import { UserMachine } from '../vectors/user-machine.ts';
import { CODE_ADDRESS } from '../vectors/windows.ts';

const OFFSET = 0x100;
const NOTE_REGION = 5;
const JUMP_TO_SELF = [0xeb, 0xfe];

/** Members of an enumeration in the core's source, in their order. */
function membersOf(name: string): string[] {
  const source = readFileSync(new URL('../../core-as/cpu/uops.ts', import.meta.url), 'utf8');
  const declaration = new RegExp(`export const enum ${name} \\{(.*?)\\n\\}`, 's').exec(source)?.[1] ?? '';
  return [...declaration.matchAll(/^ {2}([A-Z][A-Z0-9_]*),$/gm)].map(([, member]) => member ?? '');
}

/** Runs code from the window's start, compiled; resolves to the texts of the regions that hold the instruction at a distance from it. */
function regionsWith(machine: UserMachine, code: Uint8Array, distance: number): string[] {
  const texts: string[] = [];
  machine.view.setBigUint64(CFG_JIT_DUMP, BigInt(CODE_ADDRESS + OFFSET + distance), true);
  machine.onNote = (note, a) => {
    if (note === NOTE_REGION) texts.push(regionText(machine.bytes.buffer, a));
  };
  const body = Buffer.concat([code, Buffer.from(JUMP_TO_SELF)]);
  machine.writeCode(OFFSET, body, body.length);
  start(machine, { ...drawInput(new Prng(7)), taskSwitched: false }, OFFSET);
  machine.core.run(20);
  machine.writeCode(OFFSET, undefined, body.length);
  return texts;
}

describe('compiled regions as text', async () => {
  const module = await compileCore();

  test('names are those of the core', () => {
    expect(MICRO_OPS).toEqual(membersOf('K'));
    expect(CALLED_INSTRUCTIONS).toEqual(membersOf('X'));
    // OP_FP_FIRST and its like say where a row of operations begins; OP_MMX is a bit.
    const ids = [
      ...readFileSync('core-as/simd/operations.ts', 'utf8').matchAll(/export const OP_(\w+): u32 = (0x\w+);/g),
    ];
    const operations = ids.flatMap(([, name = '', id]) =>
      /^MMX$|_FIRST$/.test(name) ? [] : [[Number(id), name] as const],
    );
    expect(operations.length).toBeGreaterThan(300);
    expect(new Map(VECTOR_OPERATIONS)).toEqual(new Map(operations));
    for (const [name, value] of Object.entries(MICRO_OP))
      expect([name, Reflect.get(uops, name)]).toEqual([name, value]);
  });

  test('guest code, micro-ops and WebAssembly of the region that was asked for', () => {
    const machine = new UserMachine(module, true);
    // ADD RAX, RCX; MOV [RBX + 8], RAX
    const code = Uint8Array.of(0x48, 0x01, 0xc8, 0x48, 0x89, 0x43, 0x08);
    const [text = ''] = regionsWith(machine, code, 3);
    expect(text).toMatch(/^region in page 0x10000000: \d+ nodes, \d+ bytes of WebAssembly\n/);
    expect(text).toContain('  0x10000100  48 01 c8\n      ADD64 d=rax s=rcx ');
    expect(text).toContain('  0x10000103  48 89 43 08\n      ST64 ');
    expect(text).toMatch(/ST64 d=\S+ s=rax \[rbx\+0\*1\+0x8\]/);
    expect(text).toMatch(/\n +i64\.add\n/);
    expect(text).toMatch(/\n +i64\.store( offset=0x[0-9a-f]+)?\n/);
    // The function's own end is the last line: nothing is missing, and nothing comes behind it.
    expect(text.endsWith('\n  end')).toBe(true);
    expect(regionsWith(machine, code, 0x200)).toEqual([]);
  });

  test('instructions of the vectors, one of each sixteenth form', () => {
    const machine = new UserMachine(module, true);
    const codes = [...instructionPool(false, 1), ...instructionPool(true, 1)].filter((_, n) => n % 16 === 0);
    for (const { form, code } of codes) {
      const texts = regionsWith(machine, code, 0);
      expect(texts, form).not.toEqual([]);
      for (const text of texts) expect(text.endsWith('\n  end'), form).toBe(true);
    }
  });
});
