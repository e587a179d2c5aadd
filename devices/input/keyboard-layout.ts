/**
 * Keyboard layouts (-K): from the character or key that a user means to the key of a PC keyboard. As in bhyve a layout only says where a
 * key lies: Shift and AltGr are keys that the user holds. The layout also knows which of them a character needs, for text that is typed.
 */
import { characterOfKeysym, DEAD_KEYS, FUNCTION_KEYS } from './keysyms.ts';
import { xtCodeOfSet2 } from './xt-codes.ts';

export const SHIFT_LEFT = 0x2a;
export const CAPS_LOCK = 0x3a;
export const ALT_GR = 0xb8;
const SPACE = 0x39;
const ENTER = 0x1c;
const TAB = 0x0f;

/** A key (XT code, with 0x80 for the E0 prefix) and what has to be held for what it should write. */
export interface KeyStroke {
  readonly code: number;
  readonly shift: boolean;
  readonly altGr: boolean;
}

/** XT codes of the keys that differ between layouts, row after row, of a keyboard with 105 keys. */
const ROW_CODES: readonly (readonly number[])[] = [
  [0x29, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d],
  [0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x1b],
  [0x1e, 0x1f, 0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x28, 0x2b],
  [0x56, 0x2c, 0x2d, 0x2e, 0x2f, 0x30, 0x31, 0x32, 0x33, 0x34, 0x35],
];

/** Marks the next character of a cell as an accent that waits for a letter. */
const DEAD_MARK = '†';
/** In a cell: nothing at this level. */
const NOTHING = '␣';

export class KeyboardLayout {
  readonly #byCharacter = new Map<string, KeyStroke>();
  /** By accent as in {@link DEAD_KEYS}. */
  readonly #dead = new Map<string, KeyStroke>();
  readonly #byKeysym = new Map<number, KeyStroke>(
    [...FUNCTION_KEYS].map(([keysym, code]) => [keysym, { code, shift: false, altGr: false }]),
  );

  constructor(readonly name: string) {
    this.#byCharacter.set(' ', { code: SPACE, shift: false, altGr: false });
    this.#byCharacter.set('\n', { code: ENTER, shift: false, altGr: false });
    this.#byCharacter.set('\t', { code: TAB, shift: false, altGr: false });
  }

  /**
   * From four rows of cells with blanks between them. A cell holds what a key writes alone, with Shift, with AltGr and with both. `†` makes
   * the next character an accent, `␣` stands for nothing.
   */
  static fromRows(name: string, rows: readonly string[], deadKeys = true): KeyboardLayout {
    const layout = new KeyboardLayout(name);
    for (const [row, cells] of rows.entries()) {
      for (const [column, cell] of cells.trim().split(/ +/).entries()) {
        const code = ROW_CODES[row]?.[column];
        if (code === undefined) throw new RangeError(`${name}: row ${row} has too many keys`);
        layout.#addCell(code, cell, deadKeys);
      }
    }
    return layout;
  }

  /** From a file in the format of bhyve's kbdlayout files: `'c',0xNN;` and `0xKEYSYM,0xNN,0xPREFIX;` with codes of set 2. */
  static fromFile(name: string, text: string): KeyboardLayout {
    const layout = new KeyboardLayout(name);
    for (const line of text.split('\n')) {
      const character = /^'(.)',\s*(?:0x)?([0-9a-fA-F]{1,2});?/.exec(line);
      const keysym = /^(?:0x)?([0-9a-fA-F]{1,8}),\s*(?:0x)?([0-9a-fA-F]{1,2}),\s*(?:0x)?([0-9a-fA-F]{1,2});?/.exec(
        line,
      );
      if (character) {
        const code = xtCodeOfSet2(parseInt(character[2] ?? '', 16), false);
        if (code !== undefined) layout.#add(character[1] ?? '', { code, shift: false, altGr: false });
      } else if (keysym) {
        const code = xtCodeOfSet2(parseInt(keysym[2] ?? '', 16), parseInt(keysym[3] ?? '', 16) !== 0);
        const symbol = parseInt(keysym[1] ?? '', 16);
        if (code !== undefined) layout.#byKeysym.set(symbol, { code, shift: false, altGr: false });
      }
    }
    return layout;
  }

  #addCell(code: number, cell: string, deadKeys: boolean): void {
    const characters = [...cell];
    let level = 0;
    for (let i = 0; i < characters.length; i++) {
      const dead = characters[i] === DEAD_MARK;
      const character = characters[dead ? ++i : i] ?? '';
      const stroke = { code, shift: (level & 1) !== 0, altGr: level >= 2 };
      level++;
      if (character === NOTHING) continue;
      if (dead && deadKeys) this.#addDead(character, stroke);
      else this.#add(character, stroke);
      // A letter alone stands for its capital too.
      const capital = character.toUpperCase();
      if (!dead && level === 1 && characters.length === 1 && capital !== character && capital.length === 1) {
        this.#add(capital, { code, shift: true, altGr: false });
        level++;
      }
    }
  }

  #addDead(accent: string, stroke: KeyStroke): void {
    const keysym = DEAD_KEYS.get(accent)?.keysym;
    if (keysym === undefined) throw new RangeError(`${this.name}: ${accent} is no accent`);
    if (!this.#dead.has(accent)) this.#dead.set(accent, stroke);
    if (!this.#byKeysym.has(keysym)) this.#byKeysym.set(keysym, stroke);
  }

  /** The first key of a character counts. */
  #add(character: string, stroke: KeyStroke): void {
    if (!this.#byCharacter.has(character)) this.#byCharacter.set(character, stroke);
  }

  /** What the keys write, accents included, for those who label keys. */
  *keys(): Generator<KeyStroke & { readonly character: string }> {
    for (const list of [this.#byCharacter, this.#dead]) {
      for (const [character, stroke] of list) yield { ...stroke, character };
    }
  }

  /** The key of a keysym; undefined when the layout has none. */
  strokeOf(keysym: number): KeyStroke | undefined {
    const key = this.#byKeysym.get(keysym);
    if (key) return key;
    const character = characterOfKeysym(keysym);
    if (character === undefined) return undefined;
    // A user's side that has dealt with an accent itself sends the spacing character.
    return this.#byCharacter.get(character) ?? this.#dead.get(character);
  }

  /** The strokes that write a character; undefined when no keys of the layout do. */
  strokesOf(character: string): readonly KeyStroke[] | undefined {
    const stroke = this.#byCharacter.get(character === '\r' ? '\n' : character);
    if (stroke) return [stroke];
    const accent = this.#dead.get(character);
    if (accent) return [accent, { code: SPACE, shift: false, altGr: false }];
    const [base, combining, ...more] = character.normalize('NFD');
    if (base === undefined || combining === undefined || more.length > 0) return undefined;
    const letter = this.#byCharacter.get(base);
    for (const [spacing, dead] of DEAD_KEYS) {
      const key = this.#dead.get(spacing);
      if (dead.combining === combining && key && letter) return [key, letter];
    }
    return undefined;
  }
}

/** The keyboard of the United States: what a machine without -K has. */
export const usLayout = KeyboardLayout.fromRows('us', [
  '`~ 1! 2@ 3# 4$ 5% 6^ 7& 8* 9( 0) -_ =+',
  'q w e r t y u i o p [{ ]}',
  'a s d f g h j k l ;: \'" \\|',
  '\\| z x c v b n m ,< .> /?',
]);
