/**
 * What devices/ may use of its surroundings: what Node and browsers have in common. Anything else comes from the host
 * (devices/machine/host.ts). Only devices/tsconfig.json reads this file; elsewhere the libraries of the host say the same.
 */
declare function setTimeout(callback: (...args: never[]) => void, delayMs?: number): number;
declare function clearTimeout(timer: number | undefined): void;
declare function queueMicrotask(callback: () => void): void;
/** Each character of the result is a byte. */
declare function atob(base64: string): string;

declare const performance: { now(): number; readonly timeOrigin: number };
declare const crypto: { getRandomValues<T extends ArrayBufferView>(into: T): T };

declare class TextEncoder {
  encode(text?: string): Uint8Array<ArrayBuffer>;
  encodeInto(text: string, into: Uint8Array): { readonly read: number; readonly written: number };
}

declare class TextDecoder {
  constructor(label?: string, options?: { readonly fatal?: boolean; readonly ignoreBOM?: boolean });
  decode(bytes?: ArrayBufferView | ArrayBuffer, options?: { readonly stream?: boolean }): string;
}

declare class URL {
  constructor(url: string | URL, base?: string | URL);
  readonly href: string;
  readonly protocol: string;
  readonly pathname: string;
}

declare class URLSearchParams {
  constructor(text?: string);
  get(name: string): string | null;
  getAll(name: string): string[];
  has(name: string): boolean;
  keys(): IterableIterator<string>;
  [Symbol.iterator](): IterableIterator<[string, string]>;
}

declare class Blob {
  constructor(parts?: readonly (Uint8Array | ArrayBuffer | string | Blob)[]);
  readonly size: number;
  slice(start?: number, end?: number): Blob;
  stream(): ReadableStream<Uint8Array<ArrayBuffer>>;
  arrayBuffer(): Promise<ArrayBuffer>;
}

declare class AbortSignal {
  readonly aborted: boolean;
  readonly reason: unknown;
  throwIfAborted(): void;
  addEventListener(
    type: 'abort',
    listener: () => void,
    options?: { readonly once?: boolean; readonly signal?: AbortSignal },
  ): void;
  removeEventListener(type: 'abort', listener: () => void): void;
}

declare class AbortController {
  readonly signal: AbortSignal;
  abort(reason?: unknown): void;
}

declare class Response {
  constructor(body?: ReadableStream<Uint8Array> | Uint8Array | Blob);
  readonly ok: boolean;
  readonly status: number;
  readonly statusText: string;
  readonly headers: { get(name: string): string | null; has(name: string): boolean };
  readonly body: ReadableStream<Uint8Array<ArrayBuffer>> | null;
  arrayBuffer(): Promise<ArrayBuffer>;
  json(): Promise<unknown>;
}

declare function fetch(
  url: URL,
  options?: {
    readonly headers?: Readonly<Record<string, string>>;
    readonly cache?: 'default' | 'force-cache' | 'reload';
  },
): Promise<Response>;

interface ReadableStreamController<T> {
  enqueue(chunk: T): void;
  close(): void;
  error(reason?: unknown): void;
  readonly desiredSize: number | null;
}

declare class ReadableStream<T> {
  constructor(
    source?: {
      start?(controller: ReadableStreamController<T>): void | Promise<void>;
      pull?(controller: ReadableStreamController<T>): void | Promise<void>;
      cancel?(reason?: unknown): void | Promise<void>;
    },
    strategy?: { readonly highWaterMark?: number },
  );
  pipeThrough<U>(pair: {
    readonly writable: WritableStream<T>;
    readonly readable: ReadableStream<U>;
  }): ReadableStream<U>;
  cancel(reason?: unknown): Promise<void>;
  getReader(): {
    read(): Promise<{ readonly done: false; readonly value: T } | { readonly done: true; readonly value?: undefined }>;
    cancel(reason?: unknown): Promise<void>;
  };
}

declare class WritableStream<T> {
  constructor(sink?: {
    write?(chunk: T): void | Promise<void>;
    close?(): void | Promise<void>;
    abort?(reason?: unknown): void | Promise<void>;
  });
  getWriter(): { write(chunk: T): Promise<void>; close(): Promise<void>; releaseLock(): void };
}

declare class DecompressionStream {
  constructor(format: 'gzip' | 'deflate' | 'deflate-raw');
  readonly writable: WritableStream<Uint8Array<ArrayBuffer>>;
  readonly readable: ReadableStream<Uint8Array<ArrayBuffer>>;
}

declare class CompressionStream {
  constructor(format: 'gzip' | 'deflate' | 'deflate-raw');
  readonly writable: WritableStream<Uint8Array<ArrayBuffer>>;
  readonly readable: ReadableStream<Uint8Array<ArrayBuffer>>;
}

declare namespace WebAssembly {
  type Exports = Readonly<Record<string, unknown>>;
  class Module {
    constructor(bytes: ArrayBufferView | ArrayBuffer);
  }
  class Memory {
    constructor(descriptor: { readonly initial: number; readonly maximum: number; readonly shared: boolean });
    readonly buffer: ArrayBufferLike;
  }
  class Table {
    constructor(descriptor: { readonly element: 'anyfunc'; readonly initial: number; readonly maximum?: number });
    readonly length: number;
    grow(count: number): number;
    get(index: number): unknown;
    set(index: number, value: unknown): void;
  }
  class Instance {
    constructor(module: Module, imports: Readonly<Record<string, Readonly<Record<string, unknown>>>>);
    readonly exports: Exports;
  }
}
