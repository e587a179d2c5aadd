/**
 * bhyvectl(8): looks a machine up by its name and does what the options ask, in bhyvectl's own order: create, sets, gets, then
 * what ends the machine.
 */
import { resolve } from 'node:path';
import { errnoText } from '../../devices/config/index.ts';
import type { DescriptorText } from '../../devices/machine/control.ts';
import { CONTROL_REGISTERS, CONTROL_SEGMENTS, CONTROL_TABLES } from '../../devices/machine/control-registers.ts';
import {
  MACHINE_REGISTER_LINES,
  capabilityLine,
  cpusLine,
  descriptorLine,
  highmemLine,
  lowmemLine,
  memoryMap,
  memorySegments,
  nvramLine,
  registerLine,
  rtcTimeLine,
  selectorLine,
  statisticsText,
  topologyLine,
} from './bhyvectl-format.ts';
import {
  BhyvectlRefusal,
  BhyvectlUsage,
  bhyvectlUsage,
  parseBhyvectl,
  parseNumber,
  type BhyvectlCommand,
} from './bhyvectl-options.ts';
import { ControlClient, RequestError } from './control-client.ts';
import { answers, NameError, type MachineRecord, type Registry } from './registry.ts';

/** Where the output goes. */
export interface BhyvectlOutput {
  stdout(text: string): void;
  stderr(text: string): void;
}

const STATUS_ERROR = 1;
/** bhyvectl exits with the -1 of the call that failed. */
const STATUS_CALL_FAILED = 255;
/** FreeBSD's numbers (errno(2)), which scripts see in `errno = N`. */
const ERRNO_NUMBERS: Readonly<Record<string, number>> = {
  ENOENT: 2,
  EIO: 5,
  ENXIO: 6,
  EEXIST: 17,
  EINVAL: 22,
  EBUSY: 16,
  EALREADY: 37,
  ETIMEDOUT: 60,
  ENOSYS: 78,
};

/** A call of vmm(4) that failed: its errno is printed, and what this machine has to say. */
class CallFailed extends Error {
  override readonly name = 'CallFailed';
  constructor(
    readonly errno: string,
    message: string,
  ) {
    super(message);
  }
}

/** Ends the run with this status; the text is complete. */
class Ends extends Error {
  override readonly name = 'Ends';
  constructor(
    readonly status: number,
    readonly text: string,
  ) {
    super(text);
  }
}

function cannotOpen(name: string, errno: string): Ends {
  const text = errnoText(Object.assign(new Error(errno), { code: errno }));
  return new Ends(STATUS_ERROR, `vm_open: ${name} could not be opened: ${text}\n`);
}

/** The argument of an option that takes a number; the parser has looked at it. */
function numberOf(command: BhyvectlCommand, option: string): bigint {
  return parseNumber(command.options.get(option) ?? '') ?? 0n;
}

class Operations {
  #client: ControlClient | undefined;

  constructor(
    private readonly registry: Registry,
    private readonly command: BhyvectlCommand,
    private readonly output: BhyvectlOutput,
  ) {}

  async run(): Promise<void> {
    const { options, vm } = this.command;
    if (options.has('create')) {
      const { id } = this.registry.newLife();
      await this.registry.claim(vm, { id, state: 'created', pid: 0, socket: '' }, false);
    }
    const record = this.registry.read(vm);
    if (!record) throw cannotOpen(vm, 'ENOENT');
    const wanted = [...options.keys()].filter(
      (name) => !['create', 'destroy', 'rtc-nvram-offset', 'capname'].includes(name),
    );
    const alive = record.state === 'running' && (await answers(record.socket));
    if (wanted.length > 0 && !alive) throw this.#notRunning(record);
    try {
      if (alive) this.#client = await ControlClient.connect(record.socket).catch(() => undefined);
      if (wanted.length > 0) {
        await this.#sets();
        await this.#gets();
        await this.#ends();
      }
      if (options.has('destroy')) await this.#destroy(record);
    } finally {
      this.#client?.close();
    }
  }

