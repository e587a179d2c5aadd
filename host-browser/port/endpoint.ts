/**
 * Commands with answers, and notes without, over anything that posts messages: a Worker, a MessagePort, a worker's own scope.
 * Both ends declare the commands and notes that they understand; everything is plain data that structured cloning copies.
 */
import { BhyveExit } from '../../devices/config/index.ts';
import { ControlError, type ControlErrno } from '../../devices/machine/control.ts';
import { SnapshotError, type SnapshotPart } from '../../devices/snapshot.ts';

/** Commands by name: what they are given and what they answer. */
export type Commands = { readonly [command: string]: { readonly arguments: unknown; readonly result: unknown } };
/** Notes by name: what they carry. */
export type Notes = { readonly [note: string]: unknown };

/** What posts messages to the other side. */
export interface Channel {
  postMessage(message: unknown, transfer: Transferable[]): void;
  addEventListener(type: 'message', listener: (event: MessageEvent) => void): void;
  /** MessagePorts deliver nothing before this. */
  start?(): void;
}

/** An error as plain data. */
interface ErrorRecord {
  readonly name: string;
  readonly message: string;
  readonly stack?: string | undefined;
  readonly exit?: { readonly status: number; readonly stderrText: string; readonly stdoutText: string };
  readonly part?: SnapshotPart | undefined;
  readonly errno?: ControlErrno;
}

type Message =
  | { readonly kind: 'command'; readonly id: number; readonly name: string; readonly arguments: unknown }
  | { readonly kind: 'answer'; readonly id: number; readonly result: unknown }
  | { readonly kind: 'refusal'; readonly id: number; readonly error: ErrorRecord }
  | { readonly kind: 'note'; readonly name: string; readonly data: unknown };

/** An answer whose buffers are handed over instead of copied. */
export class Transferred<T> {
  constructor(
    readonly value: T,
    readonly transfer: Transferable[],
  ) {}
}

export type CommandHandlers<C extends Commands> = {
  readonly [K in keyof C]: (
    argument: C[K]['arguments'],
  ) => C[K]['result'] | Promise<C[K]['result'] | Transferred<C[K]['result']>>;
};
export type NoteHandlers<N extends Notes> = { readonly [K in keyof N]: (data: N[K]) => void };

/** A note to the other end, from whoever has no {@link PortEnd} yet. */
export function tellOver<N extends Notes, K extends keyof N & string>(
  channel: Pick<Channel, 'postMessage'>,
  name: K,
  data: N[K],
  transfer: Transferable[] = [],
): void {
  const message: Message = { kind: 'note', name, data };
  channel.postMessage(message, transfer);
}

function describeError(error: unknown): ErrorRecord {
  if (error instanceof BhyveExit) {
    const { status, stderrText, stdoutText, message } = error;
    return { name: 'BhyveExit', message, exit: { status, stderrText, stdoutText } };
  }
  if (error instanceof SnapshotError) return { name: error.name, message: error.message, part: error.part };
  if (error instanceof ControlError) return { name: error.name, message: error.message, errno: error.errno };
  if (error instanceof Error) return { name: error.name, message: error.message, stack: error.stack };
  return { name: 'Error', message: String(error) };
}

function makeError(record: ErrorRecord): Error {
  const { name, message, exit, errno } = record;
  if (exit) return new BhyveExit(exit.status, exit.stderrText, exit.stdoutText);
  if (name === 'SnapshotError') return new SnapshotError(message, record.part);
  if (errno) return new ControlError(errno, message);
  const error = new Error(message);
  error.name = name;
  if (record.stack !== undefined) error.stack = record.stack;
  return error;
}

interface Waiting {
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: Error) => void;
}

/**
 * One end. `Sent` and `SentNotes` are what the other end understands, `Handled` and `HandledNotes` what this one does.
 */
export class PortEnd<
  Sent extends Commands,
  SentNotes extends Notes,
  Handled extends Commands,
  HandledNotes extends Notes,
> {
  readonly #waiting = new Map<number, Waiting>();
  #lastId = 0;
  #broken: Error | undefined;

  constructor(
    private readonly channel: Channel,
    private readonly commands: CommandHandlers<Handled>,
    private readonly notes: NoteHandlers<HandledNotes>,
  ) {
    channel.addEventListener('message', (event) => this.#received(event.data as Message));
    channel.start?.();
  }

  /** Asks the other end; rejects with the error that it answered with. */
  call<K extends keyof Sent & string>(
    name: K,
    argument: Sent[K]['arguments'],
    transfer: Transferable[] = [],
  ): Promise<Sent[K]['result']> {
    if (this.#broken) return Promise.reject(this.#broken);
    const id = ++this.#lastId;
    return new Promise<Sent[K]['result']>((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#post({ kind: 'command', id, name, arguments: argument }, transfer);
    });
  }

  /** Tells the other end. */
  tell<K extends keyof SentNotes & string>(name: K, data: SentNotes[K], transfer: Transferable[] = []): void {
    tellOver<SentNotes, K>(this.channel, name, data, transfer);
  }

  /** The other end is gone: every wait, now and later, rejects with this. */
  break(error: Error): void {
    this.#broken ??= error;
    for (const { reject } of this.#waiting.values()) reject(this.#broken);
    this.#waiting.clear();
  }

  #post(message: Message, transfer: Transferable[] = []): void {
    this.channel.postMessage(message, transfer);
  }

  #received(message: Message): void {
    switch (message.kind) {
      case 'command':
        void this.#answer(message.id, message.name, message.arguments);
        return;
      case 'answer':
        this.#take(message.id)?.resolve(message.result);
        return;
      case 'refusal':
        this.#take(message.id)?.reject(makeError(message.error));
        return;
      case 'note': {
        const handler = Object.hasOwn(this.notes, message.name) ? this.notes[message.name] : undefined;
        handler?.(message.data as HandledNotes[string]);
        return;
      }
      default:
        // Not one of ours: developer tools and extensions post messages as well.
        return;
    }
  }

  #take(id: number): Waiting | undefined {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    return waiting;
  }

  async #answer(id: number, name: string, argument: unknown): Promise<void> {
    try {
      const handler = Object.hasOwn(this.commands, name) ? this.commands[name] : undefined;
      if (!handler) throw new Error(`there is no command ${JSON.stringify(name)}`);
      const result = await handler(argument);
      if (result instanceof Transferred) {
        this.#post({ kind: 'answer', id, result: result.value as unknown }, result.transfer);
      } else this.#post({ kind: 'answer', id, result });
    } catch (error) {
      this.#post({ kind: 'refusal', id, error: describeError(error) });
    }
  }
}
