/** GRUB's shell language (GRUB manual, "Writing full configuration files directly"), taken apart: words with their variables, and blocks. */

export class GrubError extends Error {
  override readonly name = 'GrubError';
}

/** A piece of a word. A variable outside quotation marks is split at blanks. */
export type Piece =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'variable'; readonly name: string; readonly quoted: boolean };
export type Word = readonly Piece[];

export type Statement =
  | { readonly kind: 'command'; readonly words: readonly Word[]; readonly block: readonly Statement[] | undefined }
  | {
      readonly kind: 'if';
      readonly branches: readonly { readonly condition: readonly Statement[]; readonly body: readonly Statement[] }[];
      readonly otherwise: readonly Statement[];
    };

type Token =
  { readonly kind: 'word'; readonly word: Word; readonly bare: string | undefined } | { readonly kind: 'end' };

const MAX_TOKENS = 200_000;
const MAX_DEPTH = 64;

const NAME = /^(\{[\w?*@#]+\}|[A-Za-z_]\w*|[?*@#\d])/;

class Lexer {
  #at = 0;
  readonly tokens: Token[] = [];

  constructor(private readonly text: string) {
    while (this.#at < text.length) {
      this.#next();
      if (this.tokens.length > MAX_TOKENS) throw new GrubError('the GRUB configuration is too long');
    }
    this.tokens.push({ kind: 'end' });
  }

  #next(): void {
    const { text } = this;
    const character = text[this.#at] ?? '';
    if (character === '\n' || character === ';') {
      this.#at++;
      this.tokens.push({ kind: 'end' });
    } else if (/\s/.test(character)) this.#at++;
    else if (text.startsWith('\\\n', this.#at)) this.#at += 2;
    else if (character === '#') {
      const end = text.indexOf('\n', this.#at);
      this.#at = end === -1 ? text.length : end;
    } else this.#word();
  }

  #variable(quoted: boolean): Piece | undefined {
    const match = NAME.exec(this.text.slice(this.#at + 1, this.#at + 130));
    if (!match) return undefined;
    this.#at += 1 + match[0].length;
    return { kind: 'variable', name: match[0].replace(/[{}]/g, ''), quoted };
  }

  #word(): void {
    const pieces: Piece[] = [];
    let plain = '';
    let bare = true;
    const flush = (): void => {
      if (plain !== '') pieces.push({ kind: 'text', text: plain });
      plain = '';
    };
    const start = this.#at;
    while (this.#at < this.text.length) {
      const character = this.text[this.#at] ?? '';
      if (/[\s;]/.test(character)) break;
      if (character === "'") {
        const end = this.text.indexOf("'", this.#at + 1);
        if (end === -1) throw new GrubError('the GRUB configuration has a quotation mark without its end');
        plain += this.text.slice(this.#at + 1, end);
        this.#at = end + 1;
        bare = false;
      } else if (character === '"') {
        bare = false;
        flush();
        this.#quoted(pieces);
      } else if (character === '\\') {
        bare = false;
        if (this.text[this.#at + 1] !== '\n') plain += this.text[this.#at + 1] ?? '';
        this.#at += 2;
      } else if (character === '$') {
        bare = false;
        const piece = this.#variable(false);
        if (piece) {
          flush();
          pieces.push(piece);
        } else {
          plain += '$';
          this.#at++;
        }
      } else {
        plain += character;
        this.#at++;
      }
    }
    flush();
    this.tokens.push({ kind: 'word', word: pieces, bare: bare ? this.text.slice(start, this.#at) : undefined });
  }

  #quoted(pieces: Piece[]): void {
    let plain = '';
    const flush = (): void => {
      pieces.push({ kind: 'text', text: plain });
      plain = '';
    };
    for (this.#at++; ;) {
      const character = this.text[this.#at];
      if (character === undefined) throw new GrubError('the GRUB configuration has a quotation mark without its end');
      if (character === '"') break;
      if (character === '\\' && /["\\$`\n]/.test(this.text[this.#at + 1] ?? '')) {
        if (this.text[this.#at + 1] !== '\n') plain += this.text[this.#at + 1] ?? '';
        this.#at += 2;
        continue;
      }
      const piece = character === '$' ? this.#variable(true) : undefined;
      if (piece) {
        flush();
        pieces.push(piece);
        continue;
      }
      plain += character;
      this.#at++;
    }
    this.#at++;
    flush();
  }
}

class Parser {
  #at = 0;

  constructor(private readonly tokens: readonly Token[]) {}

  #bare(): string | undefined {
    const token = this.tokens[this.#at];
    return token?.kind === 'word' ? token.bare : undefined;
  }

  get ended(): boolean {
    return this.#at >= this.tokens.length;
  }

  /** Statements up to one of these words, which is left. */
  statements(until: readonly string[], depth = 0): Statement[] {
    if (depth > MAX_DEPTH) throw new GrubError('the GRUB configuration is nested too deeply');
    const statements: Statement[] = [];
    for (;;) {
      while (this.tokens[this.#at]?.kind === 'end') this.#at++;
      if (this.ended) {
        if (until.length > 0) throw new GrubError(`the GRUB configuration lacks "${until.at(-1)}"`);
        return statements;
      }
      const word = this.#bare();
      if (word !== undefined && until.includes(word)) return statements;
      if (word === '}') throw new GrubError('the GRUB configuration has a "}" without its beginning');
      statements.push(this.#statement(word, depth));
    }
  }

  #statement(word: string | undefined, depth: number): Statement {
    if (word === 'if') return this.#if(depth);
    if (word === 'while' || word === 'until' || word === 'for') {
      // Loops are for menus that ask; nothing asks here.
      this.statements(['do'], depth + 1);
      this.#at++;
      this.statements(['done'], depth + 1);
      this.#at++;
      return { kind: 'command', words: [], block: undefined };
    }
    const words: Word[] = [];
    for (; ; this.#at++) {
      const token = this.tokens[this.#at];
      if (token?.kind !== 'word') return { kind: 'command', words, block: undefined };
      if (token.bare === '{') break;
      if (token.bare === '}') return { kind: 'command', words, block: undefined };
      words.push(token.word);
    }
    this.#at++;
    const block = this.statements(['}'], depth + 1);
    this.#at++;
    return { kind: 'command', words, block };
  }

  #if(depth: number): Statement {
    const branches: { condition: Statement[]; body: Statement[] }[] = [];
    let otherwise: Statement[] = [];
    for (let word: string | undefined = 'if'; word === 'if' || word === 'elif'; word = this.#bare()) {
      this.#at++;
      const condition = this.statements(['then'], depth + 1);
      this.#at++;
      branches.push({ condition, body: this.statements(['elif', 'else', 'fi'], depth + 1) });
    }
    if (this.#bare() === 'else') {
      this.#at++;
      otherwise = this.statements(['fi'], depth + 1);
    }
    this.#at++;
    return { kind: 'if', branches, otherwise };
  }
}

/** Throws {@link GrubError} for what cannot be taken apart. */
export function parseGrubScript(text: string): Statement[] {
  const parser = new Parser(new Lexer(text).tokens);
  return parser.statements([]);
}