  #notRunning(record: MachineRecord): Ends {
    const how =
      record.state === 'created'
        ? 'has not been started'
        : record.state === 'ended'
          ? `has ended (${record.reason ?? 'no reason is known'})`
          : `is gone: its process ${record.pid} was killed`;
    return new Ends(STATUS_ERROR, `bhyvectl: ${this.command.vm} ${how}; only --destroy is possible\n`);
  }

  get #machine(): ControlClient {
    if (!this.#client) throw new CallFailed('ENXIO', 'the machine is gone');
    return this.#client;
  }

  #has(option: string): boolean {
    return this.command.options.has(option);
  }

  async #sets(): Promise<void> {
    const { options, vcpu } = this.command;
    const values: Record<string, string> = {};
    for (const name of CONTROL_REGISTERS) {
      if (!options.has(`set-${name}`)) continue;
      values[name] = `0x${BigInt.asUintN(64, numberOf(this.command, `set-${name}`)).toString(16)}`;
    }
    if (Object.keys(values).length > 0) await this.#machine.request('set-registers', { vcpu, values });
    await this.#setDescriptors();
    if (this.#has('set-rtc-nvram')) {
      const offset = Number(numberOf(this.command, 'rtc-nvram-offset'));
      await this.#machine.request('set-nvram', { offset, value: Number(numberOf(this.command, 'set-rtc-nvram')) });
    }
    if (this.#has('set-rtc-time')) {
      await this.#machine.request('set-rtc-time', { seconds: Number(numberOf(this.command, 'set-rtc-time')) });
    }
    if (this.#has('inject-nmi')) await this.#machine.request('nmi', { vcpu });
  }

  /** --set-desc-X takes all three parts from --desc-*, which are 0 unless they are given; --set-X is the selector. */
  async #setDescriptors(): Promise<void> {
    const { vcpu } = this.command;
    const uint = (option: string, bits: number): bigint => BigInt.asUintN(bits, numberOf(this.command, option));
    const values: Record<string, Partial<DescriptorText>> = {};
    for (const name of [...CONTROL_SEGMENTS, ...CONTROL_TABLES]) {
      if (!this.#has(`set-desc-${name}`)) continue;
      values[name] = {
        base: `0x${uint('desc-base', 64).toString(16)}`,
        limit: Number(uint('desc-limit', 32)),
        access: Number(uint('desc-access', 32)),
      };
    }
    for (const name of CONTROL_SEGMENTS) {
      if (!this.#has(`set-${name}`)) continue;
      values[name] = { ...values[name], selector: Number(uint(`set-${name}`, 16)) };
    }
    if (Object.keys(values).length > 0) await this.#machine.request('set-descriptors', { vcpu, values });
  }

  async #gets(): Promise<void> {
    const { vcpu } = this.command;
    const all = this.#has('get-all');
    const print = (text: string): void => this.output.stdout(text);
    if (all || ['get-lowmem', 'get-highmem', 'get-memseg', 'get-memmap'].some((name) => this.#has(name))) {
      const memory = await this.#machine.request('memory', {});
      if (all || this.#has('get-memseg')) print(memorySegments(memory));
      if (all || this.#has('get-memmap')) print(memoryMap(memory));
      if (all || this.#has('get-lowmem')) print(lowmemLine(memory.lowBytes));
      if (all || this.#has('get-highmem')) print(highmemLine(memory.highBytes));
    }
    await this.#registers(all);
    await this.#processor(all);
    if (this.#has('get-rtc-nvram')) {
      const offset = Number(numberOf(this.command, 'rtc-nvram-offset'));
      print(nvramLine(offset, (await this.#machine.request('nvram', { offset })).value));
    }
    if (all || this.#has('get-rtc-time')) {
      print(rtcTimeLine((await this.#machine.request('rtc-time', {})).seconds));
    }
    if (all || this.#has('get-active-cpus') || this.#has('get-suspended-cpus')) {
      const { active, suspended } = await this.#machine.request('cpus', {});
      if (all || this.#has('get-active-cpus')) print(cpusLine('active cpus', active));
      if (all || this.#has('get-suspended-cpus')) print(cpusLine('suspended cpus', suspended));
    }
    if (all || this.#has('get-cpu-topology')) print(topologyLine(await this.#machine.request('topology', {})));
    if (this.#has('get-stats')) print(statisticsText(vcpu, (await this.#machine.request('statistics', { vcpu })).list));
  }

  /** What FreeBSD's bhyvectl reads from VMCS or VMCB and a processor has anyway; and its capabilities. */
  async #processor(all: boolean): Promise<void> {
    const { vcpu, options } = this.command;
    const print = (text: string): void => this.output.stdout(text);
    if (all || this.#has('get-x2apic-state')) {
      print(`x2apic_state[${vcpu}]\t${(await this.#machine.request('x2apic', {})).enabled ? 1 : 0}\n`);
    }
    const lines = MACHINE_REGISTER_LINES.filter(({ option }) => all || this.#has(option));
    if (lines.length > 0) {
      const names = lines.map(({ register }) => register);
      const { values } = await this.#machine.request('registers', { vcpu, names });
      for (const { register, line } of lines) print(line(vcpu, BigInt(values[register] ?? '0x0')));
    }
    if (!all && !this.#has('getcap')) return;
    const { list } = await this.#machine.request('capabilities', { vcpu });
    const wanted = list.filter(([name]) => name === options.get('capname'));
    // As in bhyvectl a name that is none stands for all of them.
    for (const [name, set] of wanted.length > 0 ? wanted : list) print(capabilityLine(name, set, vcpu));
  }

  async #registers(all: boolean): Promise<void> {
    const { vcpu } = this.command;
    const registers = CONTROL_REGISTERS.filter((name) => all || this.#has(`get-${name}`));
    const described = [...CONTROL_SEGMENTS, ...CONTROL_TABLES].filter((name) => all || this.#has(`get-desc-${name}`));
    const selected = CONTROL_SEGMENTS.filter((name) => all || this.#has(`get-${name}`));
    if (registers.length > 0) {
      const { values } = await this.#machine.request('registers', { vcpu, names: registers });
      for (const name of registers) this.output.stdout(registerLine(name, vcpu, BigInt(values[name] ?? '0x0')));
    }
    const names = [...new Set([...described, ...selected])];
    if (names.length === 0) return;
    const { values } = await this.#machine.request('descriptors', { vcpu, names });
    for (const name of described) if (values[name]) this.output.stdout(descriptorLine(name, vcpu, values[name]));
    for (const name of selected) if (values[name]) this.output.stdout(selectorLine(name, vcpu, values[name]));
  }

  async #ends(): Promise<void> {
    const { options } = this.command;
    if (this.#has('force-reset')) await this.#machine.request('reset', {});
    if (this.#has('force-poweroff')) await this.#machine.request('poweroff', {});
    for (const name of ['checkpoint', 'suspend'] as const) {
      const file = options.get(name);
      // The file is meant to lie where the user is, not where the machine's process was started.
      if (file !== undefined) {
        await this.#machine.request('checkpoint', { file: resolve(file), suspend: name === 'suspend' });
      }
    }
  }

  async #destroy(record: MachineRecord): Promise<void> {
    if (this.#client) {
      try {
        await this.#client.request('destroy', {});
      } catch (error) {
        // Ended in the meantime, by itself or by an operation before this one: what is left is its name.
        if (!(error instanceof RequestError) || error.errno !== 'ENXIO') throw error;
      }
    }
    const left = this.registry.read(this.command.vm);
    if (left?.id === record.id) this.registry.remove(this.command.vm, left);
  }
}

/** Runs bhyvectl with the words after its name; resolves with the exit status. */
export async function runBhyvectl(
  argv: readonly string[],
  openRegistry: () => Registry,
  output: BhyvectlOutput,
): Promise<number> {
  try {
    const command = parseBhyvectl(argv);
    try {
      await new Operations(openRegistry(), command, output).run();
    } catch (error) {
      if (error instanceof NameError && error.errno === 'EINVAL') throw cannotOpen(command.vm, 'EINVAL');
      throw error;
    }
    return 0;
  } catch (error) {
    if (error instanceof BhyvectlUsage) {
      output.stderr((error.message === '' ? '' : `bhyvectl: ${error.message}\n`) + bhyvectlUsage('bhyvectl'));
      return STATUS_ERROR;
    }
    if (error instanceof BhyvectlRefusal) {
      output.stderr(`bhyvectl: ${error.message}\n`);
      return STATUS_ERROR;
    }
    if (error instanceof Ends) {
      output.stderr(error.text);
      return error.status;
    }
    if (error instanceof CallFailed || error instanceof RequestError || error instanceof NameError) {
      output.stderr(`bhyvectl: ${error.message}\n`);
      output.stdout(`errno = ${ERRNO_NUMBERS[error.errno] ?? ERRNO_NUMBERS['EIO']}\n`);
      return STATUS_CALL_FAILED;
    }
    output.stderr(`bhyvectl: ${error instanceof Error ? error.message : String(error)}\n`);
    return STATUS_ERROR;
  }
}
