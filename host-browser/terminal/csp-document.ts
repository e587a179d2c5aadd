/**
 * A document for xterm.js under a content security policy without 'unsafe-inline': the style sheets that it writes into <style> elements become
 * constructed ones (CSSOM), which such a policy allows, and so do its style attributes.
 */

/** Where the sheets are adopted: the page, or the shadow root that the terminal is in. */
export type StyleRoot = Document | ShadowRoot;

function makeStyle(document: Document, root: StyleRoot): HTMLElement {
  const element = document.createElement('span');
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

/** The document that xterm.js is given as `documentOverride`. */
export function documentWithoutInlineStyles(document: Document, root: StyleRoot): Document {
  const createElement = (tag: string, options?: ElementCreationOptions): HTMLElement => {
    if (tag === 'style') return makeStyle(document, root);
    const element = document.createElement(tag, options);
    if (tag === 'span') element.setAttribute = setAttribute;
    return element;
  };
  return new Proxy(document, {
    get(target, property) {
      if (property === 'createElement') return createElement;
      const value: unknown = Reflect.get(target, property, target);
      return typeof value === 'function' ? (value as (...words: unknown[]) => unknown).bind(target) : value;
    },
  });
}
