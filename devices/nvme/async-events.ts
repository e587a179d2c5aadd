/** Asynchronous event requests (NVM Express 1.4, 5.2): commands of the host that complete when something has happened. */
import type { StateFields } from '../platform/state-fields.ts';
import type { StateValue } from '../snapshot.ts';
import { NvmeError } from './command.ts';
import { ASYNC_EVENT_LIMIT } from './identify.ts';
import { EVENT_ERROR, LOG_CHANGED_NAMESPACES, LOG_ERROR, LOG_HEALTH, SC_ASYNC_LIMIT_EXCEEDED } from './registers.ts';

interface AsyncEvent {
  readonly type: number;
  readonly information: number;
  readonly logPage: number;
}

/** Events that wait for a request; a host that never asks makes no list grow. */
const MAX_WAITING = 8;
const EVENT_TYPES = 8;

export class AsyncEvents {
  /** Command ids of the host's requests. */
  readonly #requests: number[] = [];
  readonly #waiting: AsyncEvent[] = [];
  /** Types that were reported, and whose log page the host has not read: no more of them until it has (a bit each). */
  #masked = 0;

  /** `complete` finishes a request with dword 0. */
  constructor(private readonly complete: (commandId: number, result: number) => void) {}

  reset(): void {
    this.#requests.length = 0;
    this.#waiting.length = 0;
    this.#masked = 0;
  }

  /** A request of the host. Throws NvmeError when it has too many. */
  request(commandId: number): void {
    if (this.#requests.length > ASYNC_EVENT_LIMIT) throw new NvmeError(SC_ASYNC_LIMIT_EXCEEDED);
    this.#requests.push(commandId);
    this.#deliver();
  }

  /** Something has happened. */
  raise(type: number, information: number): void {
    const logPage = type === EVENT_ERROR ? LOG_ERROR : type === 1 ? LOG_HEALTH : LOG_CHANGED_NAMESPACES;
    if (this.#waiting.some((event) => event.type === type && event.information === information)) return;
    if (this.#waiting.length === MAX_WAITING) return;
    this.#waiting.push({ type, information, logPage });
    this.#deliver();
  }

  /** The host has read a log page without asking to keep its events. */
  logPageRead(logPage: number): void {
    const type = logPage === LOG_ERROR ? 0 : logPage === LOG_HEALTH ? 1 : logPage === LOG_CHANGED_NAMESPACES ? 2 : -1;
    if (type < 0) return;
    this.#masked &= ~(1 << type);
    this.#deliver();
  }

  #deliver(): void {
    for (let index = 0; index < this.#waiting.length && this.#requests.length > 0;) {
      const event = this.#waiting[index];
      if (!event || this.#masked & (1 << event.type)) {
        index++;
        continue;
      }
      this.#waiting.splice(index, 1);
      this.#masked |= 1 << event.type;
      const commandId = this.#requests.shift() ?? 0;
      this.complete(commandId, event.type | (event.information << 8) | (event.logPage << 16));
    }
  }

  save(): { [field: string]: StateValue } {
    return {
      requests: [...this.#requests],
      waiting: this.#waiting.map(({ type, information }) => type | (information << 8)),
      masked: this.#masked,
    };
  }

  prepareRestore(fields: StateFields): () => void {
    const requests = fields.integers('requests', ASYNC_EVENT_LIMIT + 1, 0xffff);
    const waiting = fields.integers('waiting', MAX_WAITING, 0xffff);
    const masked = fields.integer('masked', (1 << EVENT_TYPES) - 1);
    return () => {
      this.reset();
      this.#requests.push(...requests);
      this.#masked = masked;
      for (const event of waiting) this.raise(event & (EVENT_TYPES - 1), event >> 8);
    };
  }
}
