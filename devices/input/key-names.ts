/** Keys as programs name them: by a character, or by the name that the DOM gives a key. */
import { keysymOfCharacter } from './keysyms.ts';

/** Keys by the names of the DOM's KeyboardEvent.key, as X11 keysyms. */
const NAMED_KEYS: Readonly<Record<string, number>> = {
  Backspace: 0xff08,
  Tab: 0xff09,
  Enter: 0xff0d,
  Pause: 0xff13,
  Escape: 0xff1b,
  Home: 0xff50,
  ArrowLeft: 0xff51,
  ArrowUp: 0xff52,
  ArrowRight: 0xff53,
  ArrowDown: 0xff54,
  PageUp: 0xff55,
  PageDown: 0xff56,
  End: 0xff57,
  PrintScreen: 0xff61,
  Insert: 0xff63,
  ContextMenu: 0xff67,
  Shift: 0xffe1,
  Control: 0xffe3,
  CapsLock: 0xffe5,
  Alt: 0xffe9,
  AltGraph: 0xfe03,
  Meta: 0xffeb,
  Delete: 0xffff,
  ...Object.fromEntries(Array.from({ length: 12 }, (_, i) => [`F${i + 1}`, 0xffbe + i])),
};

/** The X11 keysym of a character, or of a name of KeyboardEvent.key. Throws RangeError when there is none. */
export function keysymOf(key: string | number): number {
  if (typeof key === 'number') return key;
  const named = Object.hasOwn(NAMED_KEYS, key) ? NAMED_KEYS[key] : undefined;
  if (named !== undefined) return named;
  if ([...key].length !== 1) throw new RangeError(`there is no key ${JSON.stringify(key)}`);
  return keysymOfCharacter(key);
}
