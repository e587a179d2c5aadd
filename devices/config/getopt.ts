/**
 * getopt(3) of FreeBSD: options may be clustered, an option's argument may be attached or be the next word, and
 * scanning stops at the first operand. Unlike GNU's it never reorders the words.
 */
export type GetoptEvent =
  | { readonly kind: 'option'; readonly option: string; readonly argument: string }
  /** getopt's own text without the program's name in front. */
  | { readonly kind: 'error'; readonly message: string };

export class Getopt {
  readonly #argv: readonly string[];
  readonly #optstring: string;
  /** Rest of the cluster that is being read. */
  #cluster = '';
  #index = 0;

  /** `argv` holds the words after the program's name; `optstring` is that of getopt(3). */
  constructor(argv: readonly string[], optstring: string) {
    this.#argv = argv;
    this.#optstring = optstring;
  }

  /** The words after the options; complete once {@link next} has returned undefined. */
  get operands(): readonly string[] {
    return this.#argv.slice(this.#index);
  }

  next(): GetoptEvent | undefined {
    if (this.#cluster === '') {
      const word = this.#argv[this.#index];
      if (word === undefined || !word.startsWith('-') || word === '-') return undefined;
      this.#index++;
      if (word === '--') return undefined;
      this.#cluster = word.slice(1);
    }
    const option = this.#cluster[0] ?? '';
    this.#cluster = this.#cluster.slice(1);
    const known = option === ':' ? -1 : this.#optstring.indexOf(option);
    if (known === -1) return { kind: 'error', message: `illegal option -- ${option}` };
    if (this.#optstring[known + 1] !== ':') return { kind: 'option', option, argument: '' };
    if (this.#cluster !== '') {
      const argument = this.#cluster;
      this.#cluster = '';
      return { kind: 'option', option, argument };
    }
    const argument = this.#argv[this.#index];
    if (argument === undefined) return { kind: 'error', message: `option requires an argument -- ${option}` };
    this.#index++;
    return { kind: 'option', option, argument };
  }
}
