/** The TPM's registers as a driver and a hostile guest use them. */
import { expect, test } from 'vitest';
import type { TpmBackend } from '../../devices/backends/tpm.ts';
import { MmioBus } from '../../devices/bus/mmio-bus.ts';
import type { AccessSize } from '../../devices/bus/port-bus.ts';
import { TPM_GPA } from '../../devices/firmware/layout.ts';
import { BUFFER_BYTES, TpmCrb } from '../../devices/tpm/crb.ts';
import { settle } from '../support/fake-block.ts';
import { FakeRandom } from '../support/fake-random.ts';

const OPERATIONS = Number(process.env['WEBHYVE_FUZZ_OPERATIONS'] ?? 20_000);

/** Answers with the command turned round, when it is told to. */
class FakeTpm implements TpmBackend {
  commands: Uint8Array[] = [];
  held: (() => void)[] = [];
  hold = false;
  fail = false;

  async execute(command: Uint8Array): Promise<Uint8Array> {
    this.commands.push(command);
    if (this.hold) await new Promise<void>((resolve) => this.held.push(resolve));
    if (this.fail) throw new Error('gone');
    return command.slice().reverse();
  }

  close(): void {}
}

function setUp() {
  const mmio = new MmioBus();
  const backend = new FakeTpm();
  const bugs: unknown[] = [];
  const tpm = new TpmCrb(mmio, backend, (error) => bugs.push(error));
  const read = (offset: number, size: AccessSize = 4): number => mmio.read(TPM_GPA + offset, size);
  const write = (offset: number, value: number, size: AccessSize = 4): void =>
    mmio.write(TPM_GPA + offset, size, value);
  const ready = (): void => {
    write(0x08, 1);
    write(0x40, 1);
  };
  const put = (bytes: readonly number[]): void => {
    for (const [index, byte] of bytes.entries()) write(0x80 + index, byte, 1);
  };
  return { tpm, backend, bugs, read, write, ready, put };
}

const COMMAND = [0x80, 0x01, 0, 0, 0, 12, 0, 0, 1, 0x7b, 0, 8];

test('what a driver reads first', () => {
  const { read } = setUp();
  expect(read(0x30) & 0xf).toBe(1);
  expect(read(0x00)).toBe(0x80);
  expect(read(0x44)).toBe(2);
  expect([read(0x58), read(0x64)]).toEqual([BUFFER_BYTES, BUFFER_BYTES]);
  expect([read(0x5c), read(0x60), read(0x68), read(0x6c)]).toEqual([TPM_GPA + 0x80, 0, TPM_GPA + 0x80, 0]);
});

test('a command and its answer; nothing happens without locality and readiness', async () => {
  const { tpm, backend, read, write, ready, put } = setUp();
  put(COMMAND);
  write(0x4c, 1);
  write(0x40, 1);
  write(0x4c, 1);
  expect(backend.commands).toEqual([]);
  ready();
  expect([read(0x00), read(0x0c), read(0x44)]).toEqual([0x82, 1, 0]);
  backend.hold = true;
  write(0x4c, 1);
  expect(read(0x4c)).toBe(1);
  // The buffer is the TPM's now.
  write(0x80, 0xff, 1);
  for (const answer of backend.held) answer();
  await settle();
  expect(read(0x4c)).toBe(0);
  expect(backend.commands).toEqual([Uint8Array.from(COMMAND)]);
  expect(COMMAND.map((_, index) => read(0x80 + index, 1))).toEqual([...COMMAND].reverse());
  write(0x40, 2);
  write(0x08, 2);
  expect([read(0x44), read(0x0c)]).toEqual([2, 0]);
  expect(tpm.counters()).toMatchObject({ commands: 1, 'bad accesses': 1, 'backend errors': 0 });
});

test('bad lengths and a TPM that is gone end with the error bit', async () => {
  const { tpm, backend, read, write, ready, put } = setUp();
  ready();
  for (const size of [0, 9, BUFFER_BYTES + 1, 0xffffffff]) {
    put([0, 0, size >>> 24, (size >> 16) & 0xff, (size >> 8) & 0xff, size & 0xff]);
    write(0x4c, 1);
    expect(read(0x44) & 1).toBe(1);
    ready();
  }
  expect(tpm.badCommands).toBe(4);
  backend.fail = true;
  put(COMMAND);
  write(0x4c, 1);
  await settle();
  expect([read(0x4c), read(0x44)]).toEqual([0, 1]);
});

test('a pause waits for the answer; a reset drops it; a snapshot holds the interface', async () => {
  const { tpm, backend, read, write, ready, put } = setUp();
  ready();
  put(COMMAND);
  backend.hold = true;
  write(0x4c, 1);
  let paused = false;
  const pause = tpm.pause().then(() => (paused = true));
  await settle();
  expect(paused).toBe(false);
  backend.held.shift()?.();
  await pause;
  const copy = setUp();
  copy.tpm.restore(structuredClone(tpm.save()));
  expect(copy.tpm.save()).toEqual(tpm.save());
  expect(copy.read(0x80, 1)).toBe(COMMAND.at(-1));
  write(0x80, 0x80, 1);
  put(COMMAND);
  write(0x4c, 1);
  const reset = tpm.reset();
  backend.held.shift()?.();
  await reset;
  await settle();
  expect([read(0x80), read(0x4c), read(0x44)]).toEqual([0, 0, 2]);
});

test('random accesses', async () => {
  const { tpm, backend, bugs, read, write } = setUp();
  const random = new FakeRandom(7);
  const sizes = [1, 2, 4] as const;
  for (let i = 0; i < OPERATIONS; i++) {
    const size = sizes[random.below(3)] ?? 4;
    const offset = random.below(random.below(2) ? 0x100 : 0x5000 - 4);
    if (random.below(3) === 0) read(offset, size);
    else write(offset, random.nasty(), size);
    if (random.below(20) === 0)
      for (const [at, value] of [
        [0x08, 1],
        [0x40, 1],
        [0x4c, 1],
      ] as const)
        write(at, value);
    backend.fail = random.below(4) === 0;
    if (i % 50 === 0) await settle();
  }
  await tpm.pause();
  expect(bugs).toEqual([]);
  expect(backend.commands.every(({ length }) => length >= 10 && length <= BUFFER_BYTES)).toBe(true);
});
