import { Worker } from 'node:worker_threads';
import { expect, test } from 'vitest';
import * as L from '../../core-as/layout.ts';
import { IntcMachine, compiledIntc } from './intc-support.ts';

const ROUNDS = 4000;
/** All output together fits the ring, for nobody here waits for THRE. */
const BYTES_A_ROUND = 2;

/**
 * One vCPU's thread: answers every IPI from the other with one of its own, sleeping on its doorbell in between, and on the way
 * prints to the shared COM1 and raises level interrupts at the I/O APIC that both acknowledge.
 */
const VCPU_THREAD = `
const { workerData, parentPort } = require('node:worker_threads');
const { module, memory, cpu, rounds, bytes, pending, doorbell, blocking } = workerData;
const core = new WebAssembly.Instance(module, {
  env: { memory, hostNowNs: () => Number(process.hrtime.bigint()), hostWallSeconds: () => 0 },
}).exports;
if (blocking) core.allowBlocking();
const words = new Int32Array(memory.buffer);
const pin = 20 + cpu;
let received = 0;
let levels = 0;
function ping() {
  for (let i = 0; i < bytes; i++) core.portWrite(0x3f8, 1, 0x30 + cpu);
  core.lapicMmioWrite(cpu, 0x310, 4, (1 - cpu) << 24);
  core.lapicMmioWrite(cpu, 0x300, 4, 0x40 + cpu * 16);
}
if (cpu === 0) ping();
while (received < rounds) {
  const seen = Atomics.load(words, doorbell);
  Atomics.exchange(words, pending, 0);
  let vector = core.interruptAcknowledge(cpu);
  if (vector < 0) {
    if (Atomics.wait(words, doorbell, seen, 10000) === 'timed-out') throw new Error('lost interrupt on ' + cpu);
    continue;
  }
  if (vector === 0x50 - cpu * 16) {
    received++;
    core.setIoApicPin(pin, 1);
    // The last answer has nobody to wait for it on the second processor's side.
    if (cpu === 1 || received < rounds) ping();
  } else if (vector === 0x90 + cpu) {
    levels++;
    core.setIoApicPin(pin, 0);
  } else {
    throw new Error('unexpected vector ' + vector);
  }
  core.lapicMmioWrite(cpu, 0xb0, 4, 0);
}
parentPort.postMessage({ received, levels });
`;

// A browser's main thread spins for the lock, others sleep, and both may meet.
test.each([
  [true, true],
  [false, true],
  [false, false],
])(
  'two threads: no interrupt, byte or Remote IRR is lost; may block: %s, %s',
  { timeout: 120_000 },
  async (...blocking) => {
    const m = IntcMachine.create({ cpus: 2 });
    if (blocking[0]) m.core.allowBlocking();
    m.enableApics();
    m.view.setUint32(L.UART + L.UART_CONNECTED, 1, true);
    for (let cpu = 0; cpu < 2; cpu++) m.route(20 + cpu, 0x8090 + cpu, cpu);
    const results = [0, 1].map(
      (cpu) =>
        new Promise<{ received: number; levels: number }>((resolve, reject) => {
          const workerData = {
            module: compiledIntc,
            memory: m.memory,
            cpu,
            blocking: blocking[cpu],
            rounds: ROUNDS,
            bytes: BYTES_A_ROUND,
            pending: (m.block(cpu) + L.R_PENDING) >> 2,
            doorbell: (m.block(cpu) + L.R_DOORBELL) >> 2,
          };
          const worker = new Worker(VCPU_THREAD, { eval: true, workerData });
          worker.once('message', resolve);
          worker.once('error', reject);
        }),
    );
    // The host's side: takes the output while it is made.
    let received = 0;
    const take = (): void => {
      const uart = L.UART >> 2;
      const head = Atomics.load(m.words, uart + (L.UART_TX_HEAD >> 2));
      const tail = Atomics.load(m.words, uart + (L.UART_TX_TAIL >> 2));
      for (let i = tail; i < head; i++) {
        const byte = m.bytes[L.UART_RINGS + (i % L.UART_RING_SIZE)];
        if (byte !== 0x30 && byte !== 0x31) throw new Error(`byte ${i} is ${byte}`);
      }
      received += head - tail;
      Atomics.store(m.words, uart + (L.UART_TX_TAIL >> 2), head);
      m.core.uartHostEvent(0);
    };
    const timer = setInterval(take, 1);
    const [first, second] = await Promise.all(results).finally(() => clearInterval(timer));
    take();
    expect(first?.received).toBe(ROUNDS);
    expect(second?.received).toBe(ROUNDS);
    expect(first?.levels).toBeGreaterThan(ROUNDS / 2);
    expect(received).toBe(2 * ROUNDS * BYTES_A_ROUND);
    expect(m.view.getInt32(L.INTC_LOCK, true)).toBe(0);
  },
);
