/**
 * A tap device of Linux (Documentation/networking/tuntap.rst of its kernel): opened with what rights the user has, through koffi, since
 * Node has no ioctl(2). A thread of its own waits for frames, because Node's event loop cannot wait for such a file.
 */
import { closeSync, constants, existsSync, openSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import * as Ring from './frame-ring.mjs';

type Koffi = typeof import('koffi');

/** linux/if_tun.h */
const TUNSETIFF = 0x400454ca;
const TUNSETVNETHDRSZ = 0x400454d8;
const TUNSETOFFLOAD = 0x400454d0;
const IFF_TAP = 0x0002;
const IFF_NO_PI = 0x1000;
const IFF_VNET_HDR = 0x4000;
const TUN_F_CSUM = 0x01;
const TUN_F_TSO4 = 0x02;
const TUN_F_TSO6 = 0x04;
/** A 64 KiB packet with Ethernet's and virtio's headers. */
const MAX_RECORD_BYTES = 65_536 + 64;
/** Longer frames are bulk's, whose next ones the reading thread reads meanwhile. */
const SHORT_RECORD_BYTES = 2048;
/** Frames that {@link TapDevice.look} reads at most. */
const MAX_LOOKED = 16;
const NAME_BYTES = 16;
const IFREQ_BYTES = 40;

export class TapError extends Error {
  override readonly name = 'TapError';
}

interface System {
  readonly ioctl: (fd: number, request: number, type: 'void *', argument: Uint8Array) => number;
  readonly ioctlValue: (fd: number, request: number, value: number) => number;
  readonly write: (fd: number, bytes: Uint8Array, lengthBytes: number) => number;
  readonly read: (fd: number, bytes: Uint8Array, lengthBytes: number) => number;
  readonly errno: () => number;
  readonly libraryPath: string;
}

/** The functions of libc, when koffi is installed (it is an optional dependency). */
function loadSystem(name: string): System {
  const require = createRequire(import.meta.url);
  let koffi: Koffi;
  let libraryPath: string;
  try {
    libraryPath = require.resolve('koffi');
    koffi = require('koffi') as Koffi;
  } catch {
    throw new TapError(`${name}: tap devices need the package koffi, which is not installed (npm install koffi)`);
  }
  const libc = koffi.load('libc.so.6');
  return {
    ioctl: libc.func('int ioctl(int fd, unsigned long request, ...)') as System['ioctl'],
    ioctlValue: libc.func('ioctl', 'int', ['int', 'ulong', 'ulong']) as System['ioctlValue'],
    write: libc.func('long write(int fd, const void *bytes, unsigned long count)') as System['write'],
    read: libc.func('long read(int fd, _Out_ uint8_t *bytes, unsigned long count)') as System['read'],
    errno: () => koffi.errno(),
    libraryPath,
  };
}

function openFailure(name: string, code: string | undefined): TapError {
  if (code === 'ENOENT') return new TapError(`${name}: this kernel has no tap devices (/dev/net/tun is missing)`);
  return new TapError(`${name}: /dev/net/tun cannot be opened (${code ?? 'unknown error'})`);
}

const ERRNO_NAMES: Readonly<Record<number, string>> = { 1: 'EPERM', 16: 'EBUSY', 22: 'EINVAL' };

/** The reading thread's program: beside this file in the sources, below or beside it in the bundle. */
function readerUrl(): URL {
  const candidates = ['./tap-reader.mjs', './network/tap-reader.js', '../network/tap-reader.js'];
  const urls = candidates.map((name) => new URL(name, import.meta.url));
  const found = urls.find((url) => existsSync(fileURLToPath(url)));
  if (!found) throw new TapError(`tap-reader is missing from this installation (looked for ${candidates.join(', ')})`);
  return found;
}

export interface TapEvents {
  /** Frames wait: see {@link TapDevice.next}. */
  ready(): void;
  /** The device is gone. The last event. */
  failed(reason: string): void;
}

export class TapDevice {
  /** Frames that the kernel did not take. */
  lostFrames = 0;
  readonly #worker: Worker;
  readonly #ring: SharedArrayBuffer;
  readonly #record = new Uint8Array(MAX_RECORD_BYTES);
  #closed = false;

  private constructor(
    readonly name: string,
    private readonly fd: number,
    private readonly system: System,
    events: TapEvents,
  ) {
    this.#ring = Ring.createRing();
    this.#worker = new Worker(readerUrl(), {
      workerData: { fd, ring: this.#ring, libraryPath: system.libraryPath },
      execArgv: [],
      name,
    });
    this.#worker.unref();
    this.#worker.on('message', () => {
      if (!this.#closed) events.ready();
    });
    this.#worker.on('error', (error: unknown) => {
      if (!this.#closed) events.failed(error instanceof Error ? error.message : String(error));
    });
  }

  /**
   * Opens the device. It has to exist, as in bhyve, unless `create` is set. Every frame has a virtio header of 10 bytes in front (virtio 1.2,
   * 5.1.6): the kernel hands over long TCP packets uncut.
   */
  static open(name: string, events: TapEvents, create = false): TapDevice {
    if (process.platform !== 'linux') throw new TapError(`${name}: tap devices work on Linux only here; use slirp`);
    if (name.length >= NAME_BYTES) throw new TapError(`${name}: the name is too long for a network device`);
    if (!create && !existsSync(`/sys/class/net/${name}`)) {
      throw new TapError(`${name} does not exist; make it with "ip tuntap add ${name} mode tap user $USER"`);
    }
    const system = loadSystem(name);
    let fd: number;
    try {
      fd = openSync('/dev/net/tun', constants.O_RDWR | constants.O_NONBLOCK);
    } catch (error) {
      throw openFailure(name, (error as NodeJS.ErrnoException).code);
    }
    const request = new Uint8Array(IFREQ_BYTES);
    request.set(new TextEncoder().encode(name));
    new DataView(request.buffer).setUint16(NAME_BYTES, IFF_TAP | IFF_NO_PI | IFF_VNET_HDR, true);
    if (system.ioctl(fd, TUNSETIFF, 'void *', request) !== 0) {
      const error = ERRNO_NAMES[system.errno()] ?? `error ${system.errno()}`;
      closeSync(fd);
      const hint =
        error === 'EPERM'
          ? `you may not use it; let its owner run "ip tuntap add ${name} mode tap user $USER"`
          : error === 'EBUSY'
            ? 'another program has it open'
            : error;
      throw new TapError(`${name}: ${hint}`);
    }
    const headerBytes = new Uint8Array(Int32Array.of(TapDevice.headerBytes).buffer);
    const offloads = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6;
    if (
      system.ioctl(fd, TUNSETVNETHDRSZ, 'void *', headerBytes) !== 0 ||
      system.ioctlValue(fd, TUNSETOFFLOAD, offloads) !== 0
    ) {
      closeSync(fd);
      throw new TapError(`${name}: this kernel's tap devices have no virtio headers`);
    }
    return new TapDevice(name, fd, system, events);
  }

  static readonly headerBytes = 10;

  /** The oldest frame that waits, header first, until {@link consume}; undefined when none does (ready() is called later). */
  next(): Uint8Array | undefined {
    return Ring.peek(this.#ring);
  }

  /** The frame of {@link next} was dealt with. */
  consume(): void {
    Ring.consume(this.#ring);
  }

  /**
   * Reads what the kernel has answered already, if nothing else waits: it answers pings and acknowledges within write(2), and to hear of that from
   * the reading thread takes two wake-ups. True when there is something for {@link next}.
   */
  look(): boolean {
    const ring = this.#ring;
    if (this.#closed || !Ring.isEmpty(ring) || !Ring.beginWriting(ring)) return false;
    let count = 0;
    for (let lengthBytes = 0; lengthBytes <= SHORT_RECORD_BYTES && count < MAX_LOOKED; count++) {
      lengthBytes = this.system.read(this.fd, this.#record, this.#record.length);
      // The ring was empty: it has room for so many, the longest among them.
      if (lengthBytes <= 0 || !Ring.push(ring, this.#record.subarray(0, lengthBytes))) break;
    }
    Ring.endWriting(ring);
    return count > 0;
  }

  /** Sends a frame, header first. */
  write(bytes: Uint8Array): void {
    if (this.#closed) return;
    if (this.system.write(this.fd, bytes, bytes.length) !== bytes.length) this.lostFrames++;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    Ring.stop(this.#ring);
    // The thread looks at the ring every fraction of a second; the file must not be closed under it.
    await new Promise<void>((resolve) => this.#worker.once('exit', () => resolve()));
    closeSync(this.fd);
  }
}
