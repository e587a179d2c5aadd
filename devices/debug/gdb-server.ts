/**
 * The debug server of bhyve(8), -G: the GDB remote serial protocol for one debugger at a time. vCPU N is thread N + 1. While a debugger is
 * connected the machine stands still unless it was told to go on; when it leaves, the machine goes on.
 */
import type { CharacterBackend } from '../backends/character.ts';
import type { DebugTarget } from './debug-target.ts';
import {
  bytesOf,
  hexOf,
  littleEndianHex,
  littleEndianValue,
  MAX_PACKET_BYTES,
  packetBytes,
  PacketReader,
} from './packets.ts';

/** Registers in GDB's order for x86-64 (64-bit-core.xml), with their sizes in bytes; the x87 registers that follow are not offered. */
const REGISTERS: readonly (readonly [name: string, sizeBytes: number])[] = [
  ...['rax', 'rbx', 'rcx', 'rdx', 'rsi', 'rdi', 'rbp', 'rsp'].map((name) => [name, 8] as const),
  ...['r8', 'r9', 'r10', 'r11', 'r12', 'r13', 'r14', 'r15', 'rip'].map((name) => [name, 8] as const),
  ...['rflags', 'cs', 'ss', 'ds', 'es', 'fs', 'gs'].map((name) => [name, 4] as const),
];

/** Tells a debugger without a program's file what it talks to. */
const TARGET_XML =
  '<?xml version="1.0"?><!DOCTYPE target SYSTEM "gdb-target.dtd">' +
  '<target version="1.0"><architecture>i386:x86-64</architecture></target>';

const OK = 'OK';
/** FreeBSD's numbers, in hexadecimal as the protocol has them. */
const EFAULT = 'E0e';
const EINVAL = 'E16';
const MAX_BREAKPOINTS = 1000;
const ANY_THREAD = new Set(['0', '-1']);

export class GdbServer {
  readonly #reader = new PacketReader();
  #connected = false;
  #running: boolean;
  #vcpu = 0;
  #breakpoints = new Set<bigint>();
  #lastSent: Uint8Array | undefined;
  /** Packets are answered one after the other; stopping the processors takes its time. */
  #last: Promise<void> = Promise.resolve();
  #closed = false;

  /** `waits`: the machine stands still until a debugger lets it go. */
  constructor(
    private readonly target: DebugTarget,
    private readonly backend: CharacterBackend,
    waits: boolean,
    private readonly failed: (error: unknown) => void,
  ) {
    this.#running = !waits;
    target.onStopped = (vcpu) => this.#enqueue(() => this.#stoppedAtBreakpoint(vcpu));
  }

  /** Listens to debuggers from now on. */
  open(): void {
    this.backend.open({
      receive: (bytes) => {
        for (const received of this.#reader.push(bytes)) {
          if (received.kind === 'packet') this.#enqueue(() => this.#packet(received.text));
          else if (received.kind === 'interrupt') this.#enqueue(() => this.#interrupted());
          else if (received.kind === 'damaged') this.backend.write(Uint8Array.of(0x2d));
          else if (received.kind === 'refused' && this.#lastSent) this.backend.write(this.#lastSent);
        }
      },
      drained: () => undefined,
      carrier: (present) => this.#enqueue(() => (present ? this.#connect() : this.#disconnect())),
    });
  }

  /** The machine has ended: a debugger that waits for it hears the exit status. */
  async close(status: number): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#connected && this.#running) this.#send(`W${(status & 0xff).toString(16).padStart(2, '0')}`);
    await this.backend.close();
  }

