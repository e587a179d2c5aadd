import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Writable } from 'node:stream';
import { afterEach, describe, expect, test, vi } from 'vitest';
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
import { parseCharacterAddress } from '../../devices/backends/character.ts';
import type { CharacterBackend } from '../../devices/backends/character.ts';
import { EscapeFilter } from '../../host-node/console/escape.ts';
import { BACKLOG_BYTES, RECONNECT_MS } from '../../host-node/console/link.ts';
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

  test('run keeps a last line without an end, and drops the echo of terminal and shell', async () => {
    for (const prompt of ['/ # ', '\x1b[1m$ \x1b[6n']) {
      const { console, print } = make();
      print(`ready\r\n${prompt}`);
      const result = console.run('printf "a\\nb"');
      print(`echo "@@BEG""IN1@@"; printf "a\\nb"\r\n@@BEGIN1@@\r\necho "@@E""ND1:$?@@"\r\na\r\nb`);
      print(`${prompt}echo "@@E""ND1:$?@@"\r\n@@END1:0@@\r\n${prompt}`);
      expect(await result).toEqual({ output: 'a\nb', status: 0 });
    }
  });

  test('kernel messages between any two characters of what run prints change neither output nor status', async () => {
    const message = '[    5.639339] IPv6: ADDRCONF(NETDEV_CHANGE): eth0: link becomes ready\r\n';
    const begin = '@@BEGIN1@@\r\n';
    const end = 'echo "@@E""ND1:$?@@"\r\n@@END1:42@@\r\n';
    for (let at = 1; at < begin.length - 1; at++) {
      const { console, print } = make();
      const result = console.run('uname -s');
      print(`${begin.slice(0, at)}${message}${message}${begin.slice(at)}Linux\r\n/ # ${end}/ # `);
      expect(await result, `at ${at}`).toEqual({ output: 'Linux\n', status: 42 });
    }
    for (let at = 1; at < end.length - 1; at++) {
      // Behind the echo and before the second marker, a message is output like any other.
      if (at >= end.indexOf('\n') - 1 && at <= end.indexOf('\n') + 1) continue;
      const { console, print } = make();
      const result = console.run('uname -s');
      print(`${begin}Linux\r\n/ # ${end.slice(0, at)}${message}${end.slice(at)}/ # `);
      const { output, status } = await result;
      expect(output.split('\n')[0], `at ${at}`).toBe('Linux');
      expect(output, `at ${at}`).not.toContain('@@');
      expect(status, `at ${at}`).toBe(42);
    }
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
    port.start();
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

  test('a pause leaves no output in the ring, where a snapshot would see it and print it again', () => {
    const uart = new FakeUart();
    const backend = new SlowBackend();
    const port = new SerialPort('com1', uart.rings(), backend);
    port.start();
    backend.full = true;
    uart.print('one');
    port.service();
    uart.print('two');
    port.pause();
    expect(backend.written).toBe('onetwo');
    expect(uart.rings().hasOutput).toBe(false);
    // The far end is as full as before.
    port.resume();
    uart.print('three');
    port.service();
    expect(backend.written).toBe('onetwo');
    backend.full = false;
    backend.port?.drained();
    expect(backend.written).toBe('onetwothree');
  });

  test('input that the guest does not take is held back and lost nowhere', () => {
    const uart = new FakeUart();
    const backend = new SlowBackend();
    const port = new SerialPort('com1', uart.rings(), backend);
    port.start();
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

  test('input comes in bursts; the next waits for a guest at rest, but not for ever', () => {
    vi.useFakeTimers();
    try {
      const uart = new FakeUart();
      const backend = new SlowBackend();
      let rests = false;
      const port = new SerialPort('com1', uart.rings(), backend, () => rests);
      port.start();
      backend.port?.receive(encoder.encode('x'.repeat(10_000)));
      expect(uart.take(20_000).length).toBe(4096);
      port.service();
      vi.advanceTimersByTime(5);
      expect(uart.take(20_000)).toBe('');
      rests = true;
      vi.advanceTimersByTime(1);
      expect(uart.take(100).length).toBe(100);
      // The rest begins when all is taken.
      vi.advanceTimersByTime(100);
      expect(uart.take(20_000).length).toBe(3996);
      rests = false;
      port.service();
      vi.advanceTimersByTime(9);
      expect(uart.take(20_000)).toBe('');
      vi.advanceTimersByTime(1);
      expect(uart.take(20_000).length).toBe(10_000 - 2 * 4096);
    } finally {
      vi.useRealTimers();
    }
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

  test('what is printed while nobody is there waits for the next client, the newest 64 KiB of it', async () => {
    const backend = await SocketServerBackend.listenTcp('127.0.0.1', 0);
    let drains = 0;
    backend.open({ receive: () => undefined, drained: () => drains++ });
    const first = await client({ port: backend.port });
    backend.write(encoder.encode('one '));
    await expect.poll(first.text).toBe('one ');
    first.socket.end();
    await new Promise((resolve) => first.socket.once('close', resolve));
    await new Promise((resolve) => setTimeout(resolve, 30));
    // For a while the guest waits for the next client.
    let next = 0;
    while (backend.write(encoder.encode(`${next++} `))) expect(next).toBeLessThan(30_000);
    expect(drains).toBe(0);
    await expect.poll(() => drains, { timeout: 20_000 + 2 * RECONNECT_MS }).toBe(1);
    for (; next < 30_000; next++) expect(backend.write(encoder.encode(`${next} `))).toBe(true);
    const second = await client({ port: backend.port });
    await expect.poll(() => second.text().length).toBe(BACKLOG_BYTES);
    expect(second.text().endsWith('29998 29999 ')).toBe(true);
    await backend.close();
  });

  test('a client that comes in time goes on where the one before ended', async () => {
    const backend = await SocketServerBackend.listenTcp('127.0.0.1', 0);
    let drains = 0;
    backend.open({ receive: () => undefined, drained: () => drains++ });
    const first = await client({ port: backend.port });
    backend.write(encoder.encode('one '));
    await expect.poll(first.text).toBe('one ');
    first.socket.end();
    await new Promise((resolve) => first.socket.once('close', resolve));
    await new Promise((resolve) => setTimeout(resolve, 30));
    let wanted = '';
    for (let i = 0, room = true; room; i++) {
      wanted += `${i} `;
      room = backend.write(encoder.encode(`${i} `));
    }
    const second = await client({ port: backend.port });
    await expect.poll(second.text).toBe(wanted);
    expect(drains).toBe(1);
    await backend.close();
  });

  test("what the system had not taken when a client was killed is the next client's", async () => {
    const folder = mkdtempSync(join(tmpdir(), 'webhyve-test-'));
    const at = (name: string): string => join(folder, name);
    const piece = (i: number): Uint8Array => new Uint8Array(16 * 1024).fill(i);
    /** Connected, and does not read: what it is sent stays with the system. */
    const deaf = async (path: string): Promise<Socket> => {
      const socket = connect(path).pause();
      sockets.push(socket);
      await new Promise((resolve) => socket.once('connect', resolve));
      return socket;
    };
    try {
      // What the system takes for such a client.
      const accepted = new Promise<Socket>((resolve) => createServer(resolve).listen(at('plain')).unref());
      await deaf(at('plain'));
      const plain = await accepted;
      sockets.push(plain);
      let taken = 0;
      while (plain.write(piece(taken)) && plain.writableLength === 0) taken++;
      expect(taken).toBeGreaterThan(0);

      const backend = await SocketServerBackend.listenUnix(at('port'));
      let full = false;
      backend.open({ receive: () => undefined, drained: () => (full = false) });
      const first = await deaf(at('port'));
      let sent = 0;
      for (let quiet = 0; quiet < 10; quiet++) {
        for (; !full; sent++, quiet = 0) full = !backend.write(piece(sent));
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      first.destroy();
      const second = connect(at('port'));
      sockets.push(second);
      const chunks: Buffer[] = [];
      second.on('data', (chunk: Buffer) => chunks.push(chunk));
      const bytes = (): Buffer => Buffer.concat(chunks);
      await expect.poll(() => bytes().length).toBeGreaterThanOrEqual((sent - taken) * piece(0).length);
      expect(bytes()).toEqual(Buffer.concat(Array.from({ length: sent - taken }, (_, i) => piece(taken + i))));
      await backend.close();
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test('a port that follows the carrier hears of clients, and keeps nothing for one that comes late', async () => {
    const backend = await SocketServerBackend.listenTcp('127.0.0.1', 0);
    const carriers: boolean[] = [];
    backend.open({ receive: () => undefined, drained: () => undefined, carrier: (present) => carriers.push(present) });
    backend.write(encoder.encode('lost'));
    const first = await client({ port: backend.port });
    await expect.poll(() => carriers).toEqual([false, true]);
    first.socket.destroy();
    await expect.poll(() => carriers).toEqual([false, true, false]);
    backend.write(encoder.encode('kept '));
    const second = await client({ port: backend.port });
    await expect.poll(() => carriers.length).toBe(4);
    backend.write(encoder.encode('heard'));
    await expect.poll(second.text).toBe('kept heard');
    second.socket.destroy();
    await expect.poll(() => carriers.length).toBe(5);
    backend.write(encoder.encode('lost'));
    await new Promise((resolve) => setTimeout(resolve, RECONNECT_MS + 200));
    const third = await client({ port: backend.port });
    await expect.poll(() => carriers.length).toBe(6);
    backend.write(encoder.encode('heard'));
    await expect.poll(third.text).toBe('heard');
    await backend.close();
  });

  test('a client that does not read stops the guest, and then gets every byte', async () => {
    const backend = await SocketServerBackend.listenTcp('127.0.0.1', 0);
    let drains = 0;
    backend.open({ receive: () => undefined, drained: () => drains++ });
    const slow = await client({ port: backend.port });
    slow.socket.pause();
    await new Promise((resolve) => setTimeout(resolve, 20));
    let written = 0;
    let full = false;
    while (written < 64 << 20 && !full) {
      const before = drains;
      full = !backend.write(new Uint8Array(16384).fill(written >> 14));
      written += 16384;
      if (!full) continue;
      await new Promise((resolve) => setTimeout(resolve, 50));
      full = drains === before;
    }
    expect(full).toBe(true);
    let got = 0;
    let wrong = 0;
    slow.socket.removeAllListeners('data');
    slow.socket.on('data', (chunk: Buffer) => {
      for (const byte of chunk) if (byte !== ((got++ >> 14) & 0xff)) wrong++;
    });
    slow.socket.resume();
    await expect.poll(() => got, { timeout: 10_000 }).toBe(written);
    expect(wrong).toBe(0);
    expect(drains).toBeGreaterThan(0);
    await backend.close();
  });

  test('what a client sent before it went arrives, though the guest reads late and writing to it fails', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'webhyve-'));
    try {
      const path = join(directory, 'console');
      const backend = await SocketServerBackend.listenUnix(path);
      let received = 0;
      backend.open({ receive: (bytes) => (received += bytes.length), drained: () => undefined });
      backend.hold(true);
      const { socket } = await client({ path });
      socket.write(new Uint8Array(150_000));
      await expect.poll(() => socket.writableLength).toBe(0);
      socket.destroy();
      await new Promise((resolve) => setTimeout(resolve, 30));
      for (let i = 0; i < 5; i++) {
        backend.write(encoder.encode('echo '));
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      // The next client may come before the last one's input is read; it waits.
      const next = await client({ path });
      backend.hold(false);
      await expect.poll(() => received).toBe(150_000);
      await expect.poll(next.text).toBe('echo echo echo echo echo ');
      await backend.close();
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  test('the socket of a killed process is replaced, that of a living one and other files are not', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'webhyve-'));
    try {
      const path = join(directory, 'console');
      const listen = `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`;
      spawnSync(process.execPath, ['-e', listen]);
      expect(existsSync(path)).toBe(true);
      const backend = await SocketServerBackend.listenUnix(path);
      await expect(SocketServerBackend.listenUnix(path)).rejects.toThrow(/EADDRINUSE/);
      await backend.close();
      writeFileSync(path, 'precious');
      await expect(SocketServerBackend.listenUnix(path)).rejects.toThrow(/EADDRINUSE/);
      expect(readFileSync(path, 'utf8')).toBe('precious');
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  test.each([
    ['A first', ['A', 'B']],
    ['B first', ['B', 'A']],
  ])('a null modem between two machines, %s; either end may go and come again', async (_name, order) => {
    const directory = mkdtempSync(join(tmpdir(), 'webhyve-'));
    try {
      const opener = new SerialOpener(() => undefined, directory);
      const heard = new Map([
        ['A', ''],
        ['B', ''],
      ]);
      const plug = async (end: string): Promise<CharacterBackend> => {
        const backend = await opener.open(parseCharacterAddress(`/dev/nmdm0.test${end}`));
        backend.open({
          receive: (bytes) => heard.set(end, (heard.get(end) ?? '') + decoder.decode(bytes)),
          drained: () => undefined,
        });
        return backend;
      };
      const ends = new Map<string, CharacterBackend>();
      for (const end of order) ends.set(end, await plug(end));
      await expect(opener.open(parseCharacterAddress('/dev/nmdm0.testA'))).rejects.toThrow(
        '/dev/nmdm0.testA is in use',
      );
      ends.get('A')?.write(encoder.encode('from A'));
      ends.get('B')?.write(encoder.encode('from B'));
      await expect.poll(() => Object.fromEntries(heard)).toEqual({ A: 'from B', B: 'from A' });
      for (const end of order) {
        const other = end === 'A' ? 'B' : 'A';
        await ends.get(end)?.close();
        await new Promise((resolve) => setTimeout(resolve, 30));
        ends.get(other)?.write(encoder.encode(', still there'));
        ends.set(end, await plug(end));
        await expect.poll(() => heard.get(end)).toContain(', still there');
      }
      expect(Object.fromEntries(heard)).toEqual({ A: 'from B, still there', B: 'from A, still there' });
      for (const backend of ends.values()) await backend.close();
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  test('a pseudo-terminal that vanishes and comes back', async (context) => {
    if (spawnSync('socat', ['-V']).status !== 0) context.skip('socat is missing');
    const directory = mkdtempSync(join(tmpdir(), 'webhyve-'));
    const children: ChildProcess[] = [];
    try {
      const link = join(directory, 'tty');
      const terminal = async (): Promise<{ child: ChildProcess; text: () => string }> => {
        const child = spawn('socat', ['-', `PTY,link=${link},raw,echo=0`], { stdio: ['pipe', 'pipe', 'ignore'] });
        children.push(child);
        let text = '';
        child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()));
        await expect.poll(() => existsSync(link), { timeout: 20_000 }).toBe(true);
        return { child, text: () => text };
      };
      const first = await terminal();
      const backend = await new SerialOpener(() => undefined).open(parseCharacterAddress(link));
      let received = '';
      backend.open({ receive: (bytes) => (received += decoder.decode(bytes)), drained: () => undefined });
      backend.write(encoder.encode('out'));
      await expect.poll(first.text).toBe('out');
      first.child.stdin?.write('in');
      await expect.poll(() => received).toBe('in');
      first.child.kill();
      await expect.poll(() => existsSync(link)).toBe(false);
      await new Promise((resolve) => setTimeout(resolve, 30));
      backend.write(encoder.encode('meanwhile'));
      const second = await terminal();
      await expect.poll(second.text, { timeout: 20_000 }).toBe('meanwhile');
      await backend.close();
    } finally {
      for (const child of children) child.kill();
      rmSync(directory, { recursive: true });
    }
  });

  test('a terminal that is not read stops the guest alone, and its successor gets what the system had not taken', async (context) => {
    if (spawnSync('socat', ['-V']).status !== 0) context.skip('socat is missing');
    const directory = mkdtempSync(join(tmpdir(), 'webhyve-'));
    const link = join(directory, 'tty');
    /** The link does not join two of them. */
    const PIECE_BYTES = 15_000;
    const children: ChildProcess[] = [];
    const terminal = async (): Promise<ChildProcess> => {
      const child = spawn('socat', ['-', `PTY,link=${link},raw,echo=0`], { stdio: ['pipe', 'pipe', 'ignore'] });
      children.push(child);
      await expect.poll(() => existsSync(link), { timeout: 20_000 }).toBe(true);
      return child;
    };
    const terminalsOpen = (): number =>
      readdirSync('/proc/self/fd').filter((fd) => {
        try {
          return readlinkSync(`/proc/self/fd/${fd}`).startsWith('/dev/pts/');
        } catch {
          return false;
        }
      }).length;
    try {
      const openBefore = terminalsOpen();
      const first = await terminal();
      first.kill('SIGSTOP');
      // A write that blocks would end with the terminal: for a failure instead of an endless wait.
      children.push(spawn('sh', ['-c', `sleep 15; kill -KILL ${first.pid}`], { stdio: 'ignore' }));
      const backend = await new SerialOpener(() => undefined).open(parseCharacterAddress(link));
      let full = false;
      backend.open({ receive: () => undefined, drained: () => (full = false) });
      const data = Uint8Array.from({ length: 1 << 18 }, (_, i) => (Math.imul(i, 2654435761) >>> 24) ^ (i & 0xff));
      let sentBytes = 0;
      for (let quiet = 0; quiet < 10; quiet++) {
        for (; !full; quiet = 0) full = !backend.write(data.subarray(sentBytes, (sentBytes += PIECE_BYTES)));
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      expect(sentBytes).toBeLessThan(data.length);
      expect(first.signalCode).toBe(null);

      first.kill('SIGKILL');
      rmSync(link);
      const second = await terminal();
      const chunks: Buffer[] = [];
      second.stdout?.on('data', (chunk: Buffer) => chunks.push(chunk));
      const received = (): Buffer => Buffer.concat(chunks);
      const wanted = Buffer.from(data.subarray(0, sentBytes));
      await expect.poll(() => received().subarray(-64).equals(wanted.subarray(-64)), { timeout: 20_000 }).toBe(true);
      const lostBytes = sentBytes - received().length;
      expect(Buffer.compare(received(), wanted.subarray(lostBytes))).toBe(0);
      // What the system had taken is gone, and nothing beyond: it goes on within a piece, for Linux takes some KiB at a time.
      expect(lostBytes).toBeLessThan(1 << 16);
      expect(lostBytes % PIECE_BYTES).toBeGreaterThan(0);
      await backend.close();
      expect(terminalsOpen()).toBe(openBefore);
    } finally {
      for (const child of children) child.kill('SIGKILL');
      rmSync(directory, { recursive: true });
    }
  });

  test.each([
    ['tcp=0.0.0.0:0', true],
    ['tcp=:0', true],
    ['tcp=127.0.0.1:0', false],
  ])('%s: a line for the user where everybody may come', async (text, isOpen) => {
    const lines: string[] = [];
    const opener = new SerialOpener(
      () => undefined,
      undefined,
      (line) => lines.push(line),
    );
    const backend = await opener.open(parseCharacterAddress(text));
    await backend.close();
    expect(lines).toEqual(isOpen ? [expect.stringContaining('port 0 is open on all addresses')] : []);
  });

  test('what a path may be', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'webhyve-'));
    try {
      const opener = new SerialOpener(() => undefined);
      const path = join(directory, 'console');
      const server = await opener.open(parseCharacterAddress(`unix=${path}`));
      let received = '';
      server.open({ receive: (bytes) => (received += decoder.decode(bytes)), drained: () => undefined });
      const other = await opener.open(parseCharacterAddress(path));
      other.open({ receive: () => undefined, drained: () => undefined });
      other.write(encoder.encode('through'));
      await expect.poll(() => received).toBe('through');
      await other.close();
      await server.close();
      expect(() => parseCharacterAddress('tcp=nowhere')).toThrow(/ADDRESS:PORT/);
      await expect(opener.open(parseCharacterAddress('/dev/null'))).rejects.toThrow(/not a terminal/);
      await expect(opener.open(parseCharacterAddress('/no/such/tty'))).rejects.toThrow();
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});
