/** One machine's stay in the registry: from taking its name to the end of its process. */
import { BhyveExit, errnoText } from '../../devices/config/index.ts';
import type { ExitReason } from '../../devices/machine/exit-reason.ts';
import { MachineControl, type ControlEnd } from '../../devices/machine/control.ts';
import type { Machine } from '../../devices/machine/machine.ts';
import { writeCheckpoint } from './checkpoint-file.ts';
import { ControlServer } from './control-server.ts';
import { NameError, Registry, type MachineRecord } from './registry.ts';
import { openRuntimeDir, RuntimeDirError } from './runtime-dir.ts';

const NAME_TAKEN_STATUS = 4;

export class Registration {
  #end: ControlEnd | undefined;

  private constructor(
    private readonly registry: Registry,
    readonly name: string,
    private readonly record: MachineRecord,
    private readonly server: ControlServer,
  ) {}

  /** Takes the name for this process. Throws NameError when its machine runs already. */
  static async claim(registry: Registry, name: string): Promise<Registration> {
    const { id, socket } = registry.newLife();
    const record: MachineRecord = { id, state: 'running', pid: process.pid, socket };
    const server = await ControlServer.listen(socket);
    try {
      await registry.claim(name, record, true);
    } catch (error) {
      await server.close();
      throw error;
    }
    return new Registration(registry, name, record, server);
  }

  /** Path of the control socket. */
  get socket(): string {
    return this.record.socket;
  }

  /** How the machine was ended over the control socket, if it was. */
  get end(): ControlEnd | undefined {
    return this.#end;
  }

  /** Requests are answered from now on. */
  attach(machine: Machine): void {
    const { lowBytes, highBytes, vcpus } = machine.plan;
    const meta = { name: machine.name, vcpus, memoryBytes: lowBytes + highBytes };
    const control = new MachineControl(machine, {
      writeCheckpoint: (file, save) => writeCheckpoint(file, save, meta),
      ended: (end) => {
        this.#end = end;
        this.registry.remove(this.name, this.record);
      },
    });
    this.server.serve((request) => control.handle(request));
  }

  /** The machine has ended. Its name stays, as on FreeBSD, unless `forget`. */
  async finish(reason: ExitReason, forget: boolean): Promise<void> {
    // bhyvectl --destroy is answered once the machine has ended: the request may still be under way.
    if (forget) this.registry.remove(this.name, this.record);
    else if (this.#end === undefined) {
      this.registry.update(this.name, { ...this.record, state: 'ended', reason: reason.message });
    }
    await this.close();
  }

  /** The machine could not be built: the name is free again. */
  async abandon(): Promise<void> {
    this.registry.remove(this.name, this.record);
    await this.close();
  }

  async close(): Promise<void> {
    await this.server.close();
    this.registry.removeSocket(this.record);
  }
}

/**
 * Makes a machine visible to bhyvectl, before it is built. A machine that nobody can find still runs: `warn` is told why, and
 * there is no registration. Rejects with BhyveExit when a machine of this name runs, or none can have it.
 */
export async function register(
  name: string,
  programName: string,
  warn: (text: string) => void,
): Promise<Registration | undefined> {
  try {
    return await Registration.claim(new Registry(openRuntimeDir()), name);
  } catch (error) {
    if (error instanceof NameError) {
      const call = error.errno === 'EINVAL' ? 'vm_create' : 'vm_reinit';
      const text = errnoText(Object.assign(new Error(error.errno), { code: error.errno }));
      throw new BhyveExit(NAME_TAKEN_STATUS, `${call}: ${text}\n${programName}: ${error.message}\n`);
    }
    const reason = error instanceof RuntimeDirError ? error.message : errnoText(error);
    warn(`${programName}: bhyvectl cannot reach this machine: ${reason}`);
    return undefined;
  }
}
