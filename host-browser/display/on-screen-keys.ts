/**
 * A keyboard on the screen, for phones and tablets: the keys of a PC by their places, labelled as the machine's keyboard layout (-K) has them. Shift,
 * Ctrl, Alt and AltGr stay down for the next key.
 */
import { layoutNamed } from '../../devices/input/layouts.ts';
import { usLayout, type KeyboardLayout } from '../../devices/input/keyboard-layout.ts';
import type { RemoteDisplay } from '../remote-display.ts';
import { xtCodeOfDomCode } from './key-codes.ts';

/** What is printed on keys that write nothing, and on those that no layout changes. */
const NAMES: Readonly<Record<string, string>> = {
  Escape: 'Esc',
  Backspace: '⌫',
  Tab: '⇥',
  Enter: '⏎',
  ShiftLeft: '⇧',
  ControlLeft: 'Ctrl',
  AltLeft: 'Alt',
  AltRight: 'AltGr',
  ArrowLeft: '←',
  ArrowUp: '↑',
  ArrowDown: '↓',
  ArrowRight: '→',
  Space: ' ',
  Delete: 'Del',
  Home: 'Home',
  End: 'End',
  PageUp: 'PgUp',
  PageDown: 'PgDn',
  ...Object.fromEntries(Array.from({ length: 12 }, (_, index) => [`F${index + 1}`, `F${index + 1}`])),
};

/** What a screen reader says instead of a sign. */
const SPOKEN: Readonly<Record<string, string>> = {
  Backspace: 'Backspace',
  Tab: 'Tab',
  Enter: 'Enter',
  ShiftLeft: 'Shift',
  ArrowLeft: 'Left',
  ArrowUp: 'Up',
  ArrowDown: 'Down',
  ArrowRight: 'Right',
  Space: 'Space',
};

const MODIFIERS: readonly string[] = ['ShiftLeft', 'ControlLeft', 'AltLeft', 'AltRight'];

const LETTERS: readonly string[] = [
  'Escape Digit1 Digit2 Digit3 Digit4 Digit5 Digit6 Digit7 Digit8 Digit9 Digit0 Minus Equal Backspace',
  'Tab KeyQ KeyW KeyE KeyR KeyT KeyY KeyU KeyI KeyO KeyP BracketLeft BracketRight',
  'KeyA KeyS KeyD KeyF KeyG KeyH KeyJ KeyK KeyL Semicolon Quote Enter',
  'ShiftLeft IntlBackslash KeyZ KeyX KeyC KeyV KeyB KeyN KeyM Comma Period Slash Backslash',
  'ControlLeft AltLeft Backquote Space AltRight ArrowLeft ArrowUp ArrowDown ArrowRight',
];
const FUNCTIONS = 'F1 F2 F3 F4 F5 F6 F7 F8 F9 F10 F11 F12 Home End PageUp PageDown Delete';

/** Twice and more as wide as a letter. */
const WIDE: Readonly<Record<string, string>> = { Space: 'space', Enter: 'wide', Backspace: 'wide', ShiftLeft: 'wide' };

/** Characters by key: alone, with Shift, with AltGr. */
function labelsOf(layout: KeyboardLayout): ReadonlyMap<number, readonly string[]> {
  const labels = new Map<number, string[]>();
  for (const { character, code, shift, altGr } of layout.keys()) {
    const levels = labels.get(code) ?? [];
    const level = (shift ? 1 : 0) + (altGr ? 2 : 0);
    levels[level] ??= character;
    labels.set(code, levels);
  }
  return labels;
}

export class OnScreenKeys {
  readonly element: HTMLElement;
  readonly #buttons: { readonly code: string; readonly button: HTMLButtonElement }[] = [];
  readonly #held = new Set<string>();
  #labels = labelsOf(usLayout);

  constructor(
    private readonly document: Document,
    private readonly current: () => RemoteDisplay | undefined,
  ) {
    this.element = document.createElement('div');
    this.element.className = 'screen-keys';
    this.element.setAttribute('role', 'group');
    this.element.setAttribute('aria-label', 'Keyboard of the machine');
    for (const [index, row] of [FUNCTIONS, ...LETTERS].entries()) {
      const line = document.createElement('div');
      line.className = index === 0 ? 'key-row functions' : 'key-row';
      line.append(...row.split(' ').map((code) => this.#make(code)));
      this.element.append(line);
    }
    this.#label();
  }

  /** Takes the labels of the display's layout. */
  use(display: RemoteDisplay): void {
    this.#held.clear();
    this.#labels = labelsOf(layoutNamed(display.keyboardLayout) ?? usLayout);
    this.#label();
  }

  #make(code: string): HTMLButtonElement {
    const button = this.document.createElement('button');
    button.type = 'button';
    button.className = `screen-key ${WIDE[code] ?? ''}`.trim();
    button.dataset['code'] = code;
    button.tabIndex = -1;
    // The display keeps the focus, and a key is pressed as long as the finger is on it.
    button.addEventListener('pointerdown', (event) => {
      event.preventDefault();
      // A key that was slid off comes up all the same.
      button.setPointerCapture(event.pointerId);
      if (MODIFIERS.includes(code)) this.#toggle(code);
      else {
        button.dataset['down'] = '';
        this.current()?.physicalKey(code, true);
      }
    });
    for (const type of ['pointerup', 'pointercancel'] as const) {
      button.addEventListener(type, () => {
        if (MODIFIERS.includes(code)) return;
        delete button.dataset['down'];
        this.current()?.physicalKey(code, false);
        this.#letGo();
      });
    }
    // A screen reader, or a keyboard, presses without a pointer.
    button.addEventListener('click', (event) => {
      if (event.detail !== 0) return;
      if (MODIFIERS.includes(code)) this.#toggle(code);
      else {
        this.current()?.physicalKey(code, true);
        this.current()?.physicalKey(code, false);
        this.#letGo();
      }
    });
    this.#buttons.push({ code, button });
    return button;
  }

  #toggle(code: string): void {
    const down = !this.#held.has(code);
    this.current()?.physicalKey(code, down);
    if (down) this.#held.add(code);
    else this.#held.delete(code);
    this.#label();
  }

  #letGo(): void {
    if (this.#held.size === 0) return;
    for (const code of this.#held) this.current()?.physicalKey(code, false);
    this.#held.clear();
    this.#label();
  }

  #label(): void {
    const level = (this.#held.has('ShiftLeft') ? 1 : 0) + (this.#held.has('AltRight') ? 2 : 0);
    for (const { code, button } of this.#buttons) {
      const levels = this.#labels.get(xtCodeOfDomCode(code) ?? 0);
      // The key between Shift and Z, which not every layout has.
      button.hidden = NAMES[code] === undefined && levels === undefined;
      const text = NAMES[code] ?? levels?.[level] ?? (level === 0 ? '' : '·');
      button.textContent = text;
      button.setAttribute('aria-label', SPOKEN[code] ?? text);
      if (MODIFIERS.includes(code)) button.setAttribute('aria-pressed', String(this.#held.has(code)));
    }
  }
}
