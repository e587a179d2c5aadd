/** The help dialog: options, devices and variables, from their declarations. */
import {
  COMMAND_LINE_OPTIONS,
  GLOBAL_VARIABLES,
  LPC_DEVICES,
  PCI_DEVICES,
  WEBHYVE_VARIABLES,
} from '../../devices/config/index.ts';
import { element, make } from './elements.ts';

type Row = readonly [term: string, meaning: string];

const FILES: readonly Row[] = [
  ['https://…, /path, name', 'a file on a server, relative to this page; disks are read as they are needed'],
  ['NAME', 'a file that was dropped on the page or chosen'],
  ['opfs:NAME', 'an image that this browser keeps'],
  ['opfs:NAME?size=64M', 'the same; made empty when there is none'],
  ['opfs:NAME?base=URL', 'changes over a read-only image, kept in this browser'],
];

const KEYS: readonly Row[] = [
  ['Ctrl+Enter', 'start with the command line'],
  ['F6, Shift+F6', 'to the next part of the page, also out of a terminal'],
  ['Ctrl+Space', 'suggestions in the command line'],
  ['F1', 'this help'],
];

function sections(): readonly (readonly [title: string, rows: readonly Row[]])[] {
  return [
    ['Keys', KEYS],
    ['Files in the command line', FILES],
    ['Options', COMMAND_LINE_OPTIONS.map(([letter, help]) => [`-${letter}`, help])],
    ['Devices behind the LPC bridge', LPC_DEVICES.map(({ name, syntax, summary }) => [`-l ${name}${syntax}`, summary])],
    ...PCI_DEVICES.map(({ name, summary, legacy, variables }): [string, Row[]] => [
      `-s slot,${name}${legacy.syntax}`,
      [[name, summary], ...variables.map((variable): Row => [variable.name, variable.help])],
    ]),
    [
      'Variables of the machine (-o name=value)',
      [...GLOBAL_VARIABLES, ...WEBHYVE_VARIABLES].map(({ name, help }): Row => [name, help]),
    ],
  ];
}

export class Help {
  readonly #dialog = element('help', HTMLDialogElement);
  readonly #search = element('help-search', HTMLInputElement);
  readonly #text = element('help-text', HTMLDivElement);

  constructor() {
    this.#search.addEventListener('input', () => this.#render());
    this.#search.addEventListener('keydown', (event) => {
      // Enter would press the form's button, which closes.
      if (event.key === 'Enter') event.preventDefault();
    });
  }

  open(): void {
    this.#render();
    this.#dialog.showModal();
    this.#search.focus();
  }

  #render(): void {
    const wanted = this.#search.value.trim().toLowerCase();
    const has = (text: string): boolean => text.toLowerCase().includes(wanted);
    const parts: Node[] = [];
    for (const [title, rows] of sections()) {
      const found = has(title) ? rows : rows.filter(([term, meaning]) => has(term) || has(meaning));
      if (found.length === 0) continue;
      const terms = found.flatMap(([term, meaning]) => [make('dt', {}, term), make('dd', {}, meaning)]);
      parts.push(make('h3', {}, title), make('dl', {}, ...terms));
    }
    if (parts.length === 0) parts.push(make('p', {}, `Nothing is called “${this.#search.value.trim()}”.`));
    this.#text.replaceChildren(...parts);
  }
}
