/** The field with the command line: grows with its text, completes words, and says what bhyve would say. */
import { BhyveExit, parseCommandLine } from '../../devices/config/index.ts';
import { complete, type FileNames, type Suggestion } from './completion.ts';
import { element, make } from './elements.ts';
import { ShellWordError, splitWords } from '../shell-words.ts';

export class CommandField {
  readonly #field = element('command-line', HTMLTextAreaElement);
  readonly #list = element('suggestions', HTMLUListElement);
  readonly #problem = element('command-problem', HTMLParagraphElement);
  #suggestions: readonly Suggestion[] = [];
  #selected = -1;

  constructor(
    private readonly files: () => FileNames,
    private readonly submit: () => void,
  ) {
    this.#field.addEventListener('input', () => {
      this.#grow();
      this.#suggest();
      this.#check();
    });
    this.#field.addEventListener('keydown', (event) => this.#key(event));
    this.#field.addEventListener('focus', () => this.#grow());
    this.#field.addEventListener('blur', () => {
      this.#close();
      this.#grow();
    });
    // A press on the list must not take the focus from the field.
    this.#list.addEventListener('pointerdown', (event) => event.preventDefault());
    this.#list.addEventListener('click', (event) => {
      const item = event.target instanceof Element ? event.target.closest('li') : null;
      if (item) this.#accept([...this.#list.children].indexOf(item));
    });
  }

  get text(): string {
    return this.#field.value;
  }

  set text(text: string) {
    this.#field.value = text;
    this.#grow();
    this.#check();
  }

  /** The words; undefined, and the reason is shown, when the line is none. */
  words(): string[] | undefined {
    try {
      return splitWords(this.text);
    } catch (error) {
      if (!(error instanceof ShellWordError)) throw error;
      this.#problem.textContent = error.message;
      return undefined;
    }
  }

  focus(): void {
    this.#field.focus();
  }

  /** Browsers without field-sizing keep the height that the text had at first. */
  #grow(): void {
    if (CSS.supports('field-sizing', 'content')) return;
    this.#field.style.height = 'auto';
    this.#field.style.height = `${this.#field.scrollHeight + 2}px`;
  }

  #check(): void {
    this.#problem.textContent = '';
    const words = this.words();
    if (!words || words.length === 0) return;
    try {
      // Configuration files are read when the machine is built.
      parseCommandLine(words, { programName: 'bhyve', readTextFile: () => '' });
    } catch (error) {
      if (!(error instanceof BhyveExit)) throw error;
      // A usage text is for -h; what it begins with is about this line.
      const text = error.stderrText.split('Usage:')[0]?.trim() ?? '';
      this.#problem.textContent = text === '' && error.stderrText !== '' ? 'the name of the machine is missing' : text;
    }
  }

  #suggest(): void {
    const { selectionStart, selectionEnd } = this.#field;
    this.#suggestions = selectionStart === selectionEnd ? complete(this.text, selectionStart, this.files()) : [];
    this.#selected = -1;
    this.#list.replaceChildren(
      ...this.#suggestions.map(({ label, help }, index) => {
        const item = make('li', { id: `suggestion-${index}` }, make('b', {}, label), make('span', {}, help));
        item.setAttribute('role', 'option');
        return item;
      }),
    );
    this.#list.hidden = this.#suggestions.length === 0;
    this.#mark();
  }

  #mark(): void {
    this.#field.setAttribute('aria-expanded', String(!this.#list.hidden));
    for (const [index, item] of [...this.#list.children].entries()) {
      const selected = index === this.#selected;
      item.setAttribute('aria-selected', String(selected));
      if (selected) item.scrollIntoView({ block: 'nearest' });
    }
    if (this.#selected < 0) this.#field.removeAttribute('aria-activedescendant');
    else this.#field.setAttribute('aria-activedescendant', `suggestion-${this.#selected}`);
  }

  #close(): void {
    this.#list.hidden = true;
    this.#suggestions = [];
    this.#selected = -1;
    this.#mark();
  }

  #accept(index: number): void {
    const suggestion = this.#suggestions[index];
    if (!suggestion) return;
    this.#field.focus();
    this.#field.setRangeText(suggestion.insert, suggestion.start, suggestion.end, 'end');
    this.#grow();
    this.#check();
    this.#suggest();
  }

  #key(event: KeyboardEvent): void {
    if (event.isComposing) return;
    const count = this.#suggestions.length;
    const open = !this.#list.hidden && count > 0;
    switch (event.key) {
      case 'Enter':
        if (open && this.#selected >= 0 && !event.ctrlKey && !event.metaKey) this.#accept(this.#selected);
        else if (event.ctrlKey || event.metaKey || !event.shiftKey) this.#submit();
        else return;
        break;
      case 'Tab':
        // Completes what was begun; a list that nobody has looked at leaves Tab to the page.
        if (!open || event.shiftKey || this.#selected < 0) return;
        this.#accept(this.#selected);
        break;
      case 'ArrowDown':
      case 'ArrowUp': {
        if (!open) {
          if (event.key === 'ArrowUp' || !event.altKey) return;
          this.#suggest();
          break;
        }
        const step = event.key === 'ArrowDown' ? 1 : -1;
        this.#selected = (this.#selected + step + count + (this.#selected < 0 && step < 0 ? 1 : 0)) % count;
        this.#mark();
        break;
      }
      case ' ':
        if (!event.ctrlKey) return;
        this.#suggest();
        break;
      case 'Escape':
        if (!open) return;
        this.#close();
        break;
      default:
        return;
    }
    event.preventDefault();
  }

  #submit(): void {
    this.#close();
    this.submit();
  }
}
