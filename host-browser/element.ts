/**
 * `<webhyve-machine>`: a machine with its terminal, for pages without scripts of their own. `import 'webhyve/browser/element'` defines it.
 *
 *     <webhyve-machine args="-A -H -m 256M -s 0,hostbridge -s 31,lpc -l com1,stdio demo"
 *                      kernel="vmlinuz" initrd="initramfs.gz" cmdline="console=ttyS0" autostart></webhyve-machine>
 *
 * Attributes: `args` (words of a bhyve(8) command line), `kernel`, `initrd`, `cmdline`, `restore` (a snapshot to go on from), `console` (which port
 * is shown, or `display`; the display is the default where there is one, then the first port), `autostart`, `assets` (folder of the workers and the core), `bare` (no buttons), `label`.
 * Events: `webhyve-start` (detail: the Machine), `webhyve-exit` (detail: the ExitReason), `webhyve-error` (detail: the Error).
 */
import xtermStyles from '@xterm/xterm/css/xterm.css';
import type { ExitReason } from '../devices/machine/exit-reason.ts';
import displayStyles from './display/display.css';
import { DisplayPanel } from './display/display-panel.ts';
import elementStyles from './element/element.css';
import { Machine } from './machine.ts';
import { splitWords } from './shell-words.ts';
import { TerminalView } from './terminal/terminal-view.ts';

export { Machine } from './machine.ts';

let sheets: readonly CSSStyleSheet[] | undefined;

/** Shared by all elements of the page; constructed, as content security policies like it. */
function styleSheets(): readonly CSSStyleSheet[] {
  sheets ??= [xtermStyles, elementStyles, displayStyles].map((text) => {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(text);
    return sheet;
  });
  return sheets;
}

export class WebhyveMachineElement extends HTMLElement {
  /** The machine that runs; undefined between two runs. */
  machine: Machine | undefined;
  readonly #root = this.attachShadow({ mode: 'open', delegatesFocus: true });
  readonly #state = document.createElement('output');
  readonly #start = document.createElement('button');
  readonly #power = document.createElement('button');
  readonly #reset = document.createElement('button');
  readonly #off = document.createElement('button');
  readonly #switch = document.createElement('button');
  readonly #screen = document.createElement('div');
  readonly #displayPlace = document.createElement('div');
  #panel: DisplayPanel | undefined;
  #view: TerminalView | undefined;
  #aborts: AbortController | undefined;

