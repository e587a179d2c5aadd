/**
 * A 9P server over a {@link ShareBackend}: dialects 9P2000.L (what Linux and FreeBSD mount), 9P2000.u and 9P2000. One server has one client, as
 * a virtio-9p device has one driver; Tversion begins a new session. Requests run at the same time; each answer is given when it is ready.
 */
import { LINUX_ERRNO, linuxErrno } from './errno.ts';
import { LINUX_OPERATIONS } from './linux-operations.ts';
import {
  HEADER_BYTES,
  MessageReader,
  MessageWriter,
  READ_HEADER_BYTES,
  RERROR,
  RLERROR,
  TFLUSH,
  TVERSION,
  TWRITE,
  WRITE_HEADER_BYTES,
} from './messages.ts';
import {
  MAX_MESSAGE_BYTES,
  Session,
  type Dialect,
  type NinePExchange,
  type Operation,
  type OperationResult,
} from './session.ts';
import { SHARED_OPERATIONS } from './shared-operations.ts';
import { ShareError, type ShareBackend } from '../backends/share.ts';
import { UNIX_OPERATIONS } from './unix-operations.ts';

/** A client that takes less cannot be served. */
const MIN_MESSAGE_BYTES = 4096;
/** Besides Twrite, whose data is not copied, no message needs more. */
const MAX_COPIED_BYTES = 64 * 1024;

const DIALECT_OPERATIONS: Readonly<Record<Dialect, Readonly<Record<number, Operation>>>> = {
  '9P2000.L': { ...SHARED_OPERATIONS, ...LINUX_OPERATIONS },
  '9P2000.u': { ...SHARED_OPERATIONS, ...UNIX_OPERATIONS },
  '9P2000': { ...SHARED_OPERATIONS, ...UNIX_OPERATIONS },
};

export interface NinePServerOptions {
  readonly backend: ShareBackend;
  /** `ro`: nothing can be changed. */
  readonly readOnly: boolean;
}

export class NinePServer {
  readonly session: Session;
  /** Requests answered, with or without an error. */
  requests = 0;
  /** Messages that make no sense. */
  malformedMessages = 0;
  /** Failures of the host that have no errno. */
  backendErrors = 0;
  /** Requests under way, by tag. */
  readonly #running = new Map<number, Promise<unknown>>();

  constructor({ backend, readOnly }: NinePServerOptions) {
    this.session = new Session(backend, readOnly || backend.readOnly);
  }

  /**
   * Serves one request. Resolves with the length of the answer, 0 when there is no room for any. Rejects with what the exchange throws
   * when the answer cannot be written.
   */
  async serve(exchange: NinePExchange): Promise<number> {
    this.requests++;
    if (exchange.requestBytes < HEADER_BYTES || exchange.replyBytes < HEADER_BYTES) {
      this.malformedMessages++;
      return 0;
    }
    const header = new MessageReader(exchange.copyRequest(0, HEADER_BYTES));
    const size = header.u32();
    const type = header.u8();
    const tag = header.u16();
    const running = this.#answer(exchange, size, type, tag);
    this.#running.set(tag, running);
    try {
      return await running;
    } finally {
      if (this.#running.get(tag) === running) this.#running.delete(tag);
    }
  }

  async #answer(exchange: NinePExchange, size: number, type: number, tag: number): Promise<number> {
    let result: OperationResult;
    let replyType = type + 1;
    try {
      result = await this.#execute(exchange, size, type);
    } catch (error) {
      result = this.#errorBody(error);
      replyType = this.session.dialect === '9P2000.L' ? RLERROR : RERROR;
    }
    if (!(result instanceof MessageWriter)) {
      const header = new MessageWriter().u32(result.dataBytes);
      exchange.writeReply(header.message(replyType, tag, result.dataBytes));
      header.release();
      return READ_HEADER_BYTES + result.dataBytes;
    }
    const length = HEADER_BYTES + result.lengthBytes;
    if (length > exchange.replyBytes) {
      this.malformedMessages++;
      return 0;
    }
    exchange.writeReply(result.message(replyType, tag));
    result.release();
    return length;
  }

  async #execute(exchange: NinePExchange, size: number, type: number): Promise<OperationResult> {
    const { session } = this;
    if (size < HEADER_BYTES || size > exchange.requestBytes) throw new ShareError('EINVAL', 'wrong size');
    const end = Math.min(size, type === TWRITE ? WRITE_HEADER_BYTES : MAX_COPIED_BYTES);
    const reader = new MessageReader(exchange.copyRequest(HEADER_BYTES, end));
    if (type === TVERSION) return this.#version(reader);
    if (type === TFLUSH) return this.#flush(reader);
    const operation = session.dialect === undefined ? undefined : DIALECT_OPERATIONS[session.dialect][type];
    if (!operation) throw new ShareError('EOPNOTSUPP', `message type ${type}`);
    const result = await operation({ session, reader, exchange });
    const bodyBytes = result instanceof MessageWriter ? result.lengthBytes : 4 + result.dataBytes;
    if (HEADER_BYTES + bodyBytes > session.replyLimit(exchange)) throw new ShareError('EMSGSIZE');
    return result;
  }

  #errorBody(error: unknown): MessageWriter {
    let number = linuxErrno(error);
    if (number === undefined) {
      this.backendErrors++;
      number = LINUX_ERRNO['EIO'] ?? 5;
    }
    if (error instanceof ShareError && error.code === 'EINVAL') this.malformedMessages++;
    const body = new MessageWriter();
    if (this.session.dialect === '9P2000.L') return body.u32(number);
    // Clients of .u take the number, others the text.
    body.string(error instanceof Error && 'code' in error ? String(error.code) : 'EIO');
    return this.session.dialect === '9P2000.u' ? body.u32(number) : body;
  }

  async #version(reader: MessageReader): Promise<OperationResult> {
    const wanted = reader.u32();
    const version = reader.string(MAX_COPIED_BYTES);
    await this.reset();
    if (wanted < MIN_MESSAGE_BYTES) throw new ShareError('EINVAL', 'msize is too small');
    const { session } = this;
    session.msize = Math.min(wanted, MAX_MESSAGE_BYTES);
    // version(5): of a name with extensions that the server does not know, it answers the part before the full stop.
    if (version === '9P2000.L' || version === '9P2000.u') session.dialect = version;
    else if (version === '9P2000' || version.startsWith('9P2000.')) session.dialect = '9P2000';
    return new MessageWriter().u32(session.msize).string(session.dialect ?? 'unknown');
  }

  /** Tflush is answered after the request it names: the client may use that tag again afterwards (flush(5)). */
  async #flush(reader: MessageReader): Promise<OperationResult> {
    await this.#running.get(reader.u16())?.catch(() => undefined);
    return new MessageWriter();
  }

  /** Ends the session. Requests under way end by themselves. */
  reset(): Promise<void> {
    return this.session.reset();
  }

  async close(): Promise<void> {
    await this.reset();
    await this.session.backend.close();
  }

  counters(): Record<string, number> {
    const { session } = this;
    return {
      '9P requests': this.requests,
      '9P malformed messages': this.malformedMessages,
      '9P host failures': this.backendErrors,
      '9P fids': session.fids.count,
      '9P bytes read': session.bytesRead,
      '9P bytes written': session.bytesWritten,
    };
  }
}
