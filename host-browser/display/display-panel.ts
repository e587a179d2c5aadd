/** A display in a page: its canvas, scaled so that it stays sharp, with keyboard, pointer, pasted text, on-screen keys and full screen. */
import type { RemoteDisplay } from '../remote-display.ts';
import { listenToKeys } from './keyboard-input.ts';
import { OnScreenKeys } from './on-screen-keys.ts';
import { listenToPointers } from './pointer-input.ts';
import { scaleDisplay } from './scaling.ts';

/** The Keyboard Lock API, which Chromium has: keys such as Escape and Alt+Tab go to the page while it has the whole screen. */
interface KeyboardLock {
  lock?(): Promise<void>;
  unlock?(): void;
}

export interface DisplayPanelOptions {
  /** Accessible name. */
  readonly label: string;
  /** Sees keys before the guest does, except in full screen; true: the page took it. */
  readonly takesKey?: ((event: KeyboardEvent) => boolean) | undefined;
  /** Something the user should read. */
  readonly message: (text: string) => void;
}

export class DisplayPanel {
  readonly #document: Document;
  readonly #frame: HTMLElement;
  /** Has the focus: canvases come and go with machines. */
  readonly #screen: HTMLElement;
  readonly #keys: OnScreenKeys;
  readonly #keysButton: HTMLButtonElement;
  readonly #fullScreenButton: HTMLButtonElement;
  readonly #pasteBox: HTMLDialogElement;
  readonly #pasteText: HTMLTextAreaElement;
  readonly #ends: (() => void)[] = [];
  #canvas: HTMLCanvasElement | undefined;
  #display: RemoteDisplay | undefined;
  #endResizes: (() => void) | undefined;

