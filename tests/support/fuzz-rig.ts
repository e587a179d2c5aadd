/** Every PCI function with something at its other end, for tests in which a hostile guest uses it. */
import { UART, UART_IO_BASE, UART_STRIDE } from '../../core-as/layout.ts';
import { builderOf } from '../../devices/catalog.ts';
import type { DeviceContext } from '../../devices/device-context.ts';
import type { PciFunction } from '../../devices/pci/function.ts';
import type { AudioBackend } from '../../devices/backends/audio.ts';
import type { CharacterBackend, CharacterPort } from '../../devices/backends/character.ts';
import { MemoryTree } from '../../devices/share/memory-tree.ts';
import { frame, MessageWriter } from '../../devices/share/messages.ts';
import { IntcMachine } from '../core/intc-support.ts';
import { FakeClock } from './fake-clock.ts';
import { FakeMachine } from './fake-bus.ts';
import type { FakeMemory } from './fake-memory.ts';
import type { FakeRandom } from './fake-random.ts';
import { FakeNetwork } from './fake-network.ts';
import { HostileAhciDriver } from './hostile-ahci.ts';
import { HostileE1000Driver } from './hostile-e1000.ts';
import { HostileHdaDriver } from './hda-driver.ts';
import { HostileNvmeDriver } from './hostile-nvme.ts';
import type { HostileGuestOptions } from './hostile-guest.ts';
import { HostileXhciDriver } from './xhci-driver.ts';

export const SLOT = 3;

/** READ, WRITE, INQUIRY, UNMAP, WRITE SAME, MODE SENSE, MODE SELECT, REPORT LUNS. */
const SCSI_COMMANDS = [0x28, 0x2a, 0x12, 0x88, 0x8a, 0x42, 0x41, 0x93, 0x1a, 0x15, 0xa0];

/** The client of a console port, which comes, goes, talks and does not listen. */
class Client implements CharacterBackend {
  port: CharacterPort | undefined;
  full = false;
  open(port: CharacterPort): void {
    this.port = port;
  }
  write(): boolean {
    return !this.full;
  }
  hold(): void {}
  close(): Promise<void> {
    return Promise.resolve();
  }
  act(random: FakeRandom): void {
    switch (random.below(4)) {
      case 0:
        this.port?.carrier?.(random.below(3) > 0);
        break;
      case 1:
        this.port?.receive(new Uint8Array(random.below(300)).fill(0x61));
        break;
      default:
        this.full = random.below(3) === 0;
        if (!this.full) this.port?.drained();
    }
  }
}

/** Plays and records, now and then too slowly. */
class Speaker implements AudioBackend {
  #calls = 0;
  begin(): void {}
  play(): boolean {
    return this.#calls++ % 7 !== 0;
  }
  record(into: Uint8Array): boolean {
    into.fill(0x11);
    return this.#calls++ % 5 !== 0;
  }
  end(): void {}
  close(): Promise<void> {
    return Promise.resolve();
  }
}

export interface Rig {
  readonly machine: FakeMachine;
  readonly fn: PciFunction;
  readonly clients: readonly Client[];
  readonly cable: FakeNetwork;
  readonly clock: FakeClock;
}

const VARIABLES: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  ahci: {
    'port.0.type': 'hd',
    'port.0.path': '/img',
    'port.2.type': 'cd',
    'port.2.path': '/iso',
    'port.3.type': 'cd',
  },
  'virtio-9p': { sharename: 'files', path: '/share' },
  hda: { play: '/out', rec: '/in' },
  'virtio-input': { path: 'tablet' },
  xhci: { 'slot.1.device': 'tablet' },
  nvme: { path: '/img' },
  'virtio-blk': { path: '/img' },
  e1000: { backend: 'tap0' },
  'virtio-net': { backend: 'tap0', mtu: '9000' },
  'virtio-scsi': {
    'target.0.path': '/img',
    'target.1.path': '/iso',
    'target.1.backend': 'cd',
    'target.1.lun': '1',
  },
  'virtio-console': {
    'port.0.name': 'a',
    'port.0.path': '/a',
    'port.1.name': 'b',
    'port.1.path': '/b',
  },
};

/** What virtio-9p shares: a copy of the device finds the same files. */
const share = new MemoryTree({ files: { a: 'file', 'd/b': 'another' }, maxBytes: 1 << 24 });

