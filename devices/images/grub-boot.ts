/**
 * What GRUB's configuration boots, as far as that is Linux: the default entry of the menu, or the commands themselves where there is no menu. Conditions are
 * looked at, variables put in; nothing is asked, and what GRUB would load for itself is not needed.
 */
import { ImageError, type ImageFiles } from './image.ts';
import { GrubError, parseGrubScript, type Statement, type Word } from './grub-script.ts';

const MAX_STEPS = 100_000;
const MAX_FILES = 8;
/** Linux takes 2 KiB of a command line; a variable of variables of variables is no longer either. */
const MAX_WORD_CHARACTERS = 64 * 1024;
/** Where packages of GRUB put their configuration. */
export const CONFIGURATION_FILES = ['/boot/grub/grub.cfg', '/grub/grub.cfg', '/boot/grub2/grub.cfg', '/grub2/grub.cfg'];

/** File systems by GRUB's names, without parentheses: `hd0,gpt2`, `cd0`. */
export interface GrubDevices {
  files(device: string): Promise<ImageFiles | undefined>;
  /** All of them, for `search --file`. */
  readonly names: readonly string[];
}

export interface LinuxBoot {
  readonly kernel: Uint8Array;
  /** Every initrd, one behind the other as GRUB puts them. */
  readonly initrd: Uint8Array | undefined;
  readonly commandLine: string;
}

interface Entry {
  readonly title: string;
  readonly id: string;
  readonly body: readonly Statement[];
  /** A submenu. */
  readonly isMenu: boolean;
}

class Booted extends Error {}

const OTHER_KERNELS = /^(k(free|net|open)bsd|multiboot2?|xen_hypervisor|chainloader|ntldr|appleloader)$/;
const LINUX = /^linux(16|efi)?$/;
const INITRD = /^initrd(16|efi)?$/;

