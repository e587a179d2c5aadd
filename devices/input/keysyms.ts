/** X11 keysyms (X Protocol, appendix A; keysymdef.h) and the characters that they stand for. */

/** From here on a keysym is 0x01000000 plus a code point. */
const UNICODE_KEYSYMS = 0x01000000;

/** Accents by the spacing character that this program writes for a dead key, with keysym and combining character. */
export const DEAD_KEYS: ReadonlyMap<string, { readonly keysym: number; readonly combining: string }> = new Map(
  (
    [
      ['`', 0xfe50, '\u0300'],
      ['´', 0xfe51, '\u0301'],
      ['^', 0xfe52, '\u0302'],
      ['~', 0xfe53, '\u0303'],
      ['¯', 0xfe54, '\u0304'],
      ['˘', 0xfe55, '\u0306'],
      ['˙', 0xfe56, '\u0307'],
      ['¨', 0xfe57, '\u0308'],
      ['°', 0xfe58, '\u030a'],
      ['˝', 0xfe59, '\u030b'],
      ['ˇ', 0xfe5a, '\u030c'],
      ['¸', 0xfe5b, '\u0327'],
      ['˛', 0xfe5c, '\u0328'],
    ] as const
  ).map(([character, keysym, combining]) => [character, { keysym, combining }]),
);

/** Old keysyms of characters outside Latin 1, by the first keysym; a space stands for a keysym without a character. */
const OLD_KEYSYMS: readonly (readonly [first: number, characters: string])[] = [
  [0x1a1, 'Ą˘Ł ĽŚ  ŠŞŤŹ ŽŻ ą˛ł ľśˇ šşťź˝žżŔ  Ă ĹĆ Č Ę Ě  ĎĐŃŇ  Ő  ŘŮ Ű  Ţ ŕ  ă ĺć č ę ě  ďđńň  ő  řůűű  ţ˙'],
  [0x2a1, 'Ħ    Ĥ  İ ĞĴ     ħ    ĥ  ı ğĵ         ĊĈ               Ġ  Ĝ    ŬŜ      ċĉ               ġ  ĝ    ŭŝ '],
  [0x3a2, 'ĸŖ ĨĻ   ĒĢŦ       ŗ ĩļ   ēģŧŊ ŋĀ      Į  Ė   ĪĐŅŌĶ    Ų   ŨŪ ā      į  ė   ī ņōķ    ų   ũū '],
  [0x6a1, 'ђѓёєѕіїјљњћќґўџ№ЂЃЁЄЅІЇЈЉЊЋЌҐЎЏюабцдефгхийклмнопярстужвьызшэщчъЮАБЦДЕФГХИЙКЛМНОПЯРСТУЖВЬЫЗШЭЩЧЪ'],
  [0x7a1, 'ΆΈΉΊΪ ΌΎΫ Ώ΅  ―  άέήίϊΐόύϋΰώ     ΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣ ΤΥΦΧΨΩ       αβγδεζηθικλμνξοπρσςτυφχψω'],
];

const OTHER_KEYSYMS: readonly (readonly [keysym: number, character: string])[] = [
  [0x13bc, 'Œ'],
  [0x13bd, 'œ'],
  [0x13be, 'Ÿ'],
  [0x20ac, '€'],
  [0xaaa, '–'],
  [0xaa9, '—'],
  [0xad0, '‘'],
  [0xad1, '’'],
  [0xad2, '“'],
  [0xad3, '”'],
  [0xafd, '‚'],
  [0xafe, '„'],
  [0xac9, '™'],
];

const CHARACTERS: ReadonlyMap<number, string> = new Map([
  ...OLD_KEYSYMS.flatMap(([first, characters]) =>
    [...characters].flatMap((character, index): [number, string][] =>
      character === ' ' ? [] : [[first + index, character]],
    ),
  ),
  ...OTHER_KEYSYMS,
]);

/** The character of a keysym; undefined for keys that write nothing. */
export function characterOfKeysym(keysym: number): string | undefined {
  if ((keysym >= 0x20 && keysym < 0x7f) || (keysym >= 0xa0 && keysym <= 0xff)) return String.fromCharCode(keysym);
  if (keysym >= UNICODE_KEYSYMS + 0x100 && keysym <= UNICODE_KEYSYMS + 0x10ffff) {
    return String.fromCodePoint(keysym - UNICODE_KEYSYMS);
  }
  return CHARACTERS.get(keysym);
}

