/**
 * The tree of configuration variables, bhyve_config(5). Inner nodes have names, leaves hold strings; a path joins names
 * with dots. Values are stored as given and expanded when they are read.
 */
import { BhyveExit, EXIT_ERROR } from './errors.ts';

/** References inside references, bhyve_config(5): deeper ones are taken for a loop. */
const MAX_REFERENCE_DEPTH = 15;

const TRUE_WORDS = new Set(['true', 'on', 'yes', '1']);
const FALSE_WORDS = new Set(['false', 'off', 'no', '0']);

/** A boolean as bhyve_config(5) spells it, in either case; undefined when it is none. */
export function parseBoolean(value: string): boolean | undefined {
  const word = value.toLowerCase();
  if (TRUE_WORDS.has(word)) return true;
  if (FALSE_WORDS.has(word)) return false;
  return undefined;
}

/** One inner node. Paths given to it are relative to it. */
export class ConfigNode {
  /** In insertion order; a value that is set again moves to the end, as in the list that bhyve uses. */
  readonly #entries = new Map<string, string | ConfigNode>();

  constructor(
    readonly tree: ConfigTree,
    /** Dotted path from the root; empty for the root itself. */
    readonly path: string,
  ) {}

  /** Names of this node's own leaves and children, in order. */
  names(): string[] {
    return [...this.#entries.keys()];
  }

  /** The child node or the raw value of this name, which holds no dots. */
  entry(name: string): string | ConfigNode | undefined {
    return this.#entries.get(name);
  }

  /** The node at the path, or undefined. Warns of a path that runs through a variable or has an empty part. */
  findNode(path: string): ConfigNode | undefined {
    return this.#lookup(path, false);
  }

  /** The node at the path, created together with its parents when missing. */
  createNode(path: string): ConfigNode {
    const node = this.#lookup(path, true);
    if (!node) throw this.tree.exit(`Failed to create configuration node ${path}`);
    return node;
  }

  #lookup(path: string, create: boolean): ConfigNode | undefined {
    const names = path.split('.');
    let node: ConfigNode = this;
    for (const [depth, name] of names.entries()) {
      if (name === '') {
        this.tree.warn(`Invalid configuration node: ${path}`);
        return undefined;
      }
      let child = node.#entries.get(name);
      if (typeof child === 'string') {
        const variable = names.slice(0, depth + 1).join('.');
        this.tree.warn(`Configuration node ${path} is a child of existing variable ${variable}`);
        return undefined;
      }
      if (!child) {
        if (!create) return undefined;
        child = new ConfigNode(this.tree, node.path === '' ? name : `${node.path}.${name}`);
        node.#entries.set(name, child);
      }
      node = child;
    }
    return node;
  }

  /** Sets a variable, creating the nodes above it; a value that was there is replaced and moves to the end. */
  set(path: string, value: string): void {
    const dot = path.lastIndexOf('.');
    const name = path.slice(dot + 1);
    const node = dot === -1 ? this : this.createNode(path.slice(0, dot));
    if (node.#entries.get(name) instanceof ConfigNode) {
      throw this.tree.exit(`Attempting to add value ${value} to existing node ${path}`);
    }
    node.#entries.delete(name);
    node.#entries.set(name, value);
  }

  /** The variable as it was set, without expansion. */
  getRaw(path: string): string | undefined {
    const dot = path.lastIndexOf('.');
    const node = dot === -1 ? this : this.#lookup(path.slice(0, dot), false);
    const value = node?.entry(path.slice(dot + 1));
    return typeof value === 'string' ? value : undefined;
  }

  /** The variable with its `%(path)` references expanded. */
  get(path: string): string | undefined {
    const raw = this.getRaw(path);
    return raw === undefined ? undefined : this.tree.expand(raw);
  }

  /** The variable as a boolean, or `fallback` when it is unset. Exits with status 4 when it is neither true nor false. */
  getBoolean(path: string, fallback: boolean): boolean {
    const value = this.get(path);
    if (value === undefined) return fallback;
    const truth = parseBoolean(value);
    if (truth === undefined) throw this.tree.exit(`Invalid value ${value} for boolean variable ${path}`);
    return truth;
  }

  /** Every variable below this node with its path relative to it and its raw value, depth first, in order. */
  *variables(prefix = ''): Generator<readonly [path: string, value: string]> {
    for (const [name, entry] of this.#entries) {
      if (typeof entry === 'string') yield [prefix + name, entry];
      else yield* entry.variables(`${prefix}${name}.`);
    }
  }
}

export class ConfigTree {
  readonly root: ConfigNode;
  /** What warnx(3) would have printed so far, a line each; also filled by later reads that cannot be expanded. */
  readonly warnings: string[] = [];

  constructor(readonly programName = 'bhyve') {
    this.root = new ConfigNode(this, '');
  }

  /** warnx(3). */
  warn(text: string): void {
    this.warnings.push(`${this.programName}: ${text}`);
  }

  /** errx(3): an error that carries the program's name, to be thrown. */
  exit(text: string, status = EXIT_ERROR): BhyveExit {
    return new BhyveExit(status, `${this.programName}: ${text}\n`);
  }

  findNode(path: string): ConfigNode | undefined {
    return this.root.findNode(path);
  }

  createNode(path: string): ConfigNode {
    return this.root.createNode(path);
  }

  set(path: string, value: string): void {
    this.root.set(path, value);
  }

  get(path: string): string | undefined {
    return this.root.get(path);
  }

  getRaw(path: string): string | undefined {
    return this.root.getRaw(path);
  }

  getBoolean(path: string, fallback: boolean): boolean {
    return this.root.getBoolean(path, fallback);
  }

  /** What `config.dump` prints: every variable as `path=value`, unexpanded, in insertion order. */
  dump(): string {
    let text = '';
    for (const [path, value] of this.root.variables()) text += `${path}=${value}\n`;
    return text;
  }

  /** Expands `%(path)` and, in values that hold a `%`, the escapes `\%` and `\\`. */
  expand(value: string): string {
    return this.#expand(value, 0);
  }

  #expand(value: string, depth: number): string {
    if (!value.includes('%')) return value;
    let result = '';
    let at = 0;
    while (at < value.length) {
      const character = value[at] ?? '';
      if (character === '\\') {
        if (at + 1 === value.length) this.warn(`Trailing \\ in configuration value "${value}"`);
        else result += value[at + 1];
        at += 2;
      } else if (character !== '%') {
        result += character;
        at++;
      } else {
        const close = value[at + 1] === '(' ? value.indexOf(')', at + 2) : -1;
        if (close === -1) {
          this.warn(`Invalid reference in configuration value "${value}"`);
          result += '%';
          at++;
        } else if (depth >= MAX_REFERENCE_DEPTH) {
          this.warn(`Too many recursive references in configuration value`);
          result += '%';
          at++;
        } else {
          const path = value.slice(at + 2, close);
          at = close + 1;
          if (path === '') {
            this.warn(`Empty reference in configuration value "${value}"`);
            continue;
          }
          const raw = this.getRaw(path);
          if (raw === undefined) this.warn(`Failed to fetch referenced configuration variable ${path}`);
          else result += this.#expand(raw, depth + 1);
        }
      }
    }
    return result;
  }
}