class Interpreter {
  readonly #variables = new Map<string, string>([
    ['grub_platform', 'emu'],
    ['grub_cpu', 'x86_64'],
    ['feature_menuentry_id', 'y'],
  ]);
  #steps = 0;
  #sources = 0;
  entries: Entry[] = [];
  kernel: { readonly path: string; readonly words: readonly string[] } | undefined;
  initrds: string[] = [];

  constructor(
    private readonly devices: GrubDevices,
    root: string,
  ) {
    this.#variables.set('root', root);
  }

  get(name: string): string {
    return this.#variables.get(name) ?? '';
  }

  set(name: string, value: string): void {
    this.#variables.set(name, value);
  }

  /** The words of one: none, or several, when a variable outside quotation marks has such a value. */
  #expand(word: Word): string[] {
    let current: string | undefined = word.length === 0 ? '' : undefined;
    const words: string[] = [];
    let length = 0;
    for (const piece of word) {
      const value = piece.kind === 'text' ? piece.text : this.get(piece.name);
      length += value.length;
      if (length > MAX_WORD_CHARACTERS) throw new GrubError('the GRUB configuration makes a word that is too long');
      if (piece.kind === 'text' || piece.quoted) {
        current = (current ?? '') + value;
        continue;
      }
      const [first = '', ...others] = value.split(/\s+/);
      if (first !== '' || others.length > 0) current = (current ?? '') + first;
      for (const other of others) {
        if (current !== undefined && current !== '') words.push(current);
        current = other;
      }
    }
    if (current !== undefined) words.push(current);
    return words;
  }

  async #filesOf(path: string): Promise<[files: ImageFiles | undefined, path: string]> {
    const [, device, rest = path] = /^\(([^)]*)\)(.*)$/.exec(path) ?? [];
    // GRUB takes `root` with parentheses, too.
    return [await this.devices.files(device ?? this.get('root').replace(/^\(|\)$/g, '')), rest];
  }

  async read(path: string): Promise<Uint8Array | undefined> {
    const [files, name] = await this.#filesOf(path);
    return files?.read(name);
  }

  async #exists(path: string): Promise<boolean> {
    const [files, name] = await this.#filesOf(path);
    return ((await files?.read(name)) ?? (await files?.list(name))) !== undefined;
  }

  /** `[ ... ]`, as GRUB's scripts use it. */
  async #test(words: readonly string[]): Promise<boolean> {
    if (words[0] === '!') return !(await this.#test(words.slice(1)));
    for (const [operator, joins] of [
      ['-o', (a: boolean, b: boolean) => a || b],
      ['-a', (a: boolean, b: boolean) => a && b],
    ] as const) {
      const at = words.indexOf(operator);
      if (at > 0) return joins(await this.#test(words.slice(0, at)), await this.#test(words.slice(at + 1)));
    }
    const [first = '', second = '', third = ''] = words;
    if (words.length <= 1) return first !== '';
    if (words.length === 2) {
      if (first === '-z') return second === '';
      if (first === '-n') return second !== '';
      if (/^-[defs]$/.test(first)) return this.#exists(second);
      return false;
    }
    const numbers = [Number(first), Number(third)] as const;
    switch (second) {
      case '=':
      case '==':
        return first === third;
      case '!=':
        return first !== third;
      case '-eq':
        return numbers[0] === numbers[1];
      case '-ne':
        return numbers[0] !== numbers[1];
      case '-lt':
        return numbers[0] < numbers[1];
      case '-le':
        return numbers[0] <= numbers[1];
      case '-gt':
        return numbers[0] > numbers[1];
      case '-ge':
        return numbers[0] >= numbers[1];
      default:
        return false;
    }
  }

  /** Resolves to whether the last command succeeded. */
  async run(statements: readonly Statement[]): Promise<boolean> {
    let success = true;
    for (const statement of statements) {
      if (++this.#steps > MAX_STEPS) throw new GrubError('the GRUB configuration does not end');
      if (statement.kind === 'command') {
        const words = statement.words.flatMap((word) => this.#expand(word));
        success = await this.#command(words, statement.block);
        continue;
      }
      let body: readonly Statement[] = statement.otherwise;
      for (const branch of statement.branches) {
        if (!(await this.run(branch.condition))) continue;
        ({ body } = branch);
        break;
      }
      success = await this.run(body);
    }
    return success;
  }

  async #command(words: readonly string[], block: readonly Statement[] | undefined): Promise<boolean> {
    const [name = '', ...rest] = words;
    const assignment = name === 'set' ? rest[0] : /^\w+=/.test(name) ? name : undefined;
    if (assignment !== undefined) {
      const equals = assignment.indexOf('=');
      if (equals > 0) this.set(assignment.slice(0, equals), assignment.slice(equals + 1));
      return true;
    }
    if (name === '[' || name === 'test') return this.#test(rest.at(-1) === ']' ? rest.slice(0, -1) : rest);
    if (name === '!') return !(await this.#command(rest, block));
    if (name === 'false') return false;
    if (name === 'boot') throw new Booted();
    if (name === 'menuentry' || name === 'submenu') this.#addEntry(name, rest, block ?? []);
    else if (LINUX.test(name)) {
      this.kernel = { path: rest[0] ?? '', words: rest.slice(1) };
      this.initrds = [];
    } else if (INITRD.test(name)) this.initrds = rest;
    else if (name === 'search') return this.#search(rest);
    else if (/^(source|configfile|normal|\.)$/.test(name) && rest[0] !== undefined) return this.#source(rest[0]);
    else if (OTHER_KERNELS.test(name)) {
      throw new GrubError(
        `"${name}" is not for this loader, which enters Linux; bhyveload boots FreeBSD, and firmware (-l bootrom) everything else`,
      );
    }
    return true;
  }

  #addEntry(kind: string, words: readonly string[], body: readonly Statement[]): void {
    const at = words.indexOf('--id');
    const id = at === -1 ? '' : (words[at + 1] ?? '');
    this.entries.push({ title: words[0] ?? '', id, body, isMenu: kind === 'submenu' });
  }

  /** Only `--file` finds something: the root that was given is taken to be the one that is looked for. */
  async #search(words: readonly string[]): Promise<boolean> {
    const variable = words.map((word) => /^--set(?:=(.*))?$/.exec(word)).find((match) => match);
    const target = words.filter((word) => !word.startsWith('-')).at(-1);
    if (!words.some((word) => word === '--file' || word === '-f') || target === undefined) return true;
    for (const device of this.devices.names) {
      if (!(await this.#exists(`(${device})${target}`))) continue;
      this.set(variable?.[1] ?? 'root', device);
      return true;
    }
    return false;
  }

  async #source(path: string): Promise<boolean> {
    if (++this.#sources > MAX_FILES) throw new GrubError('the GRUB configuration reads too many files');
    const bytes = await this.read(path);
    if (!bytes) return false;
    return this.run(parseGrubScript(new TextDecoder().decode(bytes)));
  }

  /** Runs the entry that `default` names, in submenus too. */
  async bootDefault(): Promise<void> {
    let names = this.get('default').split('>');
    while (this.entries.length > 0) {
      const [wanted = ''] = names;
      names = names.slice(1);
      const number = /^\d+$/.test(wanted) ? Number(wanted) : -1;
      const found = this.entries.find(({ title, id }, index) => index === number || title === wanted || id === wanted);
      const entry = found ?? this.entries[0];
      this.entries = [];
      if (entry) await this.run(entry.body);
      if (entry?.isMenu !== true) return;
    }
  }
}

/** As GRUB joins the words: those with blanks in quotation marks. */
function joined(words: readonly string[]): string {
  return words.map((word) => (/\s/.test(word) ? `"${word.replace(/["\\]/g, '\\$&')}"` : word)).join(' ');
}

/** Finds what a configuration boots. Throws {@link GrubError} with the reason when that is nothing, or nothing for this loader. */
export async function readGrubBoot(text: string, root: string, devices: GrubDevices): Promise<LinuxBoot> {
  const interpreter = new Interpreter(devices, root);
  try {
    await interpreter.run(parseGrubScript(text));
    await interpreter.bootDefault();
  } catch (error) {
    if (!(error instanceof Booted)) throw error;
  }
  const { kernel } = interpreter;
  if (!kernel) throw new GrubError('the GRUB configuration boots no Linux kernel');
  const file = async (path: string): Promise<Uint8Array> => {
    const bytes = await interpreter.read(path);
    if (!bytes) throw new ImageError(`There is no file ${path}.`);
    return bytes;
  };
  const initrds: Uint8Array[] = [];
  for (const path of interpreter.initrds) initrds.push(await file(path));
  return {
    kernel: await file(kernel.path),
    initrd: initrds.length === 0 ? undefined : concatenated(initrds),
    commandLine: joined([`BOOT_IMAGE=${kernel.path}`, ...kernel.words]),
  };
}

/** Each begins at a multiple of four bytes, as Linux expects it. */
function concatenated(files: readonly Uint8Array[]): Uint8Array {
  const padded = (length: number): number => (length + 3) & ~3;
  const bytes = new Uint8Array(files.reduce((sum, { length }) => sum + padded(length), 0));
  let at = 0;
  for (const file of files) {
    bytes.set(file, at);
    at += padded(file.length);
  }
  return bytes;
}
