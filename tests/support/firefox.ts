/** Firefox for tests: Debian's firefox-esr, driven by WebDriver BiDi (w3.org/TR/webdriver-bidi) over its own WebSocket. */
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { WebSocket } from 'ws';

const PATHS = ['/usr/bin/firefox-esr', '/usr/bin/firefox'];
const path = process.env['WEBHYVE_FIREFOX'] ?? PATHS.find((candidate) => existsSync(candidate));
const START_MS = 60_000;

/** Why there is no Firefox to test in; undefined when there is one. */
export const firefoxMissing = path === undefined ? 'firefox-esr is not installed' : undefined;

interface Reply {
  readonly id?: number;
  readonly type: string;
  readonly result?: unknown;
  readonly message?: string;
}

/** One window of a Firefox of its own. */
export class Firefox implements AsyncDisposable {
  #lastId = 0;
  readonly #waiting = new Map<number, { resolve: (result: unknown) => void; reject: (error: Error) => void }>();
  #context = '';

  private constructor(
    private readonly process: ChildProcess,
    private readonly profile: string,
    private readonly socket: WebSocket,
  ) {
    socket.on('message', (data) => {
      const reply = JSON.parse((data as Buffer).toString()) as Reply;
      const waiting = this.#waiting.get(reply.id ?? -1);
      this.#waiting.delete(reply.id ?? -1);
      if (reply.type === 'success') waiting?.resolve(reply.result);
      else waiting?.reject(new Error(reply.message));
    });
  }

  static async launch(): Promise<Firefox> {
    if (path === undefined) throw new Error('no firefox');
    const profile = mkdtempSync(join(tmpdir(), 'webhyve-firefox-'));
    const args = ['--headless', '--no-remote', '--profile', profile, '--remote-debugging-port', '0', 'about:blank'];
    const child = spawn(path, args, { stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, HOME: profile } });
    const address = await new Promise<string>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`firefox did not start: ${text}`)), START_MS);
      let text = '';
      child.stderr.on('data', (bytes: Buffer) => {
        text += bytes.toString();
        const found = /WebDriver BiDi listening on (ws:\S+)/.exec(text)?.[1];
        if (found === undefined) return;
        clearTimeout(timer);
        resolve(found);
      });
      child.on('error', reject);
    });
    const socket = new WebSocket(`${address}/session`);
    await new Promise((resolve, reject) => {
      socket.on('open', resolve);
      socket.on('error', reject);
    });
    const firefox = new Firefox(child, profile, socket);
    await firefox.#send('session.new', { capabilities: {} });
    const tree = (await firefox.#send('browsingContext.getTree', {})) as { contexts: { context: string }[] };
    firefox.#context = tree.contexts[0]?.context ?? '';
    return firefox;
  }

  #send(method: string, params: object): Promise<unknown> {
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.socket.send(JSON.stringify({ id, method, params }));
    });
  }

  async goto(url: string): Promise<void> {
    await this.#send('browsingContext.navigate', { context: this.#context, url, wait: 'complete' });
  }

  /** The value of an expression of the page, which is text. */
  async text(expression: string): Promise<string> {
    const answer = (await this.#send('script.evaluate', {
      expression,
      target: { context: this.#context },
      awaitPromise: true,
    })) as { result?: { value?: unknown }; exceptionDetails?: { text: string } };
    if (answer.exceptionDetails) throw new Error(answer.exceptionDetails.text);
    return String(answer.result?.value);
  }

  /** Types into whatever has the focus; a line feed is Enter. */
  async type(text: string): Promise<void> {
    const actions = [...text].flatMap((char) => {
      const value = char === '\n' ? '\uE007' : char;
      return [
        { type: 'keyDown', value },
        { type: 'keyUp', value },
      ];
    });
    await this.#send('input.performActions', {
      context: this.#context,
      actions: [{ type: 'key', id: 'keyboard', actions }],
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.race([this.#send('browser.close', {}), new Promise((resolve) => setTimeout(resolve, 5000))]).catch(
      () => undefined,
    );
    this.socket.terminate();
    this.process.kill('SIGKILL');
    await new Promise((resolve) => setTimeout(resolve, 200));
    rmSync(this.profile, { recursive: true, force: true, maxRetries: 5 });
  }
}
