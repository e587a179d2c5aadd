/**
 * Keys by their place: from KeyboardEvent.code (UI Events KeyboardEvent code Values, 3.1 to 3.4) to XT codes, which have 0x80 for the E0 prefix.
 * What a key writes is decided by the guest's own layout.
 */

const E0 = 0x80;

/** Codes one after the other, from the first one's XT code on. */
const RUNS: readonly (readonly [first: number, codes: string])[] = [
  [0x01, 'Escape Digit1 Digit2 Digit3 Digit4 Digit5 Digit6 Digit7 Digit8 Digit9 Digit0 Minus Equal Backspace'],
  [0x0f, 'Tab KeyQ KeyW KeyE KeyR KeyT KeyY KeyU KeyI KeyO KeyP BracketLeft BracketRight Enter'],
  [0x1d, 'ControlLeft KeyA KeyS KeyD KeyF KeyG KeyH KeyJ KeyK KeyL Semicolon Quote Backquote'],
  [0x2a, 'ShiftLeft Backslash KeyZ KeyX KeyC KeyV KeyB KeyN KeyM Comma Period Slash ShiftRight'],
  [0x37, 'NumpadMultiply AltLeft Space CapsLock F1 F2 F3 F4 F5 F6 F7 F8 F9 F10 NumLock ScrollLock'],
  [0x47, 'Numpad7 Numpad8 Numpad9 NumpadSubtract Numpad4 Numpad5 Numpad6 NumpadAdd Numpad1 Numpad2 Numpad3 Numpad0'],
  [0x53, 'NumpadDecimal'],
  [0x56, 'IntlBackslash F11 F12 NumpadEqual'],
  [0x70, 'KanaMode'],
  [0x73, 'IntlRo'],
  [0x79, 'Convert'],
  [0x7b, 'NonConvert'],
  [0x7d, 'IntlYen'],
  [E0 | 0x1c, 'NumpadEnter ControlRight'],
  [E0 | 0x35, 'NumpadDivide'],
  [E0 | 0x37, 'PrintScreen AltRight'],
  [E0 | 0x46, 'Pause Home ArrowUp PageUp'],
  [E0 | 0x4b, 'ArrowLeft'],
  [E0 | 0x4d, 'ArrowRight'],
  [E0 | 0x4f, 'End ArrowDown PageDown Insert Delete'],
  [E0 | 0x5b, 'MetaLeft MetaRight ContextMenu'],
];

const XT_CODES: ReadonlyMap<string, number> = new Map(
  RUNS.flatMap(([first, codes]) => codes.split(' ').map((code, index) => [code, first + index] as const)),
);

/** The XT code of a key by its place; undefined when a PC keyboard has no such key. */
export function xtCodeOfDomCode(code: string): number | undefined {
  return XT_CODES.get(code);
}
