import { mkdtempSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Writable } from 'node:stream';
import { afterEach, describe, expect, test } from 'vitest';
import {
  UART,
  UART_CONNECTED,
  UART_RINGS,
  UART_RING_SIZE,
  UART_RX_HEAD,
  UART_RX_TAIL,
  UART_TX_HEAD,
} from '../../core-as/layout.ts';
import { Console, ConsoleError } from '../../devices/serial/console.ts';
import { SerialPort } from '../../devices/serial/serial-port.ts';
import { UartRings } from '../../devices/serial/uart-rings.ts';
import type { CharacterBackend } from '../../devices/serial/character-backend.ts';
import { EscapeFilter } from '../../host-node/console/escape.ts';
import { SerialOpener } from '../../host-node/console/open-serial.ts';
import { SocketServerBackend } from '../../host-node/console/socket.ts';
import { StreamBackend } from '../../host-node/console/stream-backend.ts';

const encoder = new TextEncoder();
const decoder = new TextDecoder('latin1');

/** A UART without a core: the test plays the guest. */
class FakeUart {
  readonly memory: { i32: Int32Array; u8: Uint8Array };
  events = 0;

  constructor() {
    const buffer = new SharedArrayBuffer(0x200000);
    this.memory = { i32: new Int32Array(buffer), u8: new Uint8Array(buffer) };
  }

  rings(): UartRings {
    return new UartRings(this.memory, 0, () => this.events++);
  }

