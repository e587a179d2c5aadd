/** The machine's consoles, and the consoles of other machines: a tab and a terminal for each. */
import { DisplayPanel } from '../display/display-panel.ts';
import type { RemoteDisplay } from '../remote-display.ts';
import { TerminalView, type TerminalConsole } from '../terminal/terminal-view.ts';
import { element, make } from './elements.ts';

interface Tab {
  readonly name: string;
  readonly button: HTMLButtonElement;
  readonly panel: HTMLElement;
  readonly view: TerminalView | undefined;
  readonly display: DisplayPanel | undefined;
}

/** Name of the display's tab; consoles have other names. */
export const DISPLAY_TAB = 'display';

export class ConsoleTabs {
  readonly #list = element('tabs', HTMLDivElement);
  readonly #panels = element('panels', HTMLDivElement);
  readonly #welcome = element('welcome', HTMLDivElement);
  readonly #tabs = new Map<string, Tab>();
  #shown: Tab | undefined;

  /** `takesKey`: keys that the page keeps for itself. */
  constructor(private readonly takesKey: (event: KeyboardEvent) => boolean) {
    this.#list.addEventListener('keydown', (event) => this.#key(event));
  }

  /** Shows a console; a terminal of that name, from the machine before, goes on being used. */
  connect(name: string, console: TerminalConsole): void {
    const tab = this.#tabs.get(name) ?? this.#add(name);
    tab.view?.connect(console);
  }

  #addPanel(name: string, className: string): { button: HTMLButtonElement; panel: HTMLElement } {
    const id = `console-${name.replace(/\W+/g, '-')}`;
    const button = make('button', { type: 'button', id: `tab-${id}`, textContent: name });
    button.setAttribute('role', 'tab');
    button.setAttribute('aria-controls', id);
    const panel = make('div', { id, className, hidden: true });
    panel.setAttribute('role', 'tabpanel');
    panel.setAttribute('aria-labelledby', button.id);
    this.#list.append(button);
    this.#panels.append(panel);
    return { button, panel };
  }

  #add(name: string): Tab {
    const { button, panel } = this.#addPanel(name, 'console');
    this.#welcome.hidden = true;
    // A terminal measures itself when it is made.
    if (!this.#shown) panel.hidden = false;
    const narrow = matchMedia('(width < 46rem)').matches;
    const view = new TerminalView(panel, {
      label: `Console ${name}`,
      root: document,
      fontSizePx: narrow ? 12 : 14,
      takesKey: this.takesKey,
    });
    return this.#keep({ name, button, panel, view, display: undefined });
  }

  /** Shows a machine's display, in the tab that the display of the machine before had. */
  connectDisplay(display: RemoteDisplay, message: (text: string) => void): void {
    let tab = this.#tabs.get(DISPLAY_TAB);
    if (!tab) {
      const { button, panel } = this.#addPanel(DISPLAY_TAB, 'display');
      button.textContent = 'Display';
      this.#welcome.hidden = true;
      const made = new DisplayPanel(panel, {
        label: 'Display of the machine',
        // F1 and all the others are the guest's.
        takesKey: (event) => event.key !== 'F1' && this.takesKey(event),
        message,
      });
      tab = this.#keep({ name: DISPLAY_TAB, button, panel, view: undefined, display: made });
    }
    tab.display?.connect(display);
  }

  #keep(tab: Tab): Tab {
    tab.button.addEventListener('click', () => {
      this.show(tab.name);
      this.focus();
    });
    this.#tabs.set(tab.name, tab);
    if (this.#shown) this.#mark();
    else this.show(tab.name);
    return tab;
  }

  show(name: string): void {
    const tab = this.#tabs.get(name);
    if (!tab) return;
    this.#shown = tab;
    this.#mark();
    tab.view?.fit();
  }

  #mark(): void {
    for (const { button, panel, name } of this.#tabs.values()) {
      const shown = name === this.#shown?.name;
      panel.hidden = !shown;
      button.setAttribute('aria-selected', String(shown));
      button.tabIndex = shown ? 0 : -1;
    }
  }

  /** Terminals of other names go: the command line has changed. */
  keepOnly(names: readonly string[]): void {
    for (const [name, tab] of this.#tabs) {
      if (names.includes(name)) continue;
      tab.view?.dispose();
      tab.display?.dispose();
      tab.button.remove();
      tab.panel.remove();
      this.#tabs.delete(name);
      if (this.#shown === tab) this.#shown = undefined;
    }
    const first = [...this.#tabs.keys()][0];
    if (!this.#shown && first !== undefined) this.show(first);
    this.#welcome.hidden = this.#tabs.size > 0;
  }

  disconnect(name: string): void {
    const tab = this.#tabs.get(name);
    tab?.view?.disconnect();
    tab?.display?.disconnect();
  }

  /** A line of the page's own in a terminal, set apart from what the guest prints. */
  note(name: string, text: string): void {
    this.#tabs.get(name)?.view?.terminal.write(`\r\n\x1b[0;2m[${text}]\x1b[0m\r\n`);
  }

  recolour(): void {
    for (const { view } of this.#tabs.values()) view?.recolour();
  }

  focus(): void {
    if (this.#shown?.view) this.#shown.view.focus();
    else if (this.#shown?.display) this.#shown.display.focus();
    else element('consoles', HTMLElement).focus();
  }

  #key(event: KeyboardEvent): void {
    const tabs = [...this.#tabs.values()];
    const at = tabs.findIndex((tab) => tab === this.#shown);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tabs.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const tab = tabs[(to + tabs.length) % tabs.length];
    if (!tab) return;
    this.show(tab.name);
    tab.button.focus();
  }
}
