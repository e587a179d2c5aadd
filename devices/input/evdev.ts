/** Codes of Linux's input events (uapi input-event-codes.h), which virtio-input takes over. */

export const EV_SYN = 0;
export const EV_KEY = 1;
export const EV_REL = 2;
export const EV_ABS = 3;
export const EV_LED = 17;
export const SYN_REPORT = 0;
export const REL_X = 0;
export const REL_Y = 1;
export const REL_WHEEL = 8;
export const ABS_X = 0;
export const ABS_Y = 1;
export const LED_NUML = 0;
export const LED_CAPSL = 1;
export const LED_SCROLLL = 2;
export const BTN_LEFT = 0x110;
export const BTN_RIGHT = 0x111;
export const BTN_MIDDLE = 0x112;
export const BUS_VIRTUAL = 0x06;

const E0 = 0x80;
/** Up to here key codes are XT codes. */
const LAST_COMMON_CODE = 0x53;

/** The others. */
const OTHER_KEYS: ReadonlyMap<number, number> = new Map([
  [0x56, 86], // KEY_102ND
  [0x57, 87], // KEY_F11
  [0x58, 88], // KEY_F12
  [0x59, 117], // KEY_KPEQUAL
  [0x70, 93], // KEY_KATAKANAHIRAGANA
  [0x73, 89], // KEY_RO
  [0x79, 92], // KEY_HENKAN
  [0x7b, 94], // KEY_MUHENKAN
  [0x7d, 124], // KEY_YEN
  [E0 | 0x1c, 96], // KEY_KPENTER
  [E0 | 0x1d, 97], // KEY_RIGHTCTRL
  [E0 | 0x35, 98], // KEY_KPSLASH
  [E0 | 0x37, 99], // KEY_SYSRQ
  [E0 | 0x38, 100], // KEY_RIGHTALT
  [E0 | 0x46, 119], // KEY_PAUSE
  [E0 | 0x47, 102], // KEY_HOME
  [E0 | 0x48, 103], // KEY_UP
  [E0 | 0x49, 104], // KEY_PAGEUP
  [E0 | 0x4b, 105], // KEY_LEFT
  [E0 | 0x4d, 106], // KEY_RIGHT
  [E0 | 0x4f, 107], // KEY_END
  [E0 | 0x50, 108], // KEY_DOWN
  [E0 | 0x51, 109], // KEY_PAGEDOWN
  [E0 | 0x52, 110], // KEY_INSERT
  [E0 | 0x53, 111], // KEY_DELETE
  [E0 | 0x5b, 125], // KEY_LEFTMETA
  [E0 | 0x5c, 126], // KEY_RIGHTMETA
  [E0 | 0x5d, 127], // KEY_COMPOSE
]);

/** The key code of an XT code (with 0x80 for the E0 prefix); undefined when there is no such key. */
export function evdevOfXtCode(code: number): number | undefined {
  return code >= 1 && code <= LAST_COMMON_CODE ? code : OTHER_KEYS.get(code);
}

/** Every key of a keyboard. */
export const KEYBOARD_CODES: readonly number[] = [
  ...Array.from({ length: LAST_COMMON_CODE }, (_, index) => index + 1),
  ...OTHER_KEYS.values(),
];
