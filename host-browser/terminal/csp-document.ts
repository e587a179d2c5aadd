/**
 * A document for xterm.js under a content security policy without 'unsafe-inline': the style sheets that it writes into <style> elements become
 * constructed ones (CSSOM), which such a policy allows, and so do its style attributes.
 */

/** Where the sheets are adopted: the page, or the shadow root that the terminal is in. */
export type StyleRoot = Document | ShadowRoot;

function makeStyle(createElement: Document['createElement'], root: StyleRoot): HTMLElement {
  const element = createElement('span');
  element.hidden = true;
  const sheet = new CSSStyleSheet();
  root.adoptedStyleSheets.push(sheet);
  Object.defineProperty(element, 'textContent', {
    set: (text: string) => sheet.replaceSync(text),
    get: () => '',
  });
  element.remove = () => {
    root.adoptedStyleSheets = root.adoptedStyleSheets.filter((other) => other !== sheet);
    Element.prototype.remove.call(element);
  };
  return element;
}

function setAttribute(this: HTMLElement, name: string, value: string): void {
  if (name === 'style') this.style.cssText = value;
  else Element.prototype.setAttribute.call(this, name, value);
}

/** What takes the place of the document's createElement. */
function createElementFor(document: Document, root: StyleRoot): Document['createElement'] {
  const original = document.createElement.bind(document);
  return (tag: string, options?: ElementCreationOptions): HTMLElement => {
    if (tag === 'style') return makeStyle(original, root);
    const element = original(tag, options);
    if (tag === 'span') element.setAttribute = setAttribute;
    return element;
  };
}

/** The document that xterm.js is given as `documentOverride`. */
export function documentWithoutInlineStyles(document: Document, root: StyleRoot): Document {
  const createElement = createElementFor(document, root);
  return new Proxy(document, {
    get(target, property) {
      if (property === 'createElement') return createElement;
      const value: unknown = Reflect.get(target, property, target);
      return typeof value === 'function' ? (value as (...words: unknown[]) => unknown).bind(target) : value;
    },
  });
}

/**
 * Runs `open` while the page's own document makes such styles as well: one part of xterm.js 6.0.0 (the viewport) takes the page's document
 * whatever `documentOverride` is. Nothing else runs meanwhile.
 */
export function withoutInlineStyles(document: Document, root: StyleRoot, open: () => void): void {
  document.createElement = createElementFor(document, root);
  try {
    open();
  } finally {
    // The prototype's own comes back.
    Reflect.deleteProperty(document, 'createElement');
  }
}

/** Where xterm.js 6.0.0 keeps what makes the cells of a row. */
interface RowMaker {
  readonly _core?: {
    readonly _renderService?: {
      readonly _renderer?: { readonly value?: { readonly _rowFactory?: { _document: Document } } };
    };
  };
}

/**
 * Gives an open terminal's cells the other document, too: xterm.js 6.0.0 makes them with the page's own, and their colours that no class stands for
 * (24 bits, or changed for contrast) are style attributes. tests/browser/page.test.ts looks at such colours.
 */
export function cellsWithoutInlineStyles(terminal: object, document: Document): void {
  const factory = (terminal as RowMaker)._core?._renderService?._renderer?.value?._rowFactory;
  if (factory) factory._document = document;
}