  constructor() {
    super();
    this.#root.adoptedStyleSheets = [...styleSheets()];
    const bar = document.createElement('div');
    bar.className = 'bar';
    bar.setAttribute('role', 'toolbar');
    bar.setAttribute('aria-label', 'Machine');
    const actions: readonly (readonly [HTMLButtonElement, string, () => unknown])[] = [
      [this.#start, 'Start', () => this.start()],
      [this.#power, 'Power button', () => this.machine?.powerButton()],
      [this.#reset, 'Reset', () => this.machine?.reset()],
      [this.#off, 'Turn off', () => this.stop()],
      [this.#switch, 'Console', () => this.showDisplay(this.#displayPlace.hidden !== false)],
    ];
    for (const [button, text, act] of actions) {
      button.type = 'button';
      button.textContent = text;
      button.addEventListener('click', () => void act());
    }
    this.#start.className = 'start';
    this.#screen.className = 'terminal';
    this.#displayPlace.className = 'display-place';
    bar.append(this.#start, this.#state, this.#switch, this.#power, this.#reset, this.#off);
    this.#root.append(bar, this.#screen, this.#displayPlace);
    this.#switch.hidden = true;
    this.showDisplay(false);
    this.#show('Off', false);
  }

  connectedCallback(): void {
    this.#view ??= new TerminalView(this.#screen, {
      label: this.getAttribute('label') ?? 'Console of the machine',
      root: this.#root,
    });
    if (this.hasAttribute('autostart') && !this.machine) void this.start();
  }

  disconnectedCallback(): void {
    // An element that is only moved is connected again at once.
    queueMicrotask(() => {
      if (this.isConnected) return;
      void this.stop();
      this.#view?.dispose();
      this.#view = undefined;
      this.#panel?.dispose();
      this.#panel = undefined;
    });
  }

  #show(text: string, alive: boolean): void {
    this.#state.textContent = text;
    this.#start.disabled = alive;
    for (const button of [this.#power, this.#reset, this.#off]) button.disabled = !alive;
  }

  /** Shows the display of the machine, or its console. */
  showDisplay(show: boolean): void {
    this.#displayPlace.hidden = !show;
    this.#screen.hidden = show;
    this.#switch.textContent = show ? 'Console' : 'Display';
    // A terminal measures itself where it can be seen.
    if (!show) this.#view?.fit();
  }

  #connect(machine: Machine): void {
    const wanted = this.getAttribute('console');
    const { display } = machine;
    const name = wanted === null || wanted === 'display' ? machine.description.consoles[0] : wanted;
    const console = name === undefined ? undefined : machine.consoles[name];
    if (console) this.#view?.connect(console);
    this.#switch.hidden = !display || !console;
    this.showDisplay(display !== undefined && (wanted === null || wanted === 'display'));
    if (!display) return;
    this.#panel ??= new DisplayPanel(this.#displayPlace, {
      label: `Display: ${this.getAttribute('label') ?? 'machine'}`,
      message: (text) => {
        this.#state.textContent = text;
      },
    });
    this.#panel.connect(display);
  }

  /** Builds and starts the machine that the attributes describe. Never rejects: what goes wrong is shown, and an event. */
  async start(fromSnapshot = this.getAttribute('restore')): Promise<void> {
    await this.stop();
    const aborts = new AbortController();
    this.#aborts = aborts;
    this.#show('Loading', true);
    try {
      const words = splitWords(this.getAttribute('args') ?? '');
      const machine = await Machine.fromArgs(fromSnapshot === null ? words : ['-r', fromSnapshot, ...words], {
        kernel: this.getAttribute('kernel') ?? undefined,
        initrd: this.getAttribute('initrd') ?? undefined,
        cmdline: this.getAttribute('cmdline') ?? undefined,
        assets: this.getAttribute('assets') ?? undefined,
        signal: aborts.signal,
        progress: ({ url, doneBytes }) => {
          if (!this.machine)
            this.#show(`Loading ${url.split('/').at(-1)}: ${Math.ceil(doneBytes / 2 ** 20)} MiB`, true);
        },
      });
      this.machine = machine;
      this.#connect(machine);
      void machine.exited.then((reason) => this.#ended(machine, reason));
      await machine.start();
      const { inlineReason } = machine.description;
      this.#show(inlineReason === undefined ? 'Running' : 'Running in one thread', true);
      this.#state.title = inlineReason ?? '';
      this.dispatchEvent(new CustomEvent('webhyve-start', { detail: machine, bubbles: true }));
    } catch (error) {
      if (aborts.signal.aborted) return;
      const { machine } = this;
      this.machine = undefined;
      await machine?.destroy();
      this.#show(error instanceof Error ? error.message : String(error), false);
      this.dispatchEvent(new CustomEvent('webhyve-error', { detail: error, bubbles: true }));
    }
  }

  async #ended(machine: Machine, reason: ExitReason): Promise<void> {
    await machine.destroy();
    if (this.machine !== machine) return;
    this.machine = undefined;
    this.#view?.disconnect();
    this.#panel?.disconnect();
    this.#show(reason.message, false);
    this.dispatchEvent(new CustomEvent('webhyve-exit', { detail: reason, bubbles: true }));
    // bhyve ends at a reset, and whoever runs it starts it again: from the beginning.
    if (reason.reason === 'reset') await this.start(null);
  }

  /** Ends the machine, also one that is being built. */
  async stop(): Promise<void> {
    const { machine } = this;
    this.#aborts?.abort();
    this.#aborts = undefined;
    this.machine = undefined;
    if (!machine) return;
    this.#view?.disconnect();
    this.#panel?.disconnect();
    await machine.destroy();
    this.#show('Off', false);
    this.dispatchEvent(new CustomEvent('webhyve-exit', { detail: await machine.exited, bubbles: true }));
  }
}

customElements.define('webhyve-machine', WebhyveMachineElement);

declare global {
  interface HTMLElementTagNameMap {
    'webhyve-machine': WebhyveMachineElement;
  }
}
