/** The files of this machine that a bhyve(8) command line names, and the line with addresses in their place. */
import { statSync } from 'node:fs';
import { basename, resolve } from 'node:path';

/** Options whose argument may name files, between commas or after `name=`. */
const FILE_OPTIONS = new Set(['-f', '-s', '-l', '-k', '-r']);

export interface LocalFile {
  /** Absolute path on this machine. */
  readonly path: string;
  /** Last part of its address; unique in the line. */
  readonly name: string;
  /** A device has it (-s): it is read here and there. */
  readonly disk: boolean;
  /** It is the argument of -r: a snapshot, with its F.meta beside it. */
  readonly snapshot: boolean;
}

function isFile(path: string): boolean {
  try {
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

/**
 * Finds the files and replaces each by what `address` makes of it. Relative names are looked up in `directory`. The backends of COM ports are
 * left alone.
 */
export function replaceLocalFiles(
  argv: readonly string[],
  directory: string,
  address: (file: LocalFile) => string,
): { readonly argv: string[]; readonly files: readonly LocalFile[] } {
  const byPath = new Map<string, LocalFile>();
  const names = new Set<string>();
  const take = (path: string, option: string): LocalFile => {
    const known = byPath.get(path);
    if (known) return known;
    const plain = basename(path).replace(/[^\w.-]/g, '_');
    let name = plain;
    for (let number = 2; names.has(name); number++) name = `${number}-${plain}`;
    names.add(name);
    const file = { path, name, disk: option === '-s', snapshot: option === '-r' };
    byPath.set(path, file);
    return file;
  };
  const replaced = argv.map((word, index) => {
    const option = argv[index - 1] ?? '';
    if (!FILE_OPTIONS.has(option) || /^com\d,/i.test(word)) return word;
    const fields = word.split(',').map((field) => {
      const equals = field.indexOf('=');
      for (const at of [0, equals + 1]) {
        const path = resolve(directory, field.slice(at));
        if (field.length > at && isFile(path)) return field.slice(0, at) + address(take(path, option));
      }
      return field;
    });
    return fields.join(',');
  });
  return { argv: replaced, files: [...byPath.values()] };
}
