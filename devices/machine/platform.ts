/** The devices of one machine outside the core, plugged into its buses. */
import { RTC, UART, UART_IO_BASE, UART_STRIDE } from '../../core-as/layout.ts';
import { DiskContents } from '../block/disk-contents.ts';
import type { CdDrive } from '../scsi/cd-drive.ts';
import type { Interrupts } from '../bus/interrupts.ts';
import type { MmioBus } from '../bus/mmio-bus.ts';
import type { PortBus } from '../bus/port-bus.ts';
import {
  BhyveExit,
  declaration,
  errnoText,
  notBuiltMessage,
  pciFunctions,
  type ConfigTree,
  type MachineSettings,
  type PciFunctionSettings,
} from '../config/index.ts';
import { NoBackendError, openBackend, type BackendOpeners } from '../backends/kinds.ts';
import { parseCharacterAddress } from '../backends/character.ts';
import { builderOf } from '../catalog.ts';
import type { Device } from '../device.ts';
import type { DeviceContext } from '../device-context.ts';
import { DeviceSet } from '../device-set.ts';
import { MachineDisplay } from '../display/machine-display.ts';
import { InputRouter, PRIORITY_PS2 } from '../input/input-router.ts';
import { KeyboardLayout } from '../input/keyboard-layout.ts';
import { layoutNamed } from '../input/layouts.ts';
import { PciBus, PciResourceError, type PciBusDescription } from '../pci/bus.ts';
import type { PciAddress, PciFunction } from '../pci/function.ts';
import { AcpiPm, SCI_IRQ } from '../platform/acpi-pm.ts';
import { cmosMemoryPresets } from '../platform/cmos-presets.ts';
import { claimFixedPorts } from '../platform/fixed-ports.ts';
import { InterruptLines } from '../platform/interrupt-lines.ts';
import { KEYBOARD_IRQ, KeyboardController, MOUSE_IRQ } from '../platform/keyboard-controller.ts';
import { PcTestDevice } from '../platform/pc-testdev.ts';
import { ResetControl } from '../platform/reset-control.ts';
import { TpmCrb } from '../tpm/crb.ts';
import type { Suspend } from '../platform/suspend.ts';
import type { VariableFlash } from '../firmware/variable-flash.ts';
import type { Console } from '../serial/console.ts';
import { PciUart, type CoreUart } from '../serial/pci-uart.ts';
import { SerialPort } from '../serial/serial-port.ts';
import { UartRings } from '../serial/uart-rings.ts';
import type { MachineClock } from './clock.ts';
import type { Core, CoreExports, MemoryPlan } from './core.ts';
import { coreConfigRegister } from './pci-config.ts';
import { CoreDeviceRam } from './device-ram.ts';
import type { CoreGuestMemory } from './guest-memory.ts';
import type { MachineHost } from './host.ts';

const EXIT_ERROR = 4;
/** Where bhyve looks for keyboard layouts. */
const LAYOUT_FOLDER = '/usr/share/bhyve/kbdlayout/';
/** Edge/level control of the 8259 pair: one port each. */
const ELCR_PORT = 0x4d0;
/** ISA interrupts of COM1-COM4. */
const COM_IRQS = [4, 3, 4, 3] as const;

export interface PlatformParts {
  readonly tree: ConfigTree;
  readonly settings: MachineSettings;
  readonly host: MachineHost;
  readonly core: Core;
  readonly plan: MemoryPlan;
  readonly memory: CoreGuestMemory;
  readonly clock: MachineClock;
  readonly ports: PortBus;
  readonly mmio: MmioBus;
  /** What devices open: the host's backends and those that the machine has itself. */
  readonly backends: BackendOpeners;
  readonly hasBootRom: boolean;
  /** 32 random bits. */
  random(): number;
  readonly suspend: Suspend;
  /** PciBusOptions.stall */
  readonly stall: (where: PciAddress, until: Promise<void>) => void;
  /** PciBusOptions.expectAccess */
  readonly expectAccess: () => void;
  readonly deviceError: (error: unknown) => void;
}

/** The core's interrupt controllers as devices see them. */
export function coreInterrupts(
  exports: Pick<CoreExports, 'setIsaIrq' | 'pulseIsaIrq' | 'setIoApicPin' | 'sendMsi'>,
): Interrupts {
  return {
    setIsaIrq: (irq, asserted) => exports.setIsaIrq(irq, asserted ? 1 : 0),
    pulseIsaIrq: (irq) => exports.pulseIsaIrq(irq),
    setIoApicPin: (pin, asserted) => exports.setIoApicPin(pin, asserted ? 1 : 0),
    sendMsi: (address, data) => {
      exports.sendMsi(Number(address & 0xffff_ffffn) | 0, Number((address >> 32n) & 0xffff_ffffn) | 0, data | 0);
    },
  };
}

