/** The keys of a page's element for a display: by their place, so that the guest's layout decides what they write. */
import { keysymOfCharacter } from '../../devices/input/keysyms.ts';
import type { RemoteDisplay } from '../remote-display.ts';

export interface KeyboardInputOptions {
  /** Sees keys before the guest does; true: the page took it. */
  readonly takesKey?: ((event: KeyboardEvent) => boolean) | undefined;
  /** Text was pasted (Ctrl+Shift+V, or the browser's menu). */
  readonly pasted: (text: string) => void;
}

/** The one combination that is the page's: the browser answers it with a `paste` event. */
function isPaste(event: KeyboardEvent): boolean {
  return event.code === 'KeyV' && event.shiftKey && (event.ctrlKey || event.metaKey);
}

/** Sends an element's keys to the display of `current`; returns a function that ends it. */
export function listenToKeys(
  element: HTMLElement,
  current: () => RemoteDisplay | undefined,
  options: KeyboardInputOptions,
): () => void {
  const ends = new AbortController();
  const { signal } = ends;
  const key = (event: KeyboardEvent, down: boolean): void => {
    const display = current();
    if (!display || event.isComposing || options.takesKey?.(event) === true) return;
    if (down && isPaste(event)) {
      // Ctrl and Shift went down in the guest; the text must not be typed with them.
      display.release();
      return;
    }
    if (display.physicalKey(event.code, down)) event.preventDefault();
    else if ([...event.key].length === 1) {
      // Keyboards on glass often know characters and no places.
      display.key(keysymOfCharacter(event.key), down);
      event.preventDefault();
    }
  };
  element.addEventListener('keydown', (event) => key(event, true), { signal });
  element.addEventListener('keyup', (event) => key(event, false), { signal });
  element.addEventListener('blur', () => current()?.release(), { signal });
  element.ownerDocument.addEventListener(
    'visibilitychange',
    () => {
      if (element.ownerDocument.hidden) current()?.release();
    },
    { signal },
  );
  // Without a text field the event goes to the document's body or to the focused element, depending on the browser.
  element.ownerDocument.addEventListener(
    'paste',
    (event) => {
      const root = element.getRootNode() as Document | ShadowRoot;
      if (root.activeElement !== element) return;
      const text = event.clipboardData?.getData('text/plain');
      if (text === undefined || text === '') return;
      event.preventDefault();
      options.pasted(text);
    },
    { signal },
  );
  return () => ends.abort();
}
