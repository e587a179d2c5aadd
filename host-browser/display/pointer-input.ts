/**
 * A page's pointers on a display. A mouse or pen is itself; a finger is the left button where it touches, two fingers that tap are the right one,
 * and two that move turn the wheel.
 */
import {
  POINTER_LEFT,
  POINTER_MIDDLE,
  POINTER_RIGHT,
  POINTER_WHEEL_DOWN,
  POINTER_WHEEL_UP,
} from '../../devices/input/input-router.ts';
import type { RemoteDisplay } from '../remote-display.ts';

/** Pixels of the page (or lines, or pages) for one notch of a wheel. */
const NOTCH: Readonly<Record<number, number>> = {
  [WheelEvent.DOM_DELTA_PIXEL]: 100,
  [WheelEvent.DOM_DELTA_LINE]: 3,
  [WheelEvent.DOM_DELTA_PAGE]: 1,
};
const MAX_NOTCHES_AT_ONCE = 10;
const FINGER_NOTCH_PX = 24;
/** A finger that touches for less time than this is followed by no other. */
const SECOND_FINGER_MS = 60;

/** PointerEvent.buttons in the order left, right, middle; RFB has left, middle, right. */
function rfbButtons(buttons: number): number {
  return (buttons & 1 ? POINTER_LEFT : 0) | (buttons & 2 ? POINTER_RIGHT : 0) | (buttons & 4 ? POINTER_MIDDLE : 0);
}

/** Pixel of the display below a point of the page. */
export function displayPixel(
  canvas: Element,
  { width, height }: { readonly width: number; readonly height: number },
  { clientX, clientY }: { readonly clientX: number; readonly clientY: number },
): { x: number; y: number } {
  const box = canvas.getBoundingClientRect();
  const along = (at: number, length: number, pixels: number): number =>
    Math.max(0, Math.min(pixels - 1, Math.floor((at / Math.max(1, length)) * pixels)));
  return { x: along(clientX - box.left, box.width, width), y: along(clientY - box.top, box.height, height) };
}

interface Finger {
  readonly id: number;
  x: number;
  y: number;
}

/** Sends an element's pointers to the display of `current`, which is drawn on `canvas()`; returns a function that ends it. */
export function listenToPointers(
  element: HTMLElement,
  canvas: () => Element | undefined,
  current: () => RemoteDisplay | undefined,
): () => void {
  const ends = new AbortController();
  const { signal } = ends;
  const fingers = new Map<number, Finger>();
  /** A first finger is down, and nothing was pressed for it yet: a second one may follow. */
  let pressLater: ReturnType<typeof setTimeout> | undefined;
  let twoFingers = false;
  let scrolled = 0;
  let wheelRest = 0;

  const place = (event: MouseEvent): { x: number; y: number } | undefined => {
    const shown = canvas();
    const display = current();
    return shown && display && displayPixel(shown, display.size, event);
  };
  const turn = (notches: number, { x, y }: { x: number; y: number }): void => {
    const button = notches < 0 ? POINTER_WHEEL_UP : POINTER_WHEEL_DOWN;
    for (let i = Math.min(Math.abs(notches), MAX_NOTCHES_AT_ONCE); i > 0; i--) {
      current()?.pointer(x, y, button);
      current()?.pointer(x, y, 0);
    }
  };
  const press = (event: PointerEvent): void => {
    pressLater = undefined;
    const at = place(event);
    if (at) current()?.pointer(at.x, at.y, POINTER_LEFT);
  };

  const touchStarted = (event: PointerEvent): void => {
    fingers.set(event.pointerId, { id: event.pointerId, x: event.clientX, y: event.clientY });
    if (fingers.size === 1) {
      twoFingers = false;
      const at = place(event);
      if (at) current()?.pointer(at.x, at.y, 0);
      pressLater = setTimeout(() => press(event), SECOND_FINGER_MS);
    } else if (fingers.size === 2 && pressLater !== undefined) {
      clearTimeout(pressLater);
      pressLater = undefined;
      twoFingers = true;
      scrolled = 0;
    }
  };
  const touchMoved = (event: PointerEvent): void => {
    const finger = fingers.get(event.pointerId);
    const at = place(event);
    if (!finger || !at) return;
    const movedPx = event.clientY - finger.y;
    finger.x = event.clientX;
    finger.y = event.clientY;
    if (twoFingers) {
      // Both fingers report: half a notch each. The page follows the fingers, as everywhere on glass.
      scrolled += movedPx / 2;
      const notches = Math.trunc(scrolled / FINGER_NOTCH_PX);
      scrolled -= notches * FINGER_NOTCH_PX;
      const position = current()?.position;
      if (notches !== 0 && position) {
        turn(-notches, position);
        scrolledAny = true;
      }
    } else current()?.pointer(at.x, at.y, pressLater === undefined ? POINTER_LEFT : 0);
  };
  let scrolledAny = false;
  const touchEnded = (event: PointerEvent): void => {
    if (!fingers.delete(event.pointerId)) return;
    if (twoFingers) {
      if (fingers.size > 0) return;
      const position = current()?.position;
      if (position && !scrolledAny && event.type === 'pointerup') {
        current()?.pointer(position.x, position.y, POINTER_RIGHT);
        current()?.pointer(position.x, position.y, 0);
      }
      twoFingers = false;
      scrolledAny = false;
      return;
    }
    if (pressLater !== undefined) {
      clearTimeout(pressLater);
      press(event);
    }
    const at = place(event);
    if (at) current()?.pointer(at.x, at.y, 0);
  };

  const mouse = (event: PointerEvent): void => {
    const at = place(event);
    if (at) current()?.pointer(at.x, at.y, rfbButtons(event.buttons));
  };
  element.addEventListener(
    'pointerdown',
    (event) => {
      element.focus({ preventScroll: true });
      element.setPointerCapture(event.pointerId);
      // A touch would be followed by a mouse's events, and would scroll.
      event.preventDefault();
      if (event.pointerType === 'touch') touchStarted(event);
      else mouse(event);
    },
    { signal },
  );
  element.addEventListener(
    'pointermove',
    (event) => {
      if (event.pointerType === 'touch') touchMoved(event);
      else mouse(event);
    },
    { signal },
  );
  for (const type of ['pointerup', 'pointercancel'] as const) {
    element.addEventListener(
      type,
      (event) => {
        if (event.pointerType === 'touch') touchEnded(event);
        else mouse(event);
      },
      { signal },
    );
  }
  element.addEventListener(
    'wheel',
    (event) => {
      event.preventDefault();
      wheelRest += event.deltaY / (NOTCH[event.deltaMode] ?? 1);
      const notches = Math.trunc(wheelRest);
      wheelRest -= notches;
      const at = place(event);
      if (notches !== 0 && at) turn(notches, at);
    },
    { signal, passive: false },
  );
  element.addEventListener('contextmenu', (event) => event.preventDefault(), { signal });
  return () => {
    clearTimeout(pressLater);
    ends.abort();
  };
}
