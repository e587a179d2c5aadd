/**
 * A running machine under the control of somebody else: what bhyvectl(8) asks vmm(4) for, as requests and replies of plain
 * data that can be written as JSON. 64-bit numbers travel as hexadecimal text.
 */
import { ACTIVE_CPUS, CFG_ROM_BYTES, SUSPEND_REASON } from '../../core-as/layout.ts';
import { MAX_VCPUS } from '../config/index.ts';
import {
  readControlDescriptor,
  readControlRegister,
  writeControlDescriptor,
  writeControlRegister,
} from './control-registers.ts';
import { readNvram, readRtcSeconds, writeNvram, writeRtcSeconds } from './control-rtc.ts';
import { readStatistics } from './control-stats.ts';
import type { SnapshotSink } from '../snapshot.ts';
import type { Machine } from './machine.ts';

/** What a machine can be asked, by command: its arguments and what comes back. */
export interface ControlCommands {
  info: { arguments: Record<never, never>; result: { readonly name: string; readonly vcpus: number } };
  registers: {
    arguments: { readonly vcpu: number; readonly names: readonly string[] };
    result: { readonly values: Readonly<Record<string, string>> };
  };
  'set-registers': {
    arguments: { readonly vcpu: number; readonly values: Readonly<Record<string, string>> };
    result: Record<never, never>;
  };
  descriptors: {
    arguments: { readonly vcpu: number; readonly names: readonly string[] };
    result: { readonly values: Readonly<Record<string, DescriptorText>> };
  };
  /** What is left out of a register stays as it is. */
  'set-descriptors': {
    arguments: { readonly vcpu: number; readonly values: Readonly<Record<string, Partial<DescriptorText>>> };
    result: Record<never, never>;
  };
  nmi: { arguments: { readonly vcpu: number }; result: Record<never, never> };
  reset: { arguments: Record<never, never>; result: Record<never, never> };
  poweroff: { arguments: Record<never, never>; result: Record<never, never> };
  destroy: { arguments: Record<never, never>; result: Record<never, never> };
  /** `file` is absolute. */
  checkpoint: {
    arguments: { readonly file: string; readonly suspend: boolean };
    result: { readonly lengthBytes: number };
  };
  statistics: {
    arguments: { readonly vcpu: number };
    result: { readonly list: readonly (readonly [name: string, value: string])[] };
  };
  memory: {
    arguments: Record<never, never>;
    result: { readonly lowBytes: number; readonly highBytes: number; readonly romBytes: number };
  };
  /** Whether the local APICs may be in x2APIC mode. */
  x2apic: { arguments: Record<never, never>; result: { readonly enabled: boolean } };
  /** vmm(4)'s capabilities of a processor: whether each is set. */
  capabilities: {
    arguments: { readonly vcpu: number };
    result: { readonly list: readonly (readonly [name: string, set: boolean])[] };
  };
  'rtc-time': { arguments: Record<never, never>; result: { readonly seconds: number } };
  'set-rtc-time': { arguments: { readonly seconds: number }; result: Record<never, never> };
  nvram: { arguments: { readonly offset: number }; result: { readonly value: number } };
  'set-nvram': { arguments: { readonly offset: number; readonly value: number }; result: Record<never, never> };
  cpus: {
    arguments: Record<never, never>;
    result: { readonly active: readonly number[]; readonly suspended: readonly number[] };
  };
  topology: {
    arguments: Record<never, never>;
    result: {
      readonly sockets: number;
      readonly cores: number;
      readonly threads: number;
      readonly maxcpus: number;
    };
  };
}

export interface DescriptorText {
  readonly selector: number;
  readonly base: string;
  readonly limit: number;
  readonly access: number;
}

export type ControlCommand = keyof ControlCommands;

/** errno names that requests can fail with. */
export type ControlErrno = 'EINVAL' | 'EBUSY' | 'EIO' | 'ENXIO' | 'EALREADY' | 'ENOSYS';

/** A request that could not be met. */
export class ControlError extends Error {
  override readonly name = 'ControlError';
  constructor(
    readonly errno: ControlErrno,
    message: string,
  ) {
    super(message);
  }
}

/** Why the machine was ended from outside; decides the process's exit status. */
export type ControlEnd = 'destroyed' | 'suspended';

export interface ControlHost {
  /** Keeps in a file what `save` writes; resolves to its length in bytes, rejects with a message for the user. */
  writeCheckpoint(file: string, save: (sink: SnapshotSink) => Promise<void>): Promise<number>;
  /** The machine is gone from now on: its name is free. Called before the request is answered. */
  ended(end: ControlEnd): void;
}

