import { isDeepStrictEqual } from 'node:util';
import { describe, expect, test } from 'vitest';
import { Hda } from '../../devices/audio/hda/hda.ts';
import * as R from '../../devices/audio/hda/registers.ts';
import { PcmConverter } from '../../devices/audio/pcm-converter.ts';
import type { AudioBackend, PcmFormat } from '../../devices/backends/audio.ts';
import { FakeMachine } from '../support/fake-bus.ts';
import { FakeClock } from '../support/fake-clock.ts';
import * as D from '../support/hda-driver.ts';

const SLOT = 3;
const MS = 1_000_000;
const SECOND = 1000 * MS;

/** Keeps what was played; records a counter. */
class Tape implements AudioBackend {
  formats: PcmFormat[] = [];
  played: number[] = [];
  refuses = false;
  ends = 0;
  #next = 0;

  begin(format: PcmFormat): void {
    this.formats.push(format);
  }
  play(samples: Uint8Array): boolean {
    if (!this.refuses) this.played.push(...samples);
    return !this.refuses;
  }
  record(into: Uint8Array): boolean {
    if (this.refuses) return false;
    for (let i = 0; i < into.length; i++) into[i] = this.#next++ & 0xff;
    return true;
  }
  end(): void {
    this.ends++;
  }
  close(): Promise<void> {
    return Promise.resolve();
  }
}

class Rig {
  readonly clock = new FakeClock();
  readonly tape = new Tape();
  readonly machine: FakeMachine;
  readonly device: Hda;
  readonly driver: D.HdaDriver;

  constructor(memory?: FakeMachine['memory']) {
    this.machine = new FakeMachine({}, memory);
    const context = this.machine.context({ clock: this.clock });
    this.device = new Hda(context, { play: this.tape, record: this.tape }, true, true);
    this.machine.pci.add({ bus: 0, slot: SLOT, func: 0 }, this.device);
    this.machine.pci.configure();
    this.machine.pci.start();
    this.driver = new D.HdaDriver(this.machine, SLOT);
    this.driver.start();
  }

  get interrupts(): number {
    return this.machine.interrupts.asserted().pins.length;
  }

  /** Buffers of 4800 bytes (25 ms) of counting samples; the DAC listens to stream tag 1. */
  play(count = 4): void {
    const { memory } = this.machine;
    for (let i = 0; i < count * 4800; i++) memory.writeU8(0x200000 + i, i % 251);
    this.driver.command(2, 0x706, 0x10);
    const buffers = Array.from({ length: count }, (_, i) => [0x200000 + i * 4800, 4800, true] as const);
    this.driver.run(4, 1, D.FORMAT_48_STEREO, buffers);
  }

  /** Time goes on with a driver that sees every interrupt. */
  run(ns: number, seen = true): void {
    for (let done = 0; done < ns; done += MS) {
      this.clock.advance(MS);
      if (seen && this.interrupts > 0) this.driver.write(this.driver.stream(4) + 3, 1, 0xff);
      if (seen && this.interrupts > 0) this.driver.write(this.driver.stream(0) + 3, 1, 0xff);
    }
  }
}

describe('controller', () => {
  test('what a driver reads first', () => {
    const { machine, driver } = new Rig();
    expect(machine.config(SLOT, 0, 4)).toBe(0x27d88086);
    expect([machine.config(SLOT, 8, 4) >>> 8, machine.config(SLOT, 0x40, 1)]).toEqual([0x040300, 1]);
    expect([driver.read(0, 2), driver.read(2, 1), driver.read(3, 1)]).toEqual([0x4401, 0, 1]);
    expect(driver.read(D.STATESTS, 2)).toBe(1);
    driver.write(D.STATESTS, 2, 1);
    expect(driver.read(D.STATESTS, 2)).toBe(0);
    driver.write(D.GCTL, 4, 0);
    expect([driver.read(D.GCTL, 4), driver.read(0x4c, 1)]).toEqual([0, 0]);
  });

  test('the codec: a line-out and a line-in', () => {
    const { driver } = new Rig();
    const parameter = (node: number, id: number): number | undefined => driver.command(node, 0xf00, id);
    expect([parameter(0, 0), parameter(0, 2), parameter(0, 4)]).toEqual([0x8086, 0xffff, 0x10001]);
    expect([parameter(1, 4), parameter(1, 5)]).toEqual([0x20004, 1]);
    expect([2, 3, 4, 5].map((node) => (parameter(node, 9) ?? 0) >>> 20)).toEqual([0, 4, 1, 4]);
    expect(parameter(2, 0xa)).toBe(0x207fc);
    expect([driver.command(3, 0xf02, 0), driver.command(4, 0xf02, 0)]).toEqual([2, 5]);
    driver.command(2, 0x2, 0x4011);
    expect(driver.command(2, 0xa, 0)).toBe(0x4011);
    driver.command(2, 0x3, 0xb000 | 0x20);
    expect([driver.command(2, 0xb, 0xa000), driver.command(2, 0xb, 0x8000)]).toEqual([0x20, 0x20]);
    expect(driver.command(99, 0xf00, 0)).toBe(0);
  });

  test('commands one by one', () => {
    const { driver } = new Rig();
    driver.write(0x60, 4, 0x000f0000);
    driver.write(0x68, 2, R.ICIS_BUSY);
    expect([driver.read(0x68, 2), driver.read(0x64, 4)]).toEqual([R.ICIS_VALID, 0x8086]);
    // No codec at address 1.
    driver.write(0x60, 4, 0x100f0000);
    driver.write(0x68, 2, R.ICIS_BUSY | R.ICIS_VALID);
    expect(driver.read(0x68, 2)).toBe(0);
  });
});

