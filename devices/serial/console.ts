/**
 * A serial console as programs see it: everything it printed, waiting for text, typing, running commands.
 * One console per connected port; a character backend (terminal, socket) may hang on it as well.
 */

export interface ConsoleMatch {
  /** What matched, and its groups when the pattern was a regular expression. */
  readonly text: string;
  readonly groups: readonly (string | undefined)[];
  /** What was printed between the previous match and this one. */
  readonly before: string;
  /** Which of several patterns it was. */
  readonly pattern: number;
}

export interface ExpectOptions {
  /** Milliseconds; 30 s when absent. */
  readonly timeout?: number | undefined;
}

export interface RunOptions extends ExpectOptions {
  /** What the shell prints when it waits for a command; only needed when it is not there yet. */
  readonly prompt?: string | RegExp | undefined;
}

export interface RunResult {
  readonly output: string;
  readonly status: number;
}

/** A wait that ended without its text: the time was up, or the machine ended. The last lines are in the message. */
export class ConsoleError extends Error {
  override readonly name = 'ConsoleError';
}

type Pattern = string | RegExp;

interface Waiter {
  readonly patterns: readonly Pattern[];
  readonly resolve: (match: ConsoleMatch) => void;
  readonly reject: (error: ConsoleError) => void;
  readonly timer: ReturnType<typeof setTimeout>;
}

const DEFAULT_TIMEOUT_MS = 30_000;
/** Text kept for {@link Console.transcript}; older text is dropped in steps of a quarter. */
const TRANSCRIPT_LIMIT = 8 * 1024 * 1024;
/** Text that expect() searches: what nobody waits for is forgotten beyond this. */
const UNMATCHED_LIMIT = 1024 * 1024;
const LINES_IN_ERRORS = 40;

/** Lines that a Linux kernel puts on its console, at any moment and between any two characters of a program's output. */
const KERNEL_MESSAGES = /(?:\[ *\d+\.\d{6}\] [^\n]*\n)*/;

/** The source of an expression that matches the text, also when kernel messages came into its middle. */
function interruptible(text: string): string {
  return [...text].map((character) => character.replace(/[$?]/, '\\$&')).join(KERNEL_MESSAGES.source);
}

export class Console {
  /** Pieces of everything printed; joined when somebody asks. */
  #pieces: string[] = [];
  #length = 0;
  #dropped = false;
  /** What was printed after the last match. */
  #unmatched = '';
  #waiters: Waiter[] = [];
  #closed: string | undefined;
  #commands = 0;
  readonly #decoder = new TextDecoder('utf-8');
  readonly #encoder = new TextEncoder();
  readonly #listeners = new Set<(bytes: Uint8Array) => void>();

  constructor(
    readonly name: string,
    private readonly input: (bytes: Uint8Array) => void,
  ) {}

