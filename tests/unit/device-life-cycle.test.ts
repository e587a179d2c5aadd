/** Start, pause, resume, reset and close, as the machine drives them: devices/device.ts, device-set.ts, request-tracker.ts. */
import { afterEach, describe, expect, test } from 'vitest';
import type { BlockBackend } from '../../devices/backends/block.ts';
import { MemoryBackend } from '../../devices/block/memory-backend.ts';
import { DeviceSet } from '../../devices/device-set.ts';
import type { Device } from '../../devices/device.ts';
import { RequestTracker } from '../../devices/request-tracker.ts';
import { settle } from '../support/fake-block.ts';
import { destroyTestMachines, payloadMachine } from '../support/machine.ts';

afterEach(destroyTestMachines);

class Recorder implements Device {
  constructor(
    private readonly name: string,
    private readonly log: string[],
    private readonly closing: () => Promise<void> = () => Promise.resolve(),
  ) {}
  start(): void {
    this.log.push(`${this.name} start`);
  }
  async pause(): Promise<void> {
    await settle();
    this.log.push(`${this.name} pause`);
  }
  resume(): void {
    this.log.push(`${this.name} resume`);
  }
  reset(): void {
    this.log.push(`${this.name} reset`);
  }
  close(): Promise<void> {
    this.log.push(`${this.name} close`);
    return this.closing();
  }
  counters(): Readonly<Record<string, number>> {
    return this.name === 'a' ? { drops: 3 } : {};
  }
  save(): ReturnType<Device['save']> {
    return { kind: this.name, version: 1, fields: {} };
  }
  restore(): void {}
}

describe('a set of devices', () => {
  test('goes through its life in order and says when it is asked out of order', async () => {
    const log: string[] = [];
    const set = new DeviceSet({ failed: () => undefined });
    set.add('a', new Recorder('a', log));
    set.add('b', new Recorder('b', log));
    expect(() => set.add('a', new Recorder('a', log))).toThrow(/two devices a/);
    set.start();
    expect(() => set.start()).toThrow(/running/);
    expect(() => set.resume()).toThrow(/running/);
    await Promise.all([set.pause(), set.pause()]);
    await set.pause();
    set.resume();
    await set.reset();
    await set.close();
    await set.close();
    expect(log).toEqual(
      ['start', 'pause', 'resume', 'reset']
        .flatMap((what) => [`a ${what}`, `b ${what}`])
        .concat(['b close', 'a close']),
    );
    expect(set.counters()).toEqual({ a: { drops: 3 } });
  });

  test('closes the others when one fails and one hangs', async () => {
    const log: string[] = [];
    const failures: string[] = [];
    const failed = (name: string, what: string, error: unknown): void => {
      failures.push(`${name} ${what}: ${(error as Error).message}`);
    };
    const set = new DeviceSet({ failed, closePatienceMs: 20 });
    set.add('fails', new Recorder('fails', log, () => Promise.reject(new Error('no'))));
    set.add('hangs', new Recorder('hangs', log, () => new Promise(() => undefined)));
    set.add('closes', new Recorder('closes', log));
    await set.close();
    expect(log.sort()).toEqual(['closes close', 'fails close', 'hangs close']);
    expect(failures.sort()).toEqual(['fails close: no', 'hangs close: not done after 20 ms']);
  });
});

describe('requests in flight', () => {
  const deferred = (): { promise: Promise<number>; resolve: (value: number) => void; reject: (e: Error) => void } => {
    let resolve: (value: number) => void = () => undefined;
    let reject: (error: Error) => void = () => undefined;
    const promise = new Promise<number>((yes, no) => {
      resolve = yes;
      reject = no;
    });
    return { promise, resolve, reject };
  };

  test('complete once, fail once, and are waited for with what they begin', async () => {
    const bugs: unknown[] = [];
    const tracker = new RequestTracker((error) => bugs.push(error));
    const [first, second] = [deferred(), deferred()];
    const heard: string[] = [];
    const failed = (): void => {
      heard.push('failed');
    };
    tracker.begin(
      first.promise,
      (value) => {
        heard.push(`first ${value}`);
        tracker.begin(second.promise, () => heard.push('second'), failed);
        throw new Error('a bug');
      },
      failed,
    );
    tracker.begin(Promise.reject(new Error('EIO')), () => heard.push('never'), failed);
    let drained = false;
    const draining = tracker.drain().then(() => (drained = true));
    first.resolve(1);
    await settle();
    expect([drained, tracker.inFlight]).toEqual([false, 1]);
    second.resolve(2);
    await draining;
    expect(heard).toEqual(['failed', 'first 1', 'second']);
    expect(bugs).toHaveLength(1);
  });

  test('abandoned ones complete unheard; abandoning waits for them and for none that came later', async () => {
    const tracker = new RequestTracker(() => undefined);
    const [old, later] = [deferred(), deferred()];
    const heard: string[] = [];
    tracker.begin(
      old.promise,
      () => heard.push('old'),
      () => heard.push('old failed'),
    );
    let over = false;
    const abandoned = tracker.abandon().then(() => (over = true));
    tracker.begin(
      later.promise,
      () => heard.push('later'),
      () => undefined,
    );
    await settle();
    expect(over).toBe(false);
    old.reject(new Error('late'));
    await abandoned;
    expect(tracker.inFlight).toBe(1);
    later.resolve(0);
    await tracker.drain();
    expect(heard).toEqual(['later']);
  });
});

/** out 0x404, SLP_TYP 5 | SLP_EN: powers off. */
const POWER_OFF = [0x66, 0xba, 0x04, 0x04, 0x66, 0xb8, 0x00, 0x34, 0x66, 0xef];

test.each([
  ['rejects', (): Promise<void> => Promise.reject(new Error('the disk is gone')), 'the disk is gone'],
  ['never resolves', (): Promise<void> => new Promise(() => undefined), 'not done after 5000 ms'],
])(
  'a backend whose close %s: the machine ends with its reason and a message',
  { timeout: 120_000 },
  async (_, close, what) => {
    const backend: BlockBackend = Object.assign(new MemoryBackend(new Uint8Array(4096)), { close });
    await using guest = await payloadMachine(POWER_OFF, {
      backend: 'inline',
      args: ['-s', '3,virtio-blk,/disk'],
      backends: { block: () => Promise.resolve(backend) },
    });
    guest.machine.start();
    expect(await guest.machine.waitForExit({ timeout: 10_000 })).toMatchObject({ code: 1, reason: 'poweroff' });
    expect(guest.messages.join('\n')).toContain(what);
  },
);