/** A request as it came from outside: nothing about it is certain. */
type Fields = { readonly [field: string]: unknown };

function numberField(fields: Fields, name: string): number {
  const value = fields[name];
  if (typeof value !== 'number' || !Number.isSafeInteger(value)) throw invalid(`${name} must be a whole number`);
  return value;
}

function namesField(fields: Fields): string[] {
  const { names } = fields;
  if (!Array.isArray(names) || !names.every((name) => typeof name === 'string')) {
    throw invalid('names must be a list of strings');
  }
  return names;
}

function objectOf(value: unknown, name: string): Fields {
  if (typeof value !== 'object' || value === null) throw invalid(`${name} must be an object`);
  return value as Fields;
}

function hexField(text: unknown, name: string): bigint {
  if (typeof text !== 'string' || !/^0x[0-9a-f]{1,16}$/i.test(text)) throw invalid(`${name} must be hexadecimal`);
  return BigInt(text);
}

function invalid(message: string): ControlError {
  return new ControlError('EINVAL', message);
}

function hex(value: bigint): string {
  return `0x${value.toString(16)}`;
}

function bitsOf(mask: number): number[] {
  return Array.from({ length: MAX_VCPUS }, (_, cpu) => cpu).filter((cpu) => (mask >>> cpu) & 1);
}

export class MachineControl {
  /** Requests that need the machine to stand still, and those that end it, come one after the other. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly machine: Machine,
    private readonly host: ControlHost,
  ) {}

  /** Answers one request. Rejects with {@link ControlError}; anything else is a bug. */
  handle(request: unknown): Promise<object> {
    if (typeof request !== 'object' || request === null) return Promise.reject(invalid('a request is an object'));
    const fields = request as Fields;
    const answer = this.#last.then(() => this.#answer(fields));
    this.#last = answer.catch(() => undefined);
    return answer;
  }

  async #answer(fields: Fields): Promise<object> {
    const { machine } = this;
    const { state, settings, plan } = machine;
    switch (fields['command']) {
      case 'info':
        return { name: machine.name, vcpus: plan.vcpus };
      case 'registers':
        return this.#registers(this.#vcpu(fields), namesField(fields));
      case 'set-registers':
        return this.#setRegisters(this.#vcpu(fields), fields['values']);
      case 'descriptors':
        return this.#descriptors(this.#vcpu(fields), namesField(fields));
      case 'set-descriptors':
        return this.#setDescriptors(this.#vcpu(fields), fields['values']);
      case 'nmi': {
        const vcpu = this.#vcpu(fields);
        this.#mustRun();
        machine.core.exports.raiseNmi(vcpu);
        return {};
      }
      case 'reset':
        this.#mustRun();
        machine.reset();
        return {};
      case 'poweroff':
        this.#mustRun();
        machine.powerOff();
        return {};
      case 'destroy':
        await machine.destroy();
        this.host.ended('destroyed');
        return {};
      case 'checkpoint':
        return this.#checkpoint(fields);
      case 'statistics': {
        const list = readStatistics(machine, this.#vcpu(fields));
        return { list: list.map(({ name, value }) => [name, value.toString()]) };
      }
      case 'memory':
        return { lowBytes: plan.lowBytes, highBytes: plan.highBytes, romBytes: state.u32(CFG_ROM_BYTES) };
      case 'x2apic':
        return { enabled: settings.flags.x2apic };
      case 'capabilities':
        this.#vcpu(fields);
        return {
          list: [
            ['hlt_exit', settings.flags.vmexitOnHlt],
            // Single steps are the debug server's own, and end with it.
            ['mtrap_exit', false],
            ['pause_exit', settings.flags.vmexitOnPause],
            ['unrestricted_guest', true],
            ['enable_invpcid', true],
          ],
        };
      case 'rtc-time':
        return { seconds: await this.#still(() => readRtcSeconds(state, machine.clock.nowNs())) };
      case 'set-rtc-time': {
        const seconds = numberField(fields, 'seconds');
        const set = await this.#still(() => writeRtcSeconds(state, machine.clock.nowNs(), seconds));
        if (!set) throw invalid(`the clock cannot be set to ${seconds}`);
        return {};
      }
      case 'nvram': {
        const offset = numberField(fields, 'offset');
        const value = await this.#still(() => readNvram(state, offset));
        if (value === undefined) throw invalid(`there is no byte ${offset} in the CMOS memory`);
        return { value };
      }
      case 'set-nvram': {
        const [offset, value] = [numberField(fields, 'offset'), numberField(fields, 'value')];
        if (!(await this.#still(() => writeNvram(state, offset, value)))) {
          throw invalid(`byte ${offset} of the CMOS memory cannot be set to ${value}`);
        }
        return {};
      }
      case 'cpus': {
        const active = bitsOf(state.u32(ACTIVE_CPUS));
        return { active, suspended: state.u32(SUSPEND_REASON) === 0 ? [] : active };
      }
      case 'topology': {
        const { sockets, cores, threads } = settings.topology;
        return { sockets, cores, threads, maxcpus: MAX_VCPUS };
      }
      default:
        throw new ControlError('ENOSYS', `there is no command ${JSON.stringify(fields['command'])}`);
    }
  }

  #vcpu(fields: Fields): number {
    const vcpu = numberField(fields, 'vcpu');
    if (vcpu < 0 || vcpu >= this.machine.plan.vcpus) throw invalid(`there is no vCPU ${vcpu}`);
    return vcpu;
  }

  #mustRun(): void {
    if (this.machine.state.u32(SUSPEND_REASON) !== 0) throw new ControlError('EALREADY', 'the machine has ended');
  }