  #word(offset: number): number {
    return (UART + offset) >> 2;
  }

  get connected(): boolean {
    return this.memory.i32[this.#word(UART_CONNECTED)] === 1;
  }

  print(text: string): void {
    for (const byte of encoder.encode(text)) {
      const head = Atomics.load(this.memory.i32, this.#word(UART_TX_HEAD));
      this.memory.u8[UART_RINGS + (head & (UART_RING_SIZE - 1))] = byte;
      Atomics.store(this.memory.i32, this.#word(UART_TX_HEAD), head + 1);
    }
  }

  /** Takes up to `limit` bytes of input, as a guest would. */
  take(limit: number): string {
    const bytes: number[] = [];
    while (bytes.length < limit) {
      const tail = Atomics.load(this.memory.i32, this.#word(UART_RX_TAIL));
      if (tail === Atomics.load(this.memory.i32, this.#word(UART_RX_HEAD))) break;
      bytes.push(this.memory.u8[UART_RINGS + UART_RING_SIZE + (tail & (UART_RING_SIZE - 1))] ?? 0);
      Atomics.store(this.memory.i32, this.#word(UART_RX_TAIL), tail + 1);
    }
    return decoder.decode(Uint8Array.from(bytes));
  }
}

describe('console', () => {
  const make = (): { console: Console; typed: string[]; print: (text: string) => void } => {
    const typed: string[] = [];
    const console = new Console('com1', (bytes) => typed.push(decoder.decode(bytes)));
    return { console, typed, print: (text) => console.deliver(encoder.encode(text)) };
  };

  test('expect finds text that is there already, and text that comes in pieces', async () => {
    const { console, print } = make();
    print('Linux version 6.1\r\nlog');
    expect((await console.expect(/version (\S+)/)).groups).toEqual(['6.1']);
    const login = console.expect('login: ');
    print('in');
    print(': ');
    expect((await login).before).toBe('\r\n');
  });

  test('each match begins after the one before', async () => {
    const { console, print } = make();
    print('# one # two # ');
    expect((await console.expect('# ')).before).toBe('');
    expect((await console.expect('# ')).before).toBe('one ');
    expect((await console.expect('# ')).before).toBe('two ');
    await expect(console.expect('# ', { timeout: 20 })).rejects.toThrow(ConsoleError);
  });

  test('the earliest of several patterns wins', async () => {
    const { console, print } = make();
    print('panic then ready');
    expect((await console.expect(['ready', /panic/])).pattern).toBe(1);
  });

  test('a timeout shows the last lines', async () => {
    const { console, print } = make();
    print('line one\nline two');
    await expect(console.expect('never', { timeout: 10 })).rejects.toThrow(/"never".*10 ms[\s\S]*line two/);
  });

  test('the end of the machine ends all waits, and later ones', async () => {
    const { console } = make();
    const wait = console.expect('never');
    console.close('poweroff');
    await expect(wait).rejects.toThrow(/the machine ended \(poweroff\)/);
    await expect(console.expect('again')).rejects.toThrow(/the machine ended/);
  });

  test('run gives output and status, without the echo', async () => {
    const { console, typed, print } = make();
    const result = console.run('uname -s');
    expect(typed.join('')).toBe('echo "@@BEG""IN1@@"; uname -s\necho "@@E""ND1:$?@@"\n');
    print('echo "@@BEG""IN1@@"; uname -s\r\necho "@@E""ND1:$?@@"\r\n@@BEGIN1@@\r\nLinux\r\n/ # ');
    print('echo "@@E""ND1:$?@@"\r\n@@END1:0@@\r\n/ # ');
    expect(await result).toEqual({ output: 'Linux\n', status: 0 });
  });

  test('multi-byte characters that are split between deliveries', async () => {
    const { console } = make();
    const bytes = encoder.encode('grün');
    console.deliver(bytes.subarray(0, 3));
    console.deliver(bytes.subarray(3));
    expect((await console.expect('grün')).text).toBe('grün');
  });
});

describe('serial port', () => {
  class SlowBackend implements CharacterBackend {
    port: Parameters<CharacterBackend['open']>[0] | undefined;
    written = '';
    full = false;
    holds: boolean[] = [];
    open(port: Parameters<CharacterBackend['open']>[0]): void {
      this.port = port;
    }
    write(bytes: Uint8Array): boolean {
      this.written += decoder.decode(bytes);
      return !this.full;
    }
    hold(held: boolean): void {
      this.holds.push(held);
    }
    close(): Promise<void> {
      return Promise.resolve();
    }
  }

  test('output stays in the ring while the backend is full', () => {
    const uart = new FakeUart();
    const backend = new SlowBackend();
    const port = new SerialPort('com1', uart.rings(), backend);
    port.open();
    expect(uart.connected).toBe(true);
    backend.full = true;
    uart.print('one');
    port.service();
    uart.print('two');
    port.service();
    expect(backend.written).toBe('one');
    backend.full = false;
    backend.port?.drained();
    expect(backend.written).toBe('onetwo');
    expect(port.console.transcript).toBe('onetwo');
  });

  test('input that the guest does not take is held back and lost nowhere', () => {
    const uart = new FakeUart();
    const backend = new SlowBackend();
    const port = new SerialPort('com1', uart.rings(), backend);
    port.open();
    const text = Array.from({ length: 60_000 }, (_, i) => String.fromCharCode(97 + (i % 26))).join('');
    backend.port?.receive(encoder.encode(text));
    expect(backend.holds).toEqual([true]);
    let got = '';
    for (let more = uart.take(5000); more !== ''; more = uart.take(5000)) {
      got += more;
      port.service();
    }
    expect(got).toBe(text);
    expect(backend.holds).toEqual([true, false]);
  });
});

describe('Ctrl-A', () => {
  const make = (): { filter: (text: string) => string; did: string[] } => {
    const did: string[] = [];
    const escape = new EscapeFilter({ leave: () => did.push('leave'), help: () => did.push('help') });
    return { filter: (text) => decoder.decode(escape.filter(encoder.encode(text))), did };
  };

  test('x leaves, h helps, Ctrl-A Ctrl-A is one Ctrl-A', () => {
    const { filter, did } = make();
    expect(filter('ab\u0001xcd\u0001h\u0001\u0001e')).toBe('abcd\u0001e');
    expect(did).toEqual(['leave', 'help']);
  });

  test('the second key may come later; other keys are the guest s', () => {
    const { filter, did } = make();
    expect(filter('a\u0001')).toBe('a');
    expect(filter('x')).toBe('');
    expect(did).toEqual(['leave']);
    expect(filter('\u0001k\u0003')).toBe('\u0001k\u0003');
  });
});

describe('streams', () => {
  test('a slow reader blocks and drains; the end of input is no error', async () => {
    const input = new PassThrough();
    const received: string[] = [];
    let release: (() => void) | undefined;
    const output = new Writable({
      highWaterMark: 4,
      write: (_chunk, _encoding, done) => {
        release = done;
      },
    });
    let drains = 0;
    const backend = new StreamBackend(input, output);
    backend.open({ receive: (bytes) => received.push(decoder.decode(bytes)), drained: () => drains++ });
    expect(backend.write(encoder.encode('abcdefgh'))).toBe(false);
    release?.();
    await expect.poll(() => drains).toBe(1);
    input.end('typed');
    await expect.poll(() => received.join('')).toBe('typed');
  });

  test('a reader that went away does not block', async () => {
    const output = new PassThrough();
    const backend = new StreamBackend(new PassThrough(), output);
    backend.open({ receive: () => undefined, drained: () => undefined });
    output.destroy(new Error('EPIPE'));
    await new Promise((resolve) => setImmediate(resolve));
    expect(backend.write(encoder.encode('x'.repeat(1 << 20)))).toBe(true);
    await backend.close();
  });
});

describe('sockets', () => {
  const sockets: Socket[] = [];
  afterEach(() => {
    for (const socket of sockets.splice(0)) socket.destroy();
  });
  const client = async (
    where: { port: number } | { path: string },
  ): Promise<{ socket: Socket; text: () => string }> => {
    const socket = 'port' in where ? connect(where.port, '127.0.0.1') : connect(where.path);
    sockets.push(socket);
    let text = '';
    socket.on('data', (chunk: Buffer) => (text += chunk.toString()));
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    });
    return { socket, text: () => text };
  };

  test('one client at a time, both ways; the next may come when it has gone', async () => {
    const backend = await SocketServerBackend.listenTcp('127.0.0.1', 0);
    let received = '';
    backend.open({ receive: (bytes) => (received += decoder.decode(bytes)), drained: () => undefined });
    // Kept for whoever comes first.
    expect(backend.write(encoder.encode('early, '))).toBe(true);
    const first = await client({ port: backend.port });
    first.socket.write('hello');
    await expect.poll(() => received).toBe('hello');
    const second = await client({ port: backend.port });
    await new Promise((resolve) => second.socket.once('close', resolve));
    backend.write(encoder.encode('only one'));
    await expect.poll(first.text).toBe('early, only one');
    expect(second.text()).toBe('');
    first.socket.destroy();
    await new Promise((resolve) => setTimeout(resolve, 30));
    const third = await client({ port: backend.port });
    third.socket.write(' again');
    await expect.poll(() => received).toBe('hello again');
    await backend.close();
  });

  test('what a path may be', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'webhyve-'));
    try {
      const opener = new SerialOpener(() => undefined);
      const path = join(directory, 'console');
      const server = await opener.open(`unix=${path}`);
      let received = '';
      server.open({ receive: (bytes) => (received += decoder.decode(bytes)), drained: () => undefined });
      const other = await opener.open(path);
      other.open({ receive: () => undefined, drained: () => undefined });
      other.write(encoder.encode('through'));
      await expect.poll(() => received).toBe('through');
      await other.close();
      await server.close();
      await expect(opener.open('tcp=nowhere')).rejects.toThrow(/ADDRESS:PORT/);
      await expect(opener.open('/dev/null')).rejects.toThrow(/not a terminal/);
      await expect(opener.open('/no/such/tty')).rejects.toThrow();
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});