  #enqueue(action: () => Promise<void> | void): void {
    this.#last = this.#last.then(() => (this.#closed ? undefined : action())).catch(this.failed);
  }

  async #connect(): Promise<void> {
    this.#connected = true;
    this.#reader.reset();
    this.#vcpu = 0;
    await this.#stop();
  }

  async #disconnect(): Promise<void> {
    if (!this.#connected) return;
    this.#connected = false;
    await this.#stop();
    this.#breakpoints.clear();
    this.#resume();
  }

  async #stop(): Promise<void> {
    if (!this.#running) return;
    await this.target.stop();
    this.#running = false;
  }

  #resume(): void {
    if (this.#running) return;
    this.#running = true;
    this.target.resume(this.#breakpoints, this.#vcpu);
  }

  async #interrupted(): Promise<void> {
    if (!this.#running) return;
    await this.#stop();
    this.#send(this.#stopReply('02'));
  }

  #stoppedAtBreakpoint(vcpu: number): void {
    // A stop that was asked for may have come first.
    if (!this.#running) return;
    this.#running = false;
    this.#vcpu = vcpu;
    this.#send(this.#stopReply('05', 'swbreak:;'));
  }

  #stopReply(signal: string, reason = ''): string {
    return `T${signal}thread:${this.#threadId()};${reason}`;
  }

  #threadId(vcpu = this.#vcpu): string {
    return (vcpu + 1).toString(16);
  }

  #send(data: string): void {
    this.#lastSent = packetBytes(data);
    this.backend.write(this.#lastSent);
  }

  async #packet(text: string): Promise<void> {
    this.backend.write(Uint8Array.of(0x2b));
    // All but the wish to stop waits until the machine stands still (bhyve takes nothing else then).
    if (this.#running) return;
    const rest = text.slice(1);
    switch (text[0]) {
      case 'c':
        return rest === '' ? this.#resume() : this.#send(EINVAL);
      case 's':
        if (rest !== '') return this.#send(EINVAL);
        await this.target.step(this.#vcpu);
        return this.#send(this.#stopReply('05'));
      case 'D':
        this.#send(OK);
        this.#breakpoints.clear();
        return this.#resume();
      case 'k':
        return;
      default:
        return this.#send(this.#answer(text, rest));
    }
  }

  /** The answer to a packet that only asks or changes something; empty for one that is not known, as the protocol wants it. */
  #answer(text: string, rest: string): string {
    switch (text[0]) {
      case '?':
        return this.#stopReply('05');
      case 'g':
        return REGISTERS.map(([name, size]) => littleEndianHex(this.target.readRegister(this.#vcpu, name), size)).join(
          '',
        );
      case 'G':
        return this.#writeRegisters(rest);
      case 'p':
        return this.#readRegister(rest);
      case 'P':
        return this.#writeRegister(rest);
      case 'm':
        return this.#readMemory(rest);
      case 'M':
        return this.#writeMemory(rest);
      case 'H':
        return this.#selectThread(rest.slice(1));
      case 'T':
        return this.#vcpuOf(rest) === undefined ? EINVAL : OK;
      case 'Z':
      case 'z':
        return this.#breakpoint(text);
      case 'q':
        return this.#query(rest);
      default:
        return '';
    }
  }

  #vcpuOf(thread: string): number | undefined {
    const vcpu = /^[0-9a-f]{1,8}$/i.test(thread) ? Number.parseInt(thread, 16) - 1 : -1;
    return vcpu >= 0 && vcpu < this.target.vcpus ? vcpu : undefined;
  }

  #selectThread(thread: string): string {
    if (ANY_THREAD.has(thread)) return OK;
    const vcpu = this.#vcpuOf(thread);
    if (vcpu === undefined) return EINVAL;
    this.#vcpu = vcpu;
    return OK;
  }

  #writeRegisters(hex: string): string {
    const bytes = bytesOf(hex);
    if (!bytes || bytes.length < REGISTERS.reduce((sum, [, size]) => sum + size, 0)) return EINVAL;
    let at = 0;
    for (const [name, size] of REGISTERS) {
      this.target.writeRegister(this.#vcpu, name, littleEndianValue(bytes.subarray(at, at + size)));
      at += size;
    }
    return OK;
  }

  #readRegister(number: string): string {
    const register = /^[0-9a-f]{1,4}$/i.test(number) ? REGISTERS[Number.parseInt(number, 16)] : undefined;
    // What is not there is unavailable rather than an error: debuggers ask for x87 and SSE registers too.
    if (!register) return 'xxxxxxxx';
    return littleEndianHex(this.target.readRegister(this.#vcpu, register[0]), register[1]);
  }

  #writeRegister(text: string): string {
    const [number = '', hex = ''] = text.split('=');
    const register = /^[0-9a-f]{1,4}$/i.test(number) ? REGISTERS[Number.parseInt(number, 16)] : undefined;
    const bytes = bytesOf(hex);
    if (!register || bytes?.length !== register[1]) return EINVAL;
    this.target.writeRegister(this.#vcpu, register[0], littleEndianValue(bytes));
    return OK;
  }

  #readMemory(text: string): string {
    const match = /^([0-9a-f]{1,16}),([0-9a-f]{1,8})$/i.exec(text);
    if (!match?.[1] || !match[2]) return EINVAL;
    const lengthBytes = Math.min(Number.parseInt(match[2], 16), MAX_PACKET_BYTES / 2);
    const bytes = this.target.readMemory(this.#vcpu, BigInt(`0x${match[1]}`), lengthBytes);
    return bytes ? hexOf(bytes) : EFAULT;
  }

  #writeMemory(text: string): string {
    const match = /^([0-9a-f]{1,16}),([0-9a-f]{1,8}):([0-9a-f]*)$/i.exec(text);
    const bytes = bytesOf(match?.[3] ?? 'x');
    if (!match?.[1] || !match[2] || bytes?.length !== Number.parseInt(match[2], 16)) return EINVAL;
    return this.target.writeMemory(this.#vcpu, BigInt(`0x${match[1]}`), bytes) ? OK : EFAULT;
  }

  /** Kinds 0 and 1: the machine stops before the instruction at an address; guest memory stays as it is for both. */
  #breakpoint(text: string): string {
    const match = /^[Zz]([0-9]),([0-9a-f]{1,16}),[0-9a-f]+$/i.exec(text);
    if (!match?.[1] || !match[2]) return EINVAL;
    if (match[1] !== '0' && match[1] !== '1') return '';
    const address = BigInt(`0x${match[2]}`);
    if (text.startsWith('z')) this.#breakpoints.delete(address);
    else if (this.#breakpoints.size >= MAX_BREAKPOINTS) return EINVAL;
    else this.#breakpoints.add(address);
    return OK;
  }

  #query(text: string): string {
    if (text.startsWith('Supported')) {
      return `PacketSize=${MAX_PACKET_BYTES.toString(16)};swbreak+;hwbreak+;qXfer:features:read+`;
    }
    if (text.startsWith('Attached')) return '1';
    if (text === 'C') return `QC${this.#threadId()}`;
    if (text === 'fThreadInfo') {
      return `m${Array.from({ length: this.target.vcpus }, (_, vcpu) => this.#threadId(vcpu)).join(',')}`;
    }
    if (text === 'sThreadInfo') return 'l';
    const [, thread] = /^ThreadExtraInfo,([0-9a-f]+)$/i.exec(text) ?? [];
    if (thread !== undefined) {
      const vcpu = this.#vcpuOf(thread);
      return vcpu === undefined ? EINVAL : hexOf(new TextEncoder().encode(`vCPU ${vcpu}`));
    }
    const [, offset, length] = /^Xfer:features:read:target\.xml:([0-9a-f]{1,8}),([0-9a-f]{1,8})$/i.exec(text) ?? [];
    if (offset === undefined || length === undefined) return '';
    const from = Number.parseInt(offset, 16);
    const to = from + Number.parseInt(length, 16);
    return `${to < TARGET_XML.length ? 'm' : 'l'}${TARGET_XML.slice(from, to)}`;
  }
}
