/** What the core wants the user to read (core-as/host.ts: NOTE_*), in bhyve's words. */
import { regionText } from './region-dump.ts';

const NOTE_RDMSR = 1;
const NOTE_WRMSR = 2;
const NOTE_TRIPLE_FAULT = 3;
const NOTE_POOL_EXHAUSTED = 4;
const NOTE_REGION = 5;

/** A guest can cause notes without end; each register is told of once, and no more than this many in all. */
const MAX_NOTES = 200;

export class Notes {
  readonly #told = new Set<string>();
  #regions = 0;

  /** `memory` is the core's. */
  constructor(
    private readonly message: (text: string) => void,
    private readonly memory: WebAssembly.Memory,
  ) {}

  readonly handler = (vcpu: number, note: number, a: number, b: number): void => {
    if (note === NOTE_REGION) {
      // The user has asked for them, but a guest may change its code without end.
      if (++this.#regions > MAX_NOTES) return;
      this.message(`vcpu ${vcpu}: ${regionText(this.memory.buffer, a)}`);
      return;
    }
    const key = `${note}:${a}`;
    if (this.#told.has(key) || this.#told.size >= MAX_NOTES) return;
    this.#told.add(key);
    const text = describe(vcpu, note, a, b);
    if (text !== undefined) this.message(text);
  };
}

function describe(vcpu: number, note: number, a: number, b: number): string | undefined {
  switch (note) {
    case NOTE_RDMSR:
      return `rdmsr to register 0x${a.toString(16)} on vcpu ${vcpu}`;
    case NOTE_WRMSR:
      return `wrmsr to register 0x${a.toString(16)}(0x${b.toString(16)}) on vcpu ${vcpu}`;
    case NOTE_TRIPLE_FAULT:
      return `triple fault on vcpu ${vcpu} at 0x${a.toString(16)} (first vector ${b})`;
    case NOTE_POOL_EXHAUSTED:
      return `out of memory at guest address 0x${a.toString(16)}`;
    default:
      return undefined;
  }
}
