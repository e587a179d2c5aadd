/** The modules that a vCPU's core compiles at run time (core-as/jit): instantiated here, called by the core through its table. */
import { HELPER_COUNT } from '../../core-as/jit/abi.ts';
import { REGION_SLOTS } from '../../core-as/layout.ts';

/** The core's exports that regions call, in the order of HELPER_*. */
const HELPERS = [
  'jitRead',
  'jitWrite',
  'jitReadModify',
  'jitWriteBack',
  'jitRun',
  'jitFlags',
  'jitVector',
  'jitString',
] as const;

/** So many dropped modules are worth a collection, which takes tens of milliseconds. */
const COLLECT_MODULES = 500;

/** What the core imports for it (core-as/host.ts). */
export interface RegionImports {
  readonly hostJitInstall: (address: number, lengthBytes: number, slot: number, count: number) => number;
  readonly hostJitDropAll: () => void;
}

/** One vCPU's compiled regions. */
export class RegionModules {
  readonly imports: RegionImports;
  #helpers: WebAssembly.Table | undefined;
  #exports: WebAssembly.Exports | undefined;
  #table: WebAssembly.Table | undefined;
  #firstSlot = 0;
  #endSlot = 0;
  /** Instantiated since the last collection. */
  #modules = 0;

  /**
   * `collectGarbage` makes the engine free modules that nothing refers to any more. A vCPU's thread never rests and allocates little, so that
   * an engine left alone may collect them too late: each has mappings of its own, which operating systems limit.
   */
  constructor(
    private readonly memory: WebAssembly.Memory,
    private readonly collectGarbage?: () => void,
  ) {
    this.imports = {
      hostJitInstall: (address, lengthBytes, slot, count) =>
        this.#install(address >>> 0, lengthBytes, slot, count) ? 1 : 0,
      hostJitDropAll: () => {
        this.#dropAll();
      },
    };
  }

  /** Makes room in the core's table; returns the first slot for regions. */
  bind(exports: WebAssembly.Exports): number {
    this.#exports = exports;
    this.#makeHelpers();
    const table = exports['table'] as WebAssembly.Table;
    this.#table = table;
    this.#firstSlot = table.grow(REGION_SLOTS);
    this.#endSlot = this.#firstSlot;
    return this.#firstSlot;
  }

  #makeHelpers(): void {
    const helpers = new WebAssembly.Table({ element: 'anyfunc', initial: HELPER_COUNT });
    for (const [i, name] of HELPERS.entries()) helpers.set(i, this.#exports?.[name]);
    this.#helpers = helpers;
  }

  #install(address: number, lengthBytes: number, slot: number, count: number): boolean {
    const table = this.#table;
    if (!table || !this.#helpers) return false;
    let instance: WebAssembly.Instance;
    try {
      const module = new WebAssembly.Module(new Uint8Array(this.memory.buffer, address, lengthBytes));
      instance = new WebAssembly.Instance(module, { e: { m: this.memory, h: this.#helpers } });
    } catch (error) {
      // The engine has no room for more code: the guest goes on in the interpreter. Anything else is a mistake of ours.
      if (error instanceof RangeError) return false;
      throw error;
    }
    for (let i = 0; i < count; i++) table.set(slot + i, instance.exports[String.fromCharCode(0x100 + i)]);
    this.#modules++;
    this.#endSlot = Math.max(this.#endSlot, slot + count);
    return true;
  }

  #dropAll(): void {
    for (let slot = this.#firstSlot; slot < this.#endSlot; slot++) this.#table?.set(slot, null);
    this.#endSlot = this.#firstSlot;
    if (this.#modules < COLLECT_MODULES) return;
    this.#modules = 0;
    // A table holds on to every instance that has imported it.
    this.#makeHelpers();
    this.collectGarbage?.();
  }
}
