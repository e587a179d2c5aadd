/** Guests that are a boot ROM: where it lies, and the variables below it. Real-mode code assembled by hand (SDM vol. 2). */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { destroyTestMachines, testMachine } from '../support/machine.ts';
import { killPrograms, Program, programForTests } from '../support/machine-program.ts';
import { createMachine } from '../../host-node/index.ts';
import { parseCommandLine } from '../../devices/config/index.ts';
import { compileCore } from '../support/compile-core.ts';

const PAGE = 4096;
/** Offsets in the code segment of the reset state, whose base is 0xFFFF0000: the ROM, and a page of variables below it. */
const ROM = 0xf000;
const VARIABLES = 0xe000;
const SLOT = VARIABLES + 0x10;

const word = (value: number): number[] => [value & 0xff, value >> 8];
/** mov al, cs:[at] */
const load = (at: number): number[] => [0x2e, 0xa0, ...word(at)];
/** mov byte cs:[at], value */
const store = (at: number, value: number): number[] => [0x2e, 0xc6, 0x06, ...word(at), value];
/** mov cs:[at], al */
const storeAl = (at: number): number[] => [0x2e, 0xa2, ...word(at)];
/** mov dx, 3F8; out dx, al */
const PUT_AL = [0xba, ...word(0x3f8), 0xee];
/** add al, value */
const add = (value: number): number[] => [0x04, value];
/** mov dx, 404; mov ax, 3400; out dx, ax; hlt: S5. */
const POWER_OFF = [0xba, ...word(0x404), 0xb8, ...word(0x3400), 0xef, 0xf4];
/** jmp $ */
const SPIN = [0xeb, 0xfe];

/** One page with the code at its beginning and a jump to it at the reset vector. */
function rom(code: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(PAGE);
  bytes.set(code);
  const vector = 0xff0;
  bytes.set([0xe9, ...word((ROM - (ROM + vector + 3)) & 0xffff)], vector);
  return bytes;
}

/** Asks as EDK II does whether this is a flash chip, shows the variable, adds one to it and shows it again. */
const COUNT = [
  ...store(VARIABLES, 0x50),
  ...load(VARIABLES),
  ...add(0x30),
  ...PUT_AL,
  ...store(VARIABLES, 0xff),
  ...load(SLOT),
  ...PUT_AL,
  ...add(1),
  ...store(SLOT, 0x10),
  ...storeAl(SLOT),
  ...load(SLOT),
  ...PUT_AL,
];

let directory: string;
const file = (name: string): string => join(directory, name);

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'webhyve-rom-'));
  writeFileSync(file('count'), rom([...COUNT, ...POWER_OFF]));
  writeFileSync(file('count-spin'), rom([...COUNT, ...SPIN]));
  // mov dx, 1234; in al, dx
  writeFileSync(file('in'), rom([0xba, ...word(0x1234), 0xec, ...POWER_OFF]));
  writeFileSync(file('off'), rom(POWER_OFF));
  // The last byte below the ROM, the first of it, and the same after a store into each.
  const look = [ROM - 1, ROM].flatMap((at) => [...load(at), ...add(0x42), ...PUT_AL]);
  writeFileSync(file('look'), rom([...look, ...store(ROM - 1, 1), ...store(ROM, 1), ...look, ...POWER_OFF]));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));
afterEach(async () => {
  await destroyTestMachines();
  await killPrograms();
});

function newVariables(): string {
  const bytes = Buffer.alloc(PAGE, 0xff);
  bytes[SLOT - VARIABLES] = 'A'.charCodeAt(0);
  writeFileSync(file('vars'), bytes);
  return file('vars');
}

const machineArgs = (name: string, ...rest: string[]): string[] => [
  ...['-s', '0,hostbridge', '-s', '31,lpc', '-l', 'com1,stdio', '-l', `bootrom,${file(name)}${rest.join('')}`, 'rom'],
];

describe.each(['thread', 'inline'] as const)('%s', (backend) => {
  test('a variable is there in the next run', async () => {
    const variables = newVariables();
    for (const shown of ['0AB', '0BC', '0CD']) {
      await using guest = await testMachine(machineArgs('count', `,${variables}`), { backend });
      guest.machine.start();
      expect(await guest.machine.exited).toMatchObject({ code: 1, reason: 'poweroff' });
      expect(guest.com1.transcript).toBe(shown);
    }
    const kept = readFileSync(variables);
    expect(kept[SLOT - VARIABLES]).toBe('D'.charCodeAt(0));
    expect(kept.filter((byte) => byte !== 0xff)).toHaveLength(1);
  });

  test('memory ends where the ROM begins, and stores into either are lost', async () => {
    await using guest = await testMachine(machineArgs('look'), { backend });
    guest.machine.start();
    expect(await guest.machine.exited).toMatchObject({ code: 1 });
    // 0xFF and the code's first byte, 0x2E, with 0x42 added.
    expect(guest.com1.transcript).toBe('ApAp');
  });

  test('as in version 15 a ROM needs no lpc bridge', async () => {
    const { tree } = parseCommandLine(['-s', '0,hostbridge', '-l', `bootrom,${file('off')}`, 'rom'], {
      programName: 'bhyve',
      readTextFile: () => '',
    });
    const machine = await createMachine(tree, { core: await compileCore('core-as/index.ts', 'release'), backend });
    machine.start();
    expect(await machine.exited).toMatchObject({ code: 1, reason: 'poweroff' });
  });
});

test('what the guest could read back outlives a killed process', async () => {
  const variables = newVariables();
  const program = new Program(process.execPath, [
    await programForTests(),
    ...machineArgs('count-spin', `,${variables}`).slice(0, -1),
    `rom-${process.pid}`,
  ]);
  await program.console.expect('0AB', { timeout: 30_000 });
  await program.kill();
  expect(readFileSync(variables)[SLOT - VARIABLES]).toBe('B'.charCodeAt(0));
});

test("-e ends the process with bhyve's line and the status of an abort", async () => {
  const run = async (...args: string[]): Promise<unknown> => {
    const program = new Program(process.execPath, [
      ...[await programForTests(), ...args, ...machineArgs('in').slice(0, -1), `in-${process.pid}`],
    ]);
    return { ...(await program.ended), stderr: program.stderr };
  };
  expect(await run('-e')).toEqual({ code: 134, signal: null, stderr: 'Unhandled inb 0x1234 at 0xf003\n' });
  expect(await run()).toEqual({ code: 1, signal: null, stderr: '' });
});