/** The core's UART blocks after COM1-4. */
const FIRST_PCI_UART = 4;
const PCI_UART_COUNT = 4;

function coreUart({ exports, state }: Core, n: number): CoreUart {
  return {
    read: (register) => exports.uartRead(n, register),
    write: (register, value) => exports.uartWrite(n, register, value),
    irqLevel: () => exports.uartIrqLevel(n) !== 0,
    decode: (port) => state.setU32(UART + n * UART_STRIDE + UART_IO_BASE, port ?? 0),
    route: (lines) => exports.uartRouteIntx(n, lines),
  };
}

/** bhyve prints the device's own message and then that of perror(3). */
function deviceFailure(error: unknown): BhyveExit {
  if (error instanceof BhyveExit) return error;
  const message = error instanceof Error ? error.message : String(error);
  const cause = error instanceof Error && error.cause !== undefined ? errnoText(error.cause) : 'Invalid argument';
  return new BhyveExit(EXIT_ERROR, `${message}\ndevice emulation initialization error: ${cause}\n`);
}

export class Platform {
  readonly acpiPm: AcpiPm;
  readonly resetControl: ResetControl;
  readonly keyboardController: KeyboardController;
  readonly pci: PciBus;
  readonly testDevice: PcTestDevice | undefined;
  /** -l tpm */
  tpm: TpmCrb | undefined;
  readonly input = new InputRouter();
  /** Only with a frame buffer device. */
  display: MachineDisplay | undefined;
  /** What the processors wait for before they start. */
  readonly startHolds: Promise<void>[] = [];
  readonly #deviceRams: Uint8Array[] = [];
  readonly #diskContents: DiskContents[] = [];
  /** By the names of their variables. */
  readonly cdDrives = new Map<string, CdDrive>();
  /** fwctl or fw_cfg; only with a boot ROM. */
  firmwareInterface: Device | undefined;
  /** The flash chip below a boot ROM. */
  bootVariables: VariableFlash | undefined;
  /** Ports that lead somewhere, by the core's UART number. */
  readonly serialPorts = new Map<number, SerialPort>();
  #devices: DeviceSet | undefined;
  readonly #consoles: Record<string, Console> = {};
  readonly #comPorts: number[] = [];
  #lpcAddress: PciAddress | undefined;
  /** IRQs, one bit each. */
  #levelTriggered = 0;

  private constructor(private readonly parts: PlatformParts) {
    const { core, ports, mmio, memory, suspend, settings } = parts;
    const interrupts = coreInterrupts(core.exports);
    const lines = new InterruptLines(interrupts);
    this.acpiPm = new AcpiPm(ports, lines, suspend);
    this.resetControl = new ResetControl(ports, suspend);
    this.keyboardController = new KeyboardController(ports, interrupts, parts.clock, suspend);
    this.input.registerKeyboard(this.keyboardController.keyboard, PRIORITY_PS2);
    this.input.registerPointer(this.keyboardController.mouse, PRIORITY_PS2);
    claimFixedPorts(ports);
    for (const { index, value } of cmosMemoryPresets(memory.lowBytes, memory.highBytes)) {
      // The RTC's block begins with its 128 bytes of RAM (core-as/intc/rtc.ts), which a reset leaves alone.
      core.state.u8[RTC + index] = value;
    }
    const hasLpc = pciFunctions(parts.tree).some(({ device }) => device === 'lpc');
    this.testDevice = hasLpc && settings.lpc.pcTestdev ? new PcTestDevice(ports, mmio, lines, suspend) : undefined;
    const comIrqs = COM_IRQS.filter((_, index) => hasLpc && settings.lpc.com[index] !== undefined);
    this.pci = new PciBus({
      ports,
      mmio,
      interrupts,
      lines,
      highBytes: memory.highBytes,
      bootRom: parts.hasBootRom,
      enableBars: settings.flags.enableBars,
      reservedIrqs: [...new Set([KEYBOARD_IRQ, MOUSE_IRQ, ...comIrqs])],
      setLevelTriggered: (irq) => this.#setLevelTriggered(irq),
      configRegister: coreConfigRegister(core.state),
      stall: parts.stall,
      expectAccess: parts.expectAccess,
      deviceError: parts.deviceError,
      holdMemory: () => memory.hold(),
      message: (text) => parts.host.message(text),
    });
    this.#setLevelTriggered(SCI_IRQ);
  }