describe('playing', () => {
  test('every sample once, in order, at the pace of the clock', () => {
    const it = new Rig();
    it.play();
    it.run(SECOND);
    expect(it.tape.formats).toEqual([{ sampleRateHz: 48000, channels: 2 }]);
    expect(it.tape.played.every((byte, at) => byte === (at % 19200) % 251)).toBe(true);
    // A second is 192,000 bytes.
    expect(it.tape.played.length).toBeGreaterThan(185_000);
    expect(it.tape.played.length).toBeLessThanOrEqual(192_000);
    const position = it.driver.read(it.driver.stream(4) + 4, 4);
    expect(position).toBe(it.tape.played.length % 19200);
    expect(it.driver.read(R.LPIB_ALIAS + 4 * R.STREAM_STRIDE, 4)).toBe(position);
  });

  test('positions in memory, when the driver wants them', () => {
    const it = new Rig();
    it.driver.write(D.DPLBASE, 4, it.driver.positions | 1);
    it.play();
    it.run(60 * MS);
    expect(it.machine.memory.readU32(it.driver.positions + 8 * 4)).toBe(it.driver.read(it.driver.stream(4) + 4, 4));
  });

  test('a driver that has not seen the last interrupt is waited for', () => {
    const it = new Rig();
    it.play();
    it.run(500 * MS, false);
    expect(it.tape.played.length).toBe(4800);
    expect(it.interrupts).toBe(1);
    it.run(100 * MS);
    expect(it.tape.played.length).toBeGreaterThan(3 * 4800);
  });

  test('so is a backend without room, and nothing is lost', () => {
    const it = new Rig();
    it.play();
    it.run(50 * MS);
    it.tape.refuses = true;
    it.run(200 * MS);
    it.tape.refuses = false;
    it.run(50 * MS);
    expect(it.tape.played.every((byte, at) => byte === (at % 19200) % 251)).toBe(true);
  });

  test('the amplifier', () => {
    const it = new Rig();
    it.driver.command(2, 0x3, 0xb000 | 0x80);
    it.play();
    it.run(20 * MS);
    expect(it.tape.played.every((byte) => byte === 0)).toBe(true);
  });

  test('stopping ends it', () => {
    const it = new Rig();
    it.play();
    it.run(30 * MS);
    it.driver.write(it.driver.stream(4), 1, 0);
    const { length } = it.tape.played;
    it.run(100 * MS);
    expect([it.tape.played.length, it.tape.ends]).toEqual([length, 1]);
  });
});

test('recording fills the buffers', () => {
  const it = new Rig();
  it.driver.command(4, 0x706, 0x20);
  it.driver.run(0, 2, D.FORMAT_48_STEREO, [
    [0x200000, 9600, true],
    [0x210000, 9600, true],
  ]);
  it.run(80 * MS);
  const bytes = new Uint8Array(9600);
  it.machine.memory.read(0x200000, bytes);
  expect(bytes.every((byte, at) => byte === (at & 0xff))).toBe(true);
});

describe('hostile lists', () => {
  test('entries without length, all of them', () => {
    const it = new Rig();
    it.driver.command(2, 0x706, 0x10);
    it.driver.run(
      4,
      1,
      D.FORMAT_48_STEREO,
      Array.from({ length: 256 }, () => [0x200000, 0, false] as const),
    );
    it.run(100 * MS);
    expect(it.tape.played).toEqual([]);
  });

  test('buffers and lists that are not in memory stop the stream with an error', () => {
    const it = new Rig();
    it.driver.command(2, 0x706, 0x10);
    it.driver.run(4, 1, D.FORMAT_48_STEREO, [[0xfffffff0, 4800, true]]);
    it.run(10 * MS, false);
    expect(it.driver.read(it.driver.stream(4) + 3, 1) & R.SDSTS_DESCRIPTOR_ERROR).not.toBe(0);
    expect(it.driver.read(it.driver.stream(4), 1) & R.SDCTL_RUN).toBe(0);
    expect(it.device.counters()['bad streams']).toBe(1);
  });
});

test('a snapshot in the middle of a buffer goes on with the next sample', () => {
  const it = new Rig();
  it.play();
  it.run(30 * MS);
  void it.device.pause();
  const state = it.device.save();
  const copy = new Rig(it.machine.memory);
  copy.device.restore(structuredClone(state));
  expect(isDeepStrictEqual(copy.device.save(), state)).toBe(true);
  void copy.device.pause();
  copy.device.resume();
  copy.run(200 * MS);
  const all = [...it.tape.played, ...copy.tape.played];
  expect(all.length).toBeGreaterThan(30_000);
  expect(all.every((byte, at) => byte === (at % 19200) % 251)).toBe(true);
});

test('samples are converted', () => {
  const mono = Int16Array.from({ length: 4410 }, (_, i) =>
    Math.round(10000 * Math.sin((2 * Math.PI * 441 * i) / 44100)),
  );
  const converter = new PcmConverter({ sampleRateHz: 44100, channels: 1 }, { sampleRateHz: 48000, channels: 2 });
  const bytes = new Uint8Array(mono.buffer);
  const pieces = [bytes.subarray(0, 1000), bytes.subarray(1000, 3002), bytes.subarray(3002)];
  const out = pieces.flatMap((piece) => [...converter.convert(piece)]);
  const stereo = new Int16Array(Uint8Array.from(out).buffer);
  expect(Math.abs(stereo.length / 2 - 4800)).toBeLessThanOrEqual(2);
  for (let i = 0; i < stereo.length / 2; i++) {
    const wanted = 10000 * Math.sin((2 * Math.PI * 441 * i) / 48000);
    expect(Math.abs((stereo[2 * i] ?? 0) - wanted)).toBeLessThan(60);
    expect(stereo[2 * i + 1]).toBe(stereo[2 * i]);
  }
});
