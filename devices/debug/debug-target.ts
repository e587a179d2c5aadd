/** What a debugger does with a machine. */

export interface DebugTarget {
  readonly vcpus: number;
  /** Called when a vCPU has come to a breakpoint and all stand still. */
  onStopped: ((vcpu: number) => void) | undefined;
  /** Resolves when all vCPUs stand still. */
  stop(): Promise<void>;
  /** All vCPUs go on, up to the first breakpoint; that under vCPU `from`, where the debugger is, does not count. */
  resume(breakpoints: ReadonlySet<bigint>, from: number): void;
  /** One instruction of one vCPU. The others stand still. */
  step(vcpu: number): Promise<void>;
  /** Only while all stand still; so are the others below. `name` is that of a general register, rip, rflags or a segment's selector. */
  readRegister(vcpu: number, name: string): bigint;
  writeRegister(vcpu: number, name: string, value: bigint): void;
  /** Bytes at an address as the vCPU's page tables have it; as many as are mapped, undefined when the first is not. */
  readMemory(vcpu: number, address: bigint, lengthBytes: number): Uint8Array | undefined;
  /** False when a part of it is not mapped; nothing is written then. */
  writeMemory(vcpu: number, address: bigint, bytes: Uint8Array): boolean;
}