  constructor(
    private readonly parent: HTMLElement,
    private readonly options: DisplayPanelOptions,
  ) {
    this.#document = parent.ownerDocument;
    this.#frame = this.#make('div', 'display-panel');
    this.#screen = this.#make('div', 'display-screen');
    this.#screen.tabIndex = 0;
    this.#screen.setAttribute('role', 'application');
    this.#screen.setAttribute('aria-label', options.label);
    this.#keys = new OnScreenKeys(this.#document, () => this.#display);
    this.#keys.element.hidden = true;
    this.#pasteText = this.#make('textarea', 'paste-text');
    this.#pasteText.rows = 4;
    this.#pasteText.setAttribute('aria-label', 'Text to type');
    this.#pasteBox = this.#makePasteBox();
    const bar = this.#make('div', 'display-bar');
    bar.setAttribute('role', 'toolbar');
    bar.setAttribute('aria-label', options.label);
    this.#keysButton = this.#button('Keys', 'Show or hide keys on the screen', () => this.showKeys());
    this.#keysButton.setAttribute('aria-pressed', 'false');
    this.#fullScreenButton = this.#button('Full screen', 'Use the whole screen', () => void this.toggleFullScreen());
    bar.append(
      this.#keysButton,
      this.#button('Ctrl+Alt+Del', 'Press Ctrl+Alt+Del in the machine', () => {
        this.#display?.press('Control', 'Alt', 'Delete');
      }),
      this.#button('Paste', 'Type the clipboard’s text (Ctrl+Shift+V)', () => void this.paste()),
      this.#fullScreenButton,
    );
    this.#frame.append(this.#screen, this.#keys.element, bar, this.#pasteBox);
    parent.append(this.#frame);
    const { takesKey } = options;
    this.#ends.push(
      listenToKeys(this.#screen, () => this.#display, {
        takesKey: (event) => !this.#isFullScreen && takesKey?.(event) === true,
        pasted: (text) => this.type(text),
      }),
      listenToPointers(
        this.#screen,
        () => this.#canvas,
        () => this.#display,
      ),
    );
    const resizes = new ResizeObserver(() => this.#scale());
    resizes.observe(this.#screen);
    this.#ends.push(() => resizes.disconnect());
    // The browser has its own ways out of it.
    const showFullScreen = (): void => {
      this.#fullScreenButton.textContent = this.#isFullScreen ? 'Leave full screen' : 'Full screen';
    };
    this.#document.addEventListener('fullscreenchange', showFullScreen);
    this.#ends.push(() => this.#document.removeEventListener('fullscreenchange', showFullScreen));
    // Without a keyboard of its own a device shows ours.
    this.showKeys(globalThis.matchMedia('(hover: none) and (pointer: coarse)').matches);
  }

  #make<K extends keyof HTMLElementTagNameMap>(tag: K, className: string): HTMLElementTagNameMap[K] {
    const made = this.#document.createElement(tag);
    made.className = className;
    return made;
  }

  #button(text: string, title: string, act: () => void): HTMLButtonElement {
    const button = this.#make('button', '');
    button.type = 'button';
    button.textContent = text;
    button.title = title;
    button.addEventListener('click', () => act());
    return button;
  }

  #makePasteBox(): HTMLDialogElement {
    const box = this.#make('dialog', 'paste-box');
    box.setAttribute('aria-label', 'Text to type');
    const row = this.#make('div', 'paste-row');
    row.append(
      this.#button('Cancel', 'Type nothing', () => box.close()),
      this.#button('Type', 'Type this text in the machine', () => {
        box.close();
        this.type(this.#pasteText.value);
        this.#pasteText.value = '';
        this.focus();
      }),
    );
    box.append(this.#pasteText, row);
    return box;
  }

  /** Shows a machine's display. What the one before showed is gone. */
  connect(display: RemoteDisplay): void {
    this.disconnect();
    const canvas = this.#make('canvas', '');
    // The element around it speaks.
    canvas.setAttribute('aria-hidden', 'true');
    this.#screen.replaceChildren(canvas);
    this.#canvas = canvas;
    this.#display = display;
    this.#keys.use(display);
    this.#endResizes = display.onResize(() => this.#scale());
    this.#scale();
    display.attach(canvas).catch((error: unknown) => {
      this.options.message(error instanceof Error ? error.message : String(error));
    });
  }

  /** The machine has ended: its last picture stays, and nothing is sent any more. */
  disconnect(): void {
    this.#endResizes?.();
    this.#endResizes = undefined;
    this.#display = undefined;
  }

  #scale(): void {
    const { style } = this.#canvas ?? {};
    const display = this.#display;
    if (!style || !display) return;
    const box = { width: this.#screen.clientWidth, height: this.#screen.clientHeight };
    const { width, height, exact } = scaleDisplay(display.size, box, globalThis.devicePixelRatio);
    style.width = `${width}px`;
    style.height = `${height}px`;
    style.imageRendering = exact ? 'pixelated' : 'auto';
  }

  focus(): void {
    this.#screen.focus({ preventScroll: true });
  }

  showKeys(show = this.#keys.element.hidden !== false): void {
    this.#keys.element.hidden = !show;
    this.#keysButton.setAttribute('aria-pressed', String(show));
  }

  /** Types a text in the machine; characters that no key writes are told. */
  type(text: string): void {
    this.#display?.type(text).catch((error: unknown) => {
      this.options.message(error instanceof Error ? error.message : String(error));
    });
  }

  /** Types the clipboard's text; where the browser gives none, the user puts it into a box. */
  async paste(): Promise<void> {
    try {
      this.type(await globalThis.navigator.clipboard.readText());
      this.focus();
    } catch {
      this.#pasteBox.showModal();
    }
  }

  get #isFullScreen(): boolean {
    const root = this.#frame.getRootNode() as Document | ShadowRoot;
    return root.fullscreenElement === this.#frame;
  }

  async toggleFullScreen(): Promise<void> {
    const { keyboard } = globalThis.navigator as Navigator & { keyboard?: KeyboardLock };
    if (this.#isFullScreen) {
      keyboard?.unlock?.();
      await this.#document.exitFullscreen();
      return;
    }
    try {
      await this.#frame.requestFullscreen();
    } catch (error) {
      this.options.message(`full screen: ${error instanceof Error ? error.message : String(error)}`);
      return;
    }
    this.focus();
    // Firefox and Safari keep Escape for themselves.
    await keyboard?.lock?.().catch(() => undefined);
  }

  dispose(): void {
    this.disconnect();
    for (const end of this.#ends.splice(0)) end();
    this.#frame.remove();
  }
}