  /** Does something while the processors and the clock stand still. */
  async #still<T>(action: () => T | Promise<T>): Promise<T> {
    const wasRunning = this.machine.running;
    await this.machine.pause();
    try {
      return await action();
    } finally {
      if (wasRunning) this.machine.resume();
    }
  }

  #registers(vcpu: number, names: readonly string[]): Promise<object> {
    return this.#still(() => {
      const core = this.machine.vcpuCore(vcpu);
      const values = names.map((name) => {
        const value = readControlRegister(core, name);
        if (value === undefined) throw invalid(`there is no register ${name}`);
        return [name, hex(value)];
      });
      return { values: Object.fromEntries(values) as Record<string, string> };
    });
  }

  #setRegisters(vcpu: number, values: unknown): Promise<object> {
    const wanted = Object.entries(objectOf(values, 'values')).map(
      ([name, text]) => [name, hexField(text, name)] as const,
    );
    return this.#still(() => {
      const core = this.machine.vcpuCore(vcpu);
      for (const [name, value] of wanted) {
        if (!writeControlRegister(core, name, value)) throw invalid(`there is no register ${name}`);
      }
      core.exports.stateChanged();
      return {};
    });
  }

  #descriptors(vcpu: number, names: readonly string[]): Promise<object> {
    return this.#still(() => {
      const core = this.machine.vcpuCore(vcpu);
      const values = names.map((name): [string, DescriptorText] => {
        const value = readControlDescriptor(core, name);
        if (value === undefined) throw invalid(`there is no segment or table register ${name}`);
        return [name, { ...value, base: hex(value.base) }];
      });
      return { values: Object.fromEntries(values) };
    });
  }

  #setDescriptors(vcpu: number, values: unknown): Promise<object> {
    const wanted = Object.entries(objectOf(values, 'values')).map(([name, value]) => {
      const change = objectOf(value, name);
      const part = (field: string, maximum: number): number | undefined => {
        if (change[field] === undefined) return undefined;
        const number = numberField(change, field);
        if (number < 0 || number > maximum) throw invalid(`${field} of ${name} is out of range`);
        return number;
      };
      const { base } = change;
      return [
        name,
        {
          selector: part('selector', 0xffff),
          base: base === undefined ? undefined : hexField(base, `base of ${name}`),
          limit: part('limit', 0xffffffff),
          access: part('access', 0xffffffff),
        },
      ] as const;
    });
    return this.#still(() => {
      const core = this.machine.vcpuCore(vcpu);
      for (const [name, { selector, base, limit, access }] of wanted) {
        const change = {
          ...(selector === undefined ? {} : { selector }),
          ...(base === undefined ? {} : { base }),
          ...(limit === undefined ? {} : { limit }),
          ...(access === undefined ? {} : { access }),
        };
        if (!writeControlDescriptor(core, name, change)) throw invalid(`there is no such segment register ${name}`);
      }
      core.exports.stateChanged();
      return {};
    });
  }

  async #checkpoint(fields: Fields): Promise<object> {
    const { file, suspend } = fields;
    if (typeof file !== 'string' || typeof suspend !== 'boolean') throw invalid('file and suspend are needed');
    this.#mustRun();
    return this.#still(async () => {
      let lengthBytes: number;
      try {
        lengthBytes = await this.host.writeCheckpoint(file, (sink) => this.machine.saveTo(sink));
      } catch (error) {
        throw new ControlError('EIO', error instanceof Error ? error.message : String(error));
      }
      if (suspend) {
        await this.machine.destroy();
        this.host.ended('suspended');
      }
      return { lengthBytes };
    });
  }
}