/** A keysym for a character. */
export function keysymOfCharacter(character: string): number {
  const code = character.codePointAt(0) ?? 0;
  if ((code >= 0x20 && code < 0x7f) || (code >= 0xa0 && code <= 0xff)) return code;
  return UNICODE_KEYSYMS + code;
}

const E0 = 0x80;

/** Keysyms of keys that every layout has at the same place: XT code, with 0x80 for the E0 prefix. */
export const FUNCTION_KEYS: ReadonlyMap<number, number> = new Map([
  [0xff08, 0x0e], // BackSpace
  [0xff09, 0x0f], // Tab
  [0xfe20, 0x0f], // ISO_Left_Tab
  [0xff0a, 0x1c], // Linefeed
  [0xff0d, 0x1c], // Return
  [0xff13, E0 | 0x46], // Pause
  [0xff14, 0x46], // Scroll_Lock
  [0xff15, E0 | 0x37], // Sys_Req
  [0xff1b, 0x01], // Escape
  [0xff22, 0x7b], // Muhenkan
  [0xff23, 0x79], // Henkan_Mode
  [0xff27, 0x70], // Hiragana_Katakana
  [0xff50, E0 | 0x47], // Home
  [0xff51, E0 | 0x4b], // Left
  [0xff52, E0 | 0x48], // Up
  [0xff53, E0 | 0x4d], // Right
  [0xff54, E0 | 0x50], // Down
  [0xff55, E0 | 0x49], // Page_Up
  [0xff56, E0 | 0x51], // Page_Down
  [0xff57, E0 | 0x4f], // End
  [0xff61, E0 | 0x37], // Print
  [0xff63, E0 | 0x52], // Insert
  [0xff67, E0 | 0x5d], // Menu
  [0xff6b, E0 | 0x46], // Break
  [0xff7e, E0 | 0x38], // Mode_switch
  [0xff7f, 0x45], // Num_Lock
  [0xff8d, E0 | 0x1c], // KP_Enter
  [0xff95, 0x47], // KP_Home
  [0xff96, 0x4b], // KP_Left
  [0xff97, 0x48], // KP_Up
  [0xff98, 0x4d], // KP_Right
  [0xff99, 0x50], // KP_Down
  [0xff9a, 0x49], // KP_Page_Up
  [0xff9b, 0x51], // KP_Page_Down
  [0xff9c, 0x4f], // KP_End
  [0xff9d, 0x4c], // KP_Begin
  [0xff9e, 0x52], // KP_Insert
  [0xff9f, 0x53], // KP_Delete
  [0xffaa, 0x37], // KP_Multiply
  [0xffab, 0x4e], // KP_Add
  [0xffac, 0x53], // KP_Separator
  [0xffad, 0x4a], // KP_Subtract
  [0xffae, 0x53], // KP_Decimal
  [0xffaf, E0 | 0x35], // KP_Divide
  [0xffb0, 0x52], // KP_0
  [0xffb1, 0x4f],
  [0xffb2, 0x50],
  [0xffb3, 0x51],
  [0xffb4, 0x4b],
  [0xffb5, 0x4c],
  [0xffb6, 0x4d],
  [0xffb7, 0x47],
  [0xffb8, 0x48],
  [0xffb9, 0x49], // KP_9
  [0xffbd, 0x59], // KP_Equal
  [0xffbe, 0x3b], // F1
  [0xffbf, 0x3c],
  [0xffc0, 0x3d],
  [0xffc1, 0x3e],
  [0xffc2, 0x3f],
  [0xffc3, 0x40],
  [0xffc4, 0x41],
  [0xffc5, 0x42],
  [0xffc6, 0x43],
  [0xffc7, 0x44],
  [0xffc8, 0x57],
  [0xffc9, 0x58], // F12
  [0xffe1, 0x2a], // Shift_L
  [0xffe2, 0x36], // Shift_R
  [0xffe3, 0x1d], // Control_L
  [0xffe4, E0 | 0x1d], // Control_R
  [0xffe5, 0x3a], // Caps_Lock
  [0xffe7, E0 | 0x5b], // Meta_L
  [0xffe8, E0 | 0x5c], // Meta_R
  [0xffe9, 0x38], // Alt_L
  [0xffea, E0 | 0x38], // Alt_R
  [0xffeb, E0 | 0x5b], // Super_L
  [0xffec, E0 | 0x5c], // Super_R
  [0xfe03, E0 | 0x38], // ISO_Level3_Shift
  [0xffff, E0 | 0x53], // Delete
]);
