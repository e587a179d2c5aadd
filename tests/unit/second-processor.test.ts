/**
 * A second processor of a hostile guest changes rings, tables, lists and requests while disk controllers, network cards, USB, sound and input work on them: a
 * thread of its own flips bits and puts them right again, as fast as it can. No exception, no write outside guest memory, and after a reset the device is as new.
 */
import { isDeepStrictEqual } from 'node:util';
import { Worker } from 'node:worker_threads';
import { afterEach, expect, test } from 'vitest';
import { settle } from '../support/fake-block.ts';
import { FakeRandom } from '../support/fake-random.ts';
import { optionsFor, rigOf, SLOT } from '../support/fuzz-rig.ts';
import { HostileGuest, RINGS, STRUCTURES_BYTES } from '../support/hostile-guest.ts';

/** WEBHYVE_FUZZ_OPERATIONS=1000000 takes some minutes; the default a second for each device. */
const OPERATIONS = Number(process.env['WEBHYVE_FUZZ_OPERATIONS'] ?? 20_000);
const OPERATIONS_A_TURN = 500;

/** The words that the two threads tell each other. */
const STOP = 0;
const FLIPS = 1;

/**
 * Most flips hit words that mean something: a word is chosen that is not zero, or its neighbour. The second flip of the same bits restores what the
 * driver, or the device, has not changed meanwhile.
 */
const SECOND_PROCESSOR = `
  const { words, control, seed } = require('node:worker_threads').workerData;
  let state = seed;
  const random = () => {
    state ^= state << 13; state ^= state >>> 17; state ^= state << 5;
    return state >>> 0;
  };
  const used = [];
  for (let round = 0; Atomics.load(control, ${STOP}) === 0; round++) {
    if (round % 4096 === 0) {
      used.length = 0;
      for (let at = 0; at < words.length; at++) if (words[at] !== 0) used.push(at);
    }
    const at = used.length > 0 ? used[random() % used.length] ^ (random() & 1) : random() % words.length;
    const bits = random() & 1 ? 1 << (random() & 31) : random();
    Atomics.xor(words, at, bits);
    for (let wait = random() & 0xff; wait > 0; wait--) Atomics.load(control, ${STOP});
    Atomics.xor(words, at, bits);
    Atomics.add(control, ${FLIPS}, 1);
  }
`;

const workers: Worker[] = [];
afterEach(async () => {
  for (const worker of workers.splice(0)) await worker.terminate();
});

const DEVICES = [
  ...['virtio-blk', 'virtio-scsi', 'ahci', 'nvme', 'virtio-net', 'e1000'],
  ...['xhci', 'hda', 'virtio-input'],
];

test.each(DEVICES)(
  `%s: ${OPERATIONS} operations beside a second processor`,
  async (device) => {
    const random = new FakeRandom(0x2c9);
    const rig = await rigOf(device);
    const { memory, log } = rig.machine;
    const fresh = structuredClone(rig.machine.pci.save());
    const guest = new HostileGuest(rig.machine, rig.fn, SLOT, random, optionsFor(device, rig, random));
    const control = new Int32Array(new SharedArrayBuffer(8));
    const worker = new Worker(SECOND_PROCESSOR, {
      eval: true,
      workerData: { words: memory.words(RINGS, STRUCTURES_BYTES), control, seed: 0x5eed },
    });
    workers.push(worker);
    const ended = new Promise((resolve, reject) => worker.once('exit', resolve).once('error', reject));
    while (Atomics.load(control, FLIPS) === 0) await settle();
    for (let operation = 1; operation <= OPERATIONS; operation++) {
      guest.step();
      if (operation % OPERATIONS_A_TURN === 0) await settle();
    }
    Atomics.store(control, STOP, 1);
    await ended;
    expect(memory.guardsIntact).toBe(true);
    expect(log.length).toBeLessThan(100);
    await rig.fn.pause();
    await rig.machine.pci.reset();
    expect(isDeepStrictEqual(rig.machine.pci.save(), fresh)).toBe(true);
    await rig.fn.close();
  },
  120_000 + OPERATIONS,
);
