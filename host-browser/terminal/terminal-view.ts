/** A terminal in the page: xterm.js joined to a console, following the page's colours and size. */
import { FitAddon } from '@xterm/addon-fit';
import { Terminal } from '@xterm/xterm';
import type { RemoteConsole } from '../remote-console.ts';
import {
  cellsWithoutInlineStyles,
  documentWithoutInlineStyles,
  withoutInlineStyles,
  type StyleRoot,
} from './csp-document.ts';
import { DARK_THEME, LIGHT_THEME } from './themes.ts';

/** What a terminal needs of a console. */
export type TerminalConsole = Pick<RemoteConsole, 'attach' | 'transcript' | 'send'>;

const SCROLLBACK_LINES = 5000;
const FONT =
  'ui-monospace, "Cascadia Mono", "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", "Liberation Mono", monospace';
const FONT_SIZE_PX = 14;
const LEAST_CONTRAST = 4.5;
/** One or two milliseconds of parsing. */
const WRITE_BYTES = 4096;

export interface TerminalViewOptions {
  /** Accessible name. */
  readonly label: string;
  readonly root: StyleRoot;
  readonly fontSizePx?: number | undefined;
  /** Sees keys before the guest does; true: the page took it. */
  readonly takesKey?: ((event: KeyboardEvent) => boolean) | undefined;
}

export class TerminalView {
  readonly terminal: Terminal;
  readonly #fit = new FitAddon();
  readonly #resizes: ResizeObserver;
  readonly #scheme = matchMedia('(prefers-color-scheme: dark)');
  #detach: (() => void) | undefined;
  /** Everything given so far is on the screen. */
  #written: Promise<void> = Promise.resolve();

  constructor(
    private readonly parent: HTMLElement,
    options: TerminalViewOptions,
  ) {
    const document = documentWithoutInlineStyles(parent.ownerDocument, options.root);
    this.terminal = new Terminal({
      documentOverride: document,
      cursorBlink: true,
      fontFamily: FONT,
      fontSize: options.fontSizePx ?? FONT_SIZE_PX,
      lineHeight: 1.15,
      minimumContrastRatio: LEAST_CONTRAST,
      scrollback: SCROLLBACK_LINES,
      theme: this.#theme(),
    });
    this.terminal.loadAddon(this.#fit);
    withoutInlineStyles(parent.ownerDocument, options.root, () => this.terminal.open(parent));
    cellsWithoutInlineStyles(this.terminal, document);
    this.terminal.textarea?.setAttribute('aria-label', options.label);
    const { takesKey } = options;
    if (takesKey) this.terminal.attachCustomKeyEventHandler((event) => !takesKey(event));
    this.#resizes = new ResizeObserver(() => this.fit());
    this.#resizes.observe(parent);
    this.#scheme.addEventListener('change', this.recolour);
    this.fit();
  }

  #theme(): typeof DARK_THEME {
    const { colorScheme } = getComputedStyle(this.parent);
    const dark = colorScheme === 'dark' || (colorScheme !== 'light' && this.#scheme.matches);
    return dark ? DARK_THEME : LIGHT_THEME;
  }

  /** Takes the size that the parent has now; nothing while it is hidden. */
  fit(): void {
    if (this.parent.clientWidth > 0 && this.parent.clientHeight > 0) this.#fit.fit();
  }

  /** The page's colours have changed. */
  readonly recolour = (): void => {
    this.terminal.options.theme = this.#theme();
  };

  /** Shows what a console printed so far and prints from now on; typed text goes there. */
  connect(console: TerminalConsole): void {
    this.disconnect();
    if (console.transcript !== '') this.terminal.write(console.transcript);
    const stopOutput = console.attach((bytes) => this.#write(bytes));
    const input = this.terminal.onData((text) => console.send(text));
    this.#detach = () => {
      stopOutput();
      input.dispose();
    };
  }

  /** Resolves when the bytes are on the screen. xterm.js takes what it is given in one go, so it is given little at a time. */
  #write(bytes: Uint8Array): Promise<void> {
    this.#written = this.#written.then(() => this.#writeSlices(bytes));
    return this.#written;
  }

  async #writeSlices(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length; at += WRITE_BYTES) {
      await new Promise<void>((resolve) => {
        this.terminal.write(bytes.subarray(at, at + WRITE_BYTES), resolve);
      });
    }
  }

  /** Shows no console any more; what was printed stays. */
  disconnect(): void {
    this.#detach?.();
    this.#detach = undefined;
  }

  focus(): void {
    this.terminal.focus();
  }

  dispose(): void {
    this.disconnect();
    this.#resizes.disconnect();
    this.#scheme.removeEventListener('change', this.recolour);
    this.terminal.dispose();
  }
}