  /** Everything printed so far (at most the last 8 Mi characters). */
  get transcript(): string {
    if (this.#pieces.length > 1) this.#pieces = [this.#pieces.join('')];
    return this.#pieces[0] ?? '';
  }

  /** Called by the port: the guest printed. */
  deliver(bytes: Uint8Array): void {
    const text = this.#decoder.decode(bytes, { stream: true });
    this.#pieces.push(text);
    this.#length += text.length;
    if (this.#length > TRANSCRIPT_LIMIT) {
      this.#pieces = [this.transcript.slice(-(TRANSCRIPT_LIMIT >> 2) * 3)];
      this.#length = this.#pieces[0]?.length ?? 0;
      this.#dropped = true;
    }
    this.#unmatched += text;
    if (this.#unmatched.length > UNMATCHED_LIMIT) this.#unmatched = this.#unmatched.slice(-UNMATCHED_LIMIT >> 1);
    for (const listener of this.#listeners) listener(bytes);
    this.#match();
  }

  /** Called by the machine at its end: nothing more will be printed. */
  close(reason: string): void {
    this.#closed ??= reason;
    for (const waiter of this.#waiters.splice(0)) {
      clearTimeout(waiter.timer);
      waiter.reject(this.#error(`the machine ended (${reason}) before ${describe(waiter.patterns)} was printed`));
    }
  }

  /** Hears every byte printed from now on; returns a function that ends it. */
  onOutput(listener: (bytes: Uint8Array) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /** Everything printed from now on. */
  get readable(): ReadableStream<Uint8Array> {
    let stop: (() => void) | undefined;
    return new ReadableStream<Uint8Array>({
      start: (controller) => {
        stop = this.onOutput((bytes) => controller.enqueue(bytes));
      },
      cancel: () => stop?.(),
    });
  }

  get writable(): WritableStream<Uint8Array> {
    return new WritableStream<Uint8Array>({ write: (bytes) => this.input(bytes) });
  }

  /** Types text; "\r" is Enter. */
  send(text: string): void {
    this.input(this.#encoder.encode(text));
  }

  /** Waits until one of the patterns is printed after the previous match. */
  expect(pattern: Pattern | readonly Pattern[], options: ExpectOptions = {}): Promise<ConsoleMatch> {
    const patterns = typeof pattern === 'string' || pattern instanceof RegExp ? [pattern] : pattern;
    return new Promise((resolve, reject) => {
      const timeoutMs = options.timeout ?? DEFAULT_TIMEOUT_MS;
      const timer = setTimeout(() => {
        this.#waiters = this.#waiters.filter((other) => other !== waiter);
        reject(this.#error(`${describe(patterns)} was not printed within ${timeoutMs} ms`));
      }, timeoutMs);
      const waiter: Waiter = { patterns, resolve, reject, timer };
      this.#waiters.push(waiter);
      this.#match();
      if (this.#closed !== undefined) this.close(this.#closed);
    });
  }

  /** Runs a command line in the guest's Bourne shell and returns what it printed and its exit status. */
  async run(command: string, options: RunOptions = {}): Promise<RunResult> {
    if (options.prompt !== undefined) await this.expect(options.prompt, options);
    const id = ++this.#commands;
    const prompt = this.transcript.slice(this.transcript.lastIndexOf('\n') + 1).replaceAll('\r', '');
    // Quoted in the middle, so that the terminal's echo of the command line does not look like its output.
    this.send(`echo "@@BEG""IN${id}@@"; ${command}\necho "@@E""ND${id}:$?@@"\n`);
    const messages = KERNEL_MESSAGES.source;
    await this.expect(new RegExp(`${interruptible(`@@BEGIN${id}@@`)}${messages}\\r*\\n`), options);
    const status = `((?:\\d${messages})+)`;
    const end = `${interruptible(`@@END${id}:`)}${messages}${status}${interruptible('@@')}${messages}\\r*\\n`;
    const match = await this.expect(new RegExp(end), options);
    // The echo of the second line may stand there twice: from the terminal and from the shell. Before the shell's stands its prompt, and before
    // that the last line of the output when it did not end.
    const echo = new RegExp(`^(.*?)${interruptible(`echo "@@E""ND${id}:$?@@"`)}.*\\n?`, 'gm');
    const withoutPrompt = (text: string): string =>
      prompt !== '' && text.endsWith(prompt) ? text.slice(0, -prompt.length) : '';
    return {
      output: match.before.replaceAll('\r', '').replace(echo, (_line, text: string) => withoutPrompt(text)),
      status: Number(match.groups[0]?.replace(new RegExp(messages, 'g'), '')),
    };
  }

  #match(): void {
    // In the order of their asking: each match moves the cursor for the next.
    for (let first = this.#waiters[0]; first; first = this.#waiters[0]) {
      const match = this.#find(first.patterns);
      if (!match) return;
      this.#waiters.shift();
      clearTimeout(first.timer);
      first.resolve(match);
    }
  }

  #find(patterns: readonly Pattern[]): ConsoleMatch | undefined {
    const tail = this.#unmatched;
    let best: { at: number; text: string; groups: readonly (string | undefined)[]; pattern: number } | undefined;
    for (const [number, pattern] of patterns.entries()) {
      let at: number;
      let text: string;
      let groups: readonly (string | undefined)[] = [];
      if (typeof pattern === 'string') {
        at = tail.indexOf(pattern);
        text = pattern;
      } else {
        const found = new RegExp(pattern.source, pattern.flags.replace(/[gy]/g, '')).exec(tail);
        at = found ? found.index : -1;
        text = found ? found[0] : '';
        groups = found ? found.slice(1) : [];
      }
      if (at !== -1 && (!best || at < best.at)) best = { at, text, groups, pattern: number };
    }
    if (!best) return undefined;
    this.#unmatched = tail.slice(best.at + best.text.length);
    return { text: best.text, groups: best.groups, before: tail.slice(0, best.at), pattern: best.pattern };
  }

  #error(text: string): ConsoleError {
    const lines = this.transcript.split('\n').slice(-LINES_IN_ERRORS).join('\n');
    const cut = this.#dropped ? ' (older text dropped)' : '';
    return new ConsoleError(`${this.name}: ${text}; last lines${cut}:\n${lines}`);
  }
}

function describe(patterns: readonly Pattern[]): string {
  return patterns
    .map((pattern) => (typeof pattern === 'string' ? JSON.stringify(pattern) : String(pattern)))
    .join(' or ');
}