export async function rigOf(device: string, memory?: FakeMemory): Promise<Rig> {
  const machine = new FakeMachine({}, memory);
  const clients: Client[] = [];
  const cable = new FakeNetwork();
  const clock = new FakeClock(0.5);
  const { core: uart, memory: coreMemory } = IntcMachine.create();
  const coreWords = new DataView(coreMemory.buffer);
  const n = 4;
  const context: DeviceContext = machine.context(
    {
      clock,
      takeUart: () => ({
        index: n,
        uart: {
          read: (register) => uart.uartRead(n, register),
          write: (register, value) => uart.uartWrite(n, register, value),
          irqLevel: () => uart.uartIrqLevel(n) !== 0,
          route: (lines) => uart.uartRouteIntx(n, lines),
          decode: (port) => {
            coreWords.setUint32(UART + n * UART_STRIDE + UART_IO_BASE, port ?? 0, true);
          },
        },
      }),
    },
    {
      audio: () => Promise.resolve(new Speaker()),
      character: () => {
        const client = new Client();
        clients.push(client);
        return Promise.resolve(client);
      },
      network: () => Promise.resolve(cable),
      share: () => Promise.resolve(share),
    },
  );
  const where = { bus: 0, slot: SLOT, func: 0 };
  const fn = await builderOf(device)?.(context, where, { get: (name) => VARIABLES[device]?.[name] });
  if (!fn) throw new Error(`no ${device}`);
  machine.pci.add(where, fn);
  machine.pci.configure();
  machine.pci.start();
  return { machine, fn, clients, cable, clock };
}

/** A message that begins or goes on with a session, or nearly. */
function ninePMessage(random: FakeRandom): Uint8Array {
  const body = new MessageWriter();
  const type = random.pick([100, 104, 110, 12, 116, 118, 40, 24, 120, 52, random.below(128)]);
  if (type === 100) body.u32(8192).string(random.pick(['9P2000.L', '9P2000.u']));
  else if (type === 104) body.u32(0).u32(0xffffffff).string('').string('').u32(0);
  else if (type === 110)
    body
      .u32(0)
      .u32(random.below(4))
      .u16(1)
      .string(random.pick(['a', 'd']));
  else
    body
      .u32(random.below(4))
      .u64(BigInt(random.below(9)))
      .u32(random.below(64))
      .u64(0n)
      .u32(0)
      .string('x');
  return frame(type, random.below(8), body.bytes);
}

/** What the device's other end does, and requests that it understands. */
export function optionsFor(
  device: string,
  { machine, clients, cable, clock }: Rig,
  random: FakeRandom,
): HostileGuestOptions {
  const { memory } = machine;
  switch (device) {
    case 'ahci':
      return { driver: (places) => new HostileAhciDriver(machine, SLOT, random, places) };
    case 'e1000':
      return {
        driver: (places) => new HostileE1000Driver(machine, SLOT, random, places),
        event: () => cable.act(random),
      };
    case 'virtio-net':
      return {
        // A header of the frame, or a command.
        fill: (gpa, lengthBytes) => {
          if (lengthBytes < 12) return;
          memory.writeU32(gpa, random.pick([0, 0x0101, 0x0401, 0x0001, random.below(0x600)]));
          memory.writeU32(gpa + 4, random.pick([1460, 0x0022_05b4, random.u32()]));
          memory.writeU32(gpa + 8, random.pick([16, random.u32()]));
        },
        event: () => cable.act(random),
      };
    case 'virtio-9p':
      return { fill: (gpa, lengthBytes) => memory.write(gpa, ninePMessage(random).subarray(0, lengthBytes)) };
    case 'hda':
      return {
        driver: (places) => new HostileHdaDriver(machine, SLOT, random, places),
        event: () => clock.advance(random.below(2_000_000)),
      };
    case 'virtio-input': {
      const user = machine.input.openSession();
      return { event: () => user.pointer(random.below(32), random.below(1024), random.below(768), 1024, 768) };
    }
    case 'xhci': {
      const user = machine.input.openSession();
      return {
        driver: (places) => new HostileXhciDriver(machine, SLOT, random, places),
        event: () => user.pointer(random.below(32), random.below(2), random.below(2), 1024, 768),
      };
    }
    case 'nvme':
      return { driver: (places) => new HostileNvmeDriver(machine, SLOT, random, places) };
    case 'virtio-scsi':
      return {
        lengths: [51, 51, 108, 108, 512],
        fill: (gpa) => {
          if (!memory.contains(gpa, 51)) return;
          const request = Uint8Array.from({ length: 51 }, () => random.pick([0, 0, 1, random.below(256)]));
          // Task management and commands begin differently: either kind may come in either queue.
          if (random.below(4) === 0) request.set([0, 0, 0, 0, random.below(9), 0, 0, 0, 1, 0, 0x40, random.below(2)]);
          else request.set([1, random.below(8) === 0 ? 9 : 0, 0x40, random.below(2)]);
          request[19] = random.pick([random.below(256), ...SCSI_COMMANDS]);
          memory.write(gpa, request);
        },
      };
    case 'virtio-blk':
      return {
        fill: (gpa) => {
          memory.writeU32(gpa, random.pick([0, 1, 4, 8, 11, random.below(16)]));
          memory.writeU32(gpa + 4, 0);
          memory.writeU64(gpa + 8, BigInt(random.pick([random.below(140), random.below(0x10000) * 2 ** 32])));
        },
      };
    case 'virtio-console':
      return {
        fill: (gpa) => {
          memory.writeU32(gpa, random.pick([0, 1, random.below(40)]));
          memory.writeU16(gpa + 4, random.below(9));
          memory.writeU16(gpa + 6, random.below(3));
        },
        event: () => clients[random.below(clients.length)]?.act(random),
      };
    default:
      return {};
  }
}