  /** Presets the 8259's edge/level control, as bhyve does for the SCI and the IRQs of PCI devices. */
  #setLevelTriggered(irq: number): void {
    this.#levelTriggered |= 1 << irq;
    this.parts.core.exports.portWrite(ELCR_PORT, 1, this.#levelTriggered & 0xff);
    this.parts.core.exports.portWrite(ELCR_PORT + 1, 1, this.#levelTriggered >> 8);
  }

  static async build(parts: PlatformParts): Promise<Platform> {
    const platform = new Platform(parts);
    try {
      await platform.#chooseLayout();
      await platform.#addFunctions();
      await platform.#openPorts();
      await platform.#openTpm();
    } catch (error) {
      await platform.close('error');
      throw error;
    }
    return platform;
  }

  /** -K: a layout that comes with webhyve, or a file as bhyve has them. */
  async #chooseLayout(): Promise<void> {
    const { settings, host } = this.parts;
    const name = settings.keyboardLayout;
    if (name === undefined) return;
    const layout = layoutNamed(name);
    if (layout) {
      this.input.layout = layout;
      return;
    }
    const path = name.includes('/') ? name : `${LAYOUT_FOLDER}${name}`;
    try {
      this.input.layout = KeyboardLayout.fromFile(name, new TextDecoder().decode(await host.readFile(path)));
    } catch {
      // bhyve goes on in silence.
      host.message(`-K: there is no keyboard layout ${name}; keys are those of a US keyboard`);
    }
  }

