/** One boot of a machine on pipes, seen from outside: what it prints, when it printed it, and what is typed into it. */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';

const TAIL_LINES = 15;
/** How much of the machine's standard error is kept for an error of ours. */
const COMPLAINT_CHARACTERS = 20000;
/** sysconf(_SC_CLK_TCK), which Linux fixes for programs. */
const CLOCK_TICKS_PER_SECOND = 100;

export class GuestSession {
  #text = '';
  #complaints = '';
  #waiter;
  #ended;
  #child;

  /** Starts the machine; `startedMs` is the time of the host's clock just before. */
  constructor({ command, args }) {
    this.startedMs = performance.now();
    this.#child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'] });
    this.#child.stdout.setEncoding('latin1');
    this.#child.stderr.setEncoding('utf8');
    this.#child.stderr.on(
      'data',
      (text) => (this.#complaints = (this.#complaints + text).slice(-COMPLAINT_CHARACTERS)),
    );
    this.#child.stdout.on('data', (text) => {
      this.#text += text;
      this.#look();
    });
    // A machine that has ended takes no more input: its end is reported by expect().
    this.#child.stdin.on('error', () => undefined);
    this.#child.on('error', (error) => this.#end(error.message));
    this.#child.on('close', (status, signal) => this.#end(`status ${status ?? signal}`));
  }

  #end(reason) {
    this.#ended ??= reason;
    this.#look();
  }

  #look() {
    const waiter = this.#waiter;
    if (!waiter) return;
    const match = waiter.pattern.exec(this.#text);
    if (!match && this.#ended === undefined) return;
    this.#waiter = undefined;
    clearTimeout(waiter.timer);
    if (match) {
      this.#text = this.#text.slice(match.index + match[0].length);
      waiter.resolve({ match, atMs: performance.now() });
    } else {
      waiter.reject(this.#error(`the machine ended (${this.#ended}) before ${waiter.pattern} was printed`));
    }
  }

  complaints() {
    return this.#complaints;
  }
  #error(message) {
    const tail = this.#text.split('\n').slice(-TAIL_LINES).join('\n');
    return new Error(`${message}; its last lines:\n${tail}\n${this.#complaints}`);
  }

  /** The process, for reading what it uses. */
  get pid() {
    return this.#child.pid;
  }

  /** Processor seconds of the machine's process, all of its threads, so far; NaN where there is no /proc. */
  processorSeconds() {
    try {
      const stat = readFileSync(`/proc/${this.pid}/stat`, 'latin1');
      // The fields after the command's name, which may hold anything (proc_pid_stat(5)): utime and stime are the 14th and 15th of all.
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      return (Number(fields[11]) + Number(fields[12])) / CLOCK_TICKS_PER_SECOND;
    } catch {
      return NaN;
    }
  }

  /** Resolves to the match and the time at which it was printed. */
  expect(pattern, timeoutMs) {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiter = undefined;
        reject(this.#error(`${pattern} was not printed within ${timeoutMs / 1000} s`));
      }, timeoutMs);
      this.#waiter = { pattern, timer, resolve, reject };
      this.#look();
    });
  }

  type(text) {
    this.#child.stdin.write(text);
  }

  /** Runs a command in the guest's shell; resolves to its output and the seconds that it took. */
  async run(command, timeoutMs) {
    // Quoted in the middle, so that the terminal's echo is not taken for the mark.
    this.type(`echo BE''GIN; ${command}; echo EN''D\n`);
    const { atMs: fromMs } = await this.expect(/BEGIN\r*\n/, timeoutMs);
    const { match, atMs } = await this.expect(/([^]*?)END\r*\n/, timeoutMs);
    return { output: match[1].replaceAll('\r', ''), seconds: (atMs - fromMs) / 1000 };
  }

  /** Ends the process, whatever the guest does. */
  async kill() {
    if (this.#ended !== undefined) return;
    const gone = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.kill('SIGKILL');
    await gone;
  }
}
