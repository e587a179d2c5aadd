/** Booting real guests in tests: the core, a Linux kernel with its small initramfs, and tiny assembled payloads. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createMachine, type Console, type HostOptions, type Machine } from '../../host-node/index.ts';
import { parseCommandLine } from '../../devices/config/index.ts';
import { fetchGuest, type Guest } from '../../host-node/setup/fetch-guest.mjs';
import { compileCore, coreTarget } from './compile-core.ts';
import { vcpuWorkerForTests } from './machine-worker.ts';

/** Options of every test machine; a bridge and COM1 as users have them. */
export const BASIC_ARGS = ['-A', '-H', '-s', '0,hostbridge', '-s', '31,lpc', '-l', 'com1,stdio'] as const;

/** The kernel's own tests of its ciphers would be more than half of the boot. */
export const QUICK_CMDLINE = 'console=ttyS0 cryptomgr.notests';

const BOOT_TIMEOUT_MS = 150_000;

export type GuestVariant = 'small' | 'generic' | 'i386' | 'i386-pae';

const guests = new Map<GuestVariant, Promise<Guest>>();

/** The Linux guest, fetched when it is not there. Rejects with one sentence. */
export function linuxGuest(variant: GuestVariant = 'small'): Promise<Guest> {
  let guest = guests.get(variant);
  if (!guest) guests.set(variant, (guest = fetchGuest({ variant })));
  return guest;
}

/** Why no Linux can be booted here; undefined when it can. For `context.skip(reason)`. */
export async function linuxMissing(variant: GuestVariant = 'small'): Promise<string | undefined> {
  try {
    await linuxGuest(variant);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

export interface TestMachine extends AsyncDisposable {
  readonly machine: Machine;
  readonly com1: Console;
  /** Messages that the command would have written to standard error. */
  readonly messages: readonly string[];
}

const running = new Set<Machine>();

/** Builds a machine from command-line words; it is destroyed when the test is over, whatever happens. */
export async function testMachine(argv: readonly string[], options: HostOptions = {}): Promise<TestMachine> {
  const { tree } = parseCommandLine(argv, {
    programName: 'bhyve',
    readTextFile: (path) => readFileSync(path, 'utf8'),
  });
  const messages: string[] = [];
  const machine = await createMachine(tree, {
    core: await compileCore('core-as/index.ts', coreTarget('release')),
    workerUrl: await vcpuWorkerForTests(),
    message: (text) => messages.push(text),
    ...options,
  });
  running.add(machine);
  const com1 = machine.consoles['com1'];
  if (!com1) throw new Error('the machine has no COM1');
  return {
    machine,
    com1,
    messages,
    [Symbol.asyncDispose]: async () => {
      running.delete(machine);
      await machine.destroy();
    },
  };
}

/** For `afterEach`: machines that a failed test left running. */
export async function destroyTestMachines(): Promise<void> {
  for (const machine of running) await machine.destroy();
  running.clear();
}

export interface LinuxOptions extends Omit<HostOptions, 'kernel' | 'initrd'> {
  /** Words before the machine's name: -m, -c, further devices. */
  readonly args?: readonly string[];
  /** `generic` has drivers for everything; `small` boots faster. */
  readonly variant?: GuestVariant;
  /** The backend types ahead: the shell's first commands are the backend's, not ours. */
  readonly typesAhead?: boolean;
}

/** Boots Linux; resolves at the shell's first prompt. */
export async function bootLinux(options: LinuxOptions = {}): Promise<TestMachine> {
  const { args = [], variant, typesAhead = false, ...host } = options;
  const argv = [...BASIC_ARGS, ...args, 'test'];
  const test = await testMachine(argv, { cmdline: QUICK_CMDLINE, ...host, ...(await linuxGuest(variant)) });
  test.machine.start();
  await test.com1.expect('webhyve guest ready', { timeout: BOOT_TIMEOUT_MS });
  await test.com1.expect('/ # ', { timeout: BOOT_TIMEOUT_MS });
  if (typesAhead) return test;
  // From here on the console belongs to the test; what the kernel has to say is in dmesg, unless it is about to die.
  await test.com1.run('dmesg -n 1', { timeout: BOOT_TIMEOUT_MS });
  await test.com1.expect('/ # ', { timeout: BOOT_TIMEOUT_MS });
  return test;
}

/** A directory of the test's own; remove it with the function that comes with it. */
export function scratchDirectory(): { path: string; remove: () => void } {
  const path = mkdtempSync(join(tmpdir(), 'webhyve-guest-'));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

const MULTIBOOT_MAGIC = 0x1badb002;
const MULTIBOOT_ADDRESSES = 0x10000;
const MULTIBOOT_LOAD = 0x100000;
const MULTIBOOT_HEADER_BYTES = 32;

/** A multiboot kernel of a few machine instructions, entered in 32-bit protected mode at 1 MiB + 32. */
export function multibootPayload(code: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(MULTIBOOT_HEADER_BYTES + code.length);
  const view = new DataView(bytes.buffer);
  const end = MULTIBOOT_LOAD + bytes.length;
  const header = [
    MULTIBOOT_MAGIC,
    MULTIBOOT_ADDRESSES,
    (0x1_0000_0000 - MULTIBOOT_MAGIC - MULTIBOOT_ADDRESSES) >>> 0,
    MULTIBOOT_LOAD,
    MULTIBOOT_LOAD,
    end,
    end,
    MULTIBOOT_LOAD + MULTIBOOT_HEADER_BYTES,
  ];
  for (const [index, word] of header.entries()) view.setUint32(index * 4, word, true);
  bytes.set(code, MULTIBOOT_HEADER_BYTES);
  return bytes;
}

/** A machine that runs the payload; not started. */
export function payloadMachine(
  code: readonly number[],
  options: HostOptions & { args?: readonly string[] } = {},
): Promise<TestMachine> {
  const kernel = multibootPayload(code);
  const argv = [...BASIC_ARGS, ...(options.args ?? []), '-f', 'multiboot,/payload', 'test'];
  return testMachine(argv, { ...options, readFile: () => Promise.resolve(kernel) });
}