  async #addFunctions(): Promise<void> {
    const { parts } = this;
    const context = this.#deviceContext();
    for (const configured of pciFunctions(parts.tree)) {
      const problem = declaration(configured.device)?.checkBackend?.(configured.variables);
      if (problem !== undefined) throw deviceFailure(new Error(problem));
      const build = builderOf(configured.device);
      if (!build) throw new BhyveExit(EXIT_ERROR, `${notBuiltMessage(configured.device)}\n`);
      const where: PciAddress = { bus: configured.bus, slot: configured.slot, func: configured.func };
      let fn: PciFunction;
      try {
        fn = await build(context, where, { get: (name) => configured.variables.get(name) });
      } catch (error) {
        throw deviceFailure(error);
      }
      this.pci.add(where, fn);
      if (configured.device === 'lpc') this.#lpcAddress = where;
      if (fn instanceof PciUart) await this.#openPciUart(fn, configured);
    }
    try {
      this.pci.configure();
    } catch (error) {
      if (error instanceof PciResourceError) throw deviceFailure(error);
      throw error;
    }
  }

  /** The linear address belongs to memory of a device. */
  isDeviceRam(linear: number): boolean {
    return this.#deviceRams.some(({ byteOffset, length }) => linear >= byteOffset && linear < byteOffset + length);
  }

  #deviceContext(): DeviceContext {
    const { parts } = this;
    let uartsTaken = 0;
    return {
      memory: parts.memory,
      interrupts: coreInterrupts(parts.core.exports),
      clock: parts.clock,
      ports: parts.ports,
      mmio: parts.mmio,
      virtioMsix: parts.settings.flags.virtioMsix,
      virtioTransport: parts.settings.virtioTransport,
      vmName: parts.settings.name,
      open: (kind, settings) => openBackend(parts.backends, kind, settings),
      allocateRam: (lengthBytes) => {
        const ram = CoreDeviceRam.allocate(parts.core.state, parts.core.exports, parts.plan, lengthBytes);
        this.#deviceRams.push(ram.bytes);
        return ram;
      },
      entropy: (into) => {
        for (let i = 0; i < into.length; i++) into[i] = parts.random() & 0xff;
      },
      input: this.input,
      addCdDrive: (name, drive) => this.cdDrives.set(name, drive),
      addDisplay: (display) => {
        this.display = new MachineDisplay(display);
      },
      holdStart: (until) => this.startHolds.push(until),
      keepContents: (disk) => {
        const { volatileBlocks } = disk;
        if (volatileBlocks) this.#diskContents.push(new DiskContents(disk, volatileBlocks));
      },
      takeUart: () => {
        if (uartsTaken >= PCI_UART_COUNT) return undefined;
        const index = FIRST_PCI_UART + uartsTaken++;
        return { index, uart: coreUart(parts.core, index) };
      },
      log: (text) => parts.host.message(text),
    };
  }

  async #openPciUart(fn: PciUart, { bus, slot, func, variables }: PciFunctionSettings): Promise<void> {
    const path = variables.get('path');
    if (path === undefined) return;
    await this.#openPort(`uart-${bus}.${slot}.${func}`, fn.coreIndex, path, `pci uart at ${slot}:${func}`);
  }

  async #openPorts(): Promise<void> {
    // Without the bridge there are no COM ports (bhyve ignores their backends in silence, and so do we).
    if (!this.#lpcAddress) return;
    for (const [index, path] of this.parts.settings.lpc.com.entries()) {
      if (path === undefined) continue;
      this.#comPorts.push(index + 1);
      await this.#openPort(`com${index + 1}`, index, path, `LPC device COM${index + 1}`);
    }
  }

  async #openTpm(): Promise<void> {
    const { settings, mmio, backends, deviceError } = this.parts;
    if (!settings.tpm) return;
    const { type, path, version } = settings.tpm;
    const refuse = (reason: string): never => {
      throw new BhyveExit(EXIT_ERROR, `tpm: ${reason}\nFailed to init TPM\n`);
    };
    if (type === 'passthru') refuse('a TPM of the host cannot be handed to an emulated machine; use swtpm');
    if (type !== 'swtpm') refuse(`unsupported type "${type}"`);
    if (version !== '2.0') refuse(`unsupported version "${version}"`);
    try {
      const backend = await openBackend(backends, 'tpm', { path });
      if (backend) this.tpm = new TpmCrb(mmio, backend, deviceError);
    } catch (error) {
      const reason = error instanceof NoBackendError ? error.message : errnoText(error);
      refuse(`cannot connect to ${path}: ${reason}`);
    }
  }

  async #openPort(name: string, uart: number, path: string, what: string): Promise<void> {
    const { core, host } = this.parts;
    const rings = new UartRings(core.state, uart, (changed) => core.exports.uartHostEvent(changed));
    let port: SerialPort;
    try {
      const backend = await openBackend(host.backends, 'character', parseCharacterAddress(path)).catch(
        (error: unknown) => {
          // The machine's console object serves a host without terminals and sockets.
          if (error instanceof NoBackendError) return undefined;
          throw error;
        },
      );
      port = new SerialPort(name, rings, backend, () => core.state.guestRests());
    } catch (error) {
      throw new BhyveExit(EXIT_ERROR, `Unable to initialize backend '${path}' for ${what}\n${errnoText(error)}\n`);
    }
    this.serialPorts.set(uart, port);
    this.#consoles[name] = port.console;
  }

  get consoles(): Readonly<Record<string, Console>> {
    return this.#consoles;
  }

  get comPorts(): readonly number[] {
    return this.#comPorts;
  }

  get lpcAddress(): PciAddress | undefined {
    return this.#lpcAddress;
  }

  describePci(): PciBusDescription[] {
    return this.pci.describe();
  }

  /** The core changed a UART's rings. */
  serviceUart(uart: number): void {
    this.serialPorts.get(uart)?.service();
  }

  /** Everything with a life cycle and state of its own, by name; the order is that of starting and restoring. */
  #parts(): readonly (readonly [name: string, part: Device])[] {
    return [
      ['acpi-pm', this.acpiPm],
      ['reset-control', this.resetControl],
      ['keyboard-controller', this.keyboardController],
      ...(this.testDevice ? [['pc-testdev', this.testDevice] as const] : []),
      ...(this.tpm ? [['tpm', this.tpm] as const] : []),
      ...(this.firmwareInterface ? [['firmware-interface', this.firmwareInterface] as const] : []),
      ...(this.bootVariables ? [['boot-variables', this.bootVariables] as const] : []),
      // Before the controllers, which take up requests as they are restored.
      ...this.#diskContents.map((contents, index) => [`disk-contents-${index}`, contents] as const),
      ['pci', this.pci],
      ...[...this.serialPorts.values()].map((port) => [port.console.name, port] as const),
    ];
  }

  /** The machine's devices; complete once the firmware's parts are plugged in. */
  get devices(): DeviceSet {
    this.#devices ??= this.#makeSet();
    return this.#devices;
  }

  #makeSet(): DeviceSet {
    const set = new DeviceSet({
      failed: (name, what, error) => {
        this.parts.host.message(`${name}: cannot ${what}: ${error instanceof Error ? error.message : String(error)}`);
      },
    });
    for (const [name, device] of this.#parts()) set.add(name, device);
    return set;
  }

  /** Lets requests in flight finish, then closes backends; consoles end with `reason`. Never rejects, and takes a bounded time. */
  async close(reason: string): Promise<void> {
    for (const port of this.serialPorts.values()) port.endReason = reason;
    await this.devices.close();
    this.serialPorts.clear();
  }
}
