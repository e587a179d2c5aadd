/**
 * From the user's keys and pointer to the device that shows them to the guest. Devices register with a priority, as with bhyve's console:
 * of those that the guest has taken into use the highest gets everything.
 */
import { ALT_GR, CAPS_LOCK, SHIFT_LEFT, usLayout, type KeyboardLayout, type KeyStroke } from './keyboard-layout.ts';

/** Keys at a time that the user can hold. */
const MAX_HELD_KEYS = 32;
/** XT codes with 0x80 for the E0 prefix. */
const MAX_CODE = 0xff;
const MAX_PIXEL = 0xffff;

/** A keyboard in the machine. */
export interface KeyboardSink {
  /** A key by its XT code (set 1, with 0x80 for the E0 prefix). */
  key(code: number, down: boolean): void;
}

/** A pointing device in the machine. */
export interface PointerSink {
  /** Where the pointer is on a display of `width` by `height` pixels, and POINTER_* buttons. */
  pointer(buttons: number, x: number, y: number, width: number, height: number): void;
}

/** Buttons as RFB numbers them (RFC 6143, 7.5.5). */
export const POINTER_LEFT = 0x01;
export const POINTER_MIDDLE = 0x02;
export const POINTER_RIGHT = 0x04;
export const POINTER_WHEEL_UP = 0x08;
export const POINTER_WHEEL_DOWN = 0x10;

/** Priorities of bhyve's devices; virtio-input, which bhyve does not connect to its console, comes between. */
export const PRIORITY_PS2 = 1;
export const PRIORITY_VIRTIO = 5;
export const PRIORITY_USB_TABLET = 10;

interface Registration<T> {
  readonly sink: T;
  readonly priority: number;
  /** The guest uses the device. */
  readonly active: () => boolean;
}

/** A user: what it holds is released when it goes. */
export interface InputSession {
  /** A key by X11 keysym, and by XT code where the user's side knows it (0 otherwise), which then decides. */
  key(keysym: number, code: number, down: boolean): void;
  /** Position on a display of `width` by `height` pixels. */
  pointer(buttons: number, x: number, y: number, width: number, height: number): void;
  close(): void;
}

export class InputRouter {
  /** Called at every key and movement. */
  onInput: () => void = () => {};
  /** Keysyms that the layout has no key for, and codes that are none. */
  unknownKeys = 0;
  layout: KeyboardLayout = usLayout;
  readonly #keyboards: Registration<KeyboardSink>[] = [];
  readonly #pointers: Registration<PointerSink>[] = [];
  /** Keys that are down, and where they were sent. */
  readonly #held = new Map<number, KeyboardSink>();
  /** The guest's Caps Lock, as far as the keys that were sent tell. */
  #capsLock = false;

  registerKeyboard(sink: KeyboardSink, priority: number, active: () => boolean = () => true): void {
    insert(this.#keyboards, { sink, priority, active });
  }

  registerPointer(sink: PointerSink, priority: number, active: () => boolean = () => true): void {
    insert(this.#pointers, { sink, priority, active });
  }

  openSession(): InputSession {
    /** Codes of the keys that this user holds, by keysym and code. */
    const held = new Map<string, number>();
    let buttons = 0;
    let last = { x: 0, y: 0, width: 1, height: 1 };
    return {
      key: (keysym, code, down) => {
        const name = `${keysym},${code}`;
        this.onInput();
        if (!down) {
          // The key that went down comes up, whatever the keysym means by now.
          const pressed = held.get(name);
          held.delete(name);
          if (pressed !== undefined) this.#send(pressed, false);
          return;
        }
        const pressed = this.#press(keysym, code);
        if (pressed !== undefined && held.size < MAX_HELD_KEYS) held.set(name, pressed);
      },
      pointer: (newButtons, x, y, width, height) => {
        buttons = newButtons & 0xff;
        last = { x: bounded(x, width), y: bounded(y, height), width, height };
        this.onInput();
        this.#point(buttons, last);
      },
      close: () => {
        for (const code of held.values()) this.#send(code, false);
        held.clear();
        if (buttons !== 0) this.#point(0, last);
      },
    };
  }

  /** Types a character as a user of the layout would; false when no key has it. */
  type(character: string): boolean {
    const strokes = this.layout.strokesOf(character);
    if (!strokes) return false;
    for (const stroke of strokes) this.#stroke(stroke);
    return true;
  }

  /** Releases every key that is down: after a restore nobody is there who would. */
  releaseAll(): void {
    for (const [code, sink] of this.#held) sink.key(code, false);
    this.#held.clear();
  }

  /** Presses a key; returns the code that a release must name. */
  #press(keysym: number, code: number): number | undefined {
    if (code !== 0) {
      if (code > MAX_CODE) {
        this.unknownKeys++;
        return undefined;
      }
      this.#send(code, true);
      return code;
    }
    const stroke = this.layout.strokeOf(keysym);
    if (!stroke) {
      this.unknownKeys++;
      return undefined;
    }
    // Some users' sides (a phone's keyboard, pasted text) know characters and no Shift key. With any key down they do know keys.
    if ((stroke.shift || stroke.altGr) && this.#held.size === 0 && !this.#capsLock) {
      this.#stroke(stroke);
      return undefined;
    }
    this.#send(stroke.code, true);
    return stroke.code;
  }

  #stroke({ code, shift, altGr }: KeyStroke): void {
    const modifiers = [...(shift ? [SHIFT_LEFT] : []), ...(altGr ? [ALT_GR] : [])];
    for (const modifier of modifiers) this.#send(modifier, true);
    this.#send(code, true);
    this.#send(code, false);
    for (const modifier of modifiers.reverse()) this.#send(modifier, false);
  }

  #send(code: number, down: boolean): void {
    const held = this.#held.get(code);
    // A key comes up at the device that it went down at.
    const sink = held ?? this.#keyboards.find(({ active }) => active())?.sink;
    if (!sink || (!down && !held)) return;
    if (down && !held && this.#held.size >= MAX_HELD_KEYS) return;
    if (down) this.#held.set(code, sink);
    else this.#held.delete(code);
    if (down && !held && code === CAPS_LOCK) this.#capsLock = !this.#capsLock;
    sink.key(code, down);
  }

  #point(buttons: number, { x, y, width, height }: { x: number; y: number; width: number; height: number }): void {
    this.#pointers.find(({ active }) => active())?.sink.pointer(buttons, x, y, width, height);
  }
}

function bounded(position: number, length: number): number {
  return Math.max(0, Math.min(Math.trunc(position) || 0, Math.min(length, MAX_PIXEL) - 1));
}

/** Highest priority first; of equals the one that came first. */
function insert<T>(list: Registration<T>[], registration: Registration<T>): void {
  const at = list.findIndex(({ priority }) => priority < registration.priority);
  list.splice(at === -1 ? list.length : at, 0, registration);
}
