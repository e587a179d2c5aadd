/** A kernel that a program gives its machine: a path, a URL, or the bytes themselves. */
import { readFile } from 'node:fs/promises';
import { setKernel, type ConfigTree } from '../devices/config/index.ts';

/** A path, where it lies (`file:`, or what `fetch` knows), or the bytes. */
export type Source = string | URL | Uint8Array;

export interface KernelOptions {
  /** A kernel without firmware, as `-f kexec,KERNEL,INITRD,CMDLINE` names one. */
  readonly kernel?: Source | undefined;
  readonly initrd?: Source | undefined;
  readonly cmdline?: string | undefined;
}

type ReadFile = (path: string) => Promise<Uint8Array>;

async function readUrl(url: URL): Promise<Uint8Array> {
  if (url.protocol === 'file:') return await readFile(url);
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url.href}: ${response.status} ${response.statusText}`);
  return new Uint8Array(await response.arrayBuffer());
}

/** Puts the kernel into the configuration; returns what reads the files that it names there. */
export function useKernel(
  tree: ConfigTree,
  options: KernelOptions,
  readPath: ReadFile = (path) => readFile(path),
): ReadFile {
  const { kernel, initrd, cmdline } = options;
  if (kernel === undefined) {
    if (initrd !== undefined || cmdline !== undefined) throw new TypeError('initrd and cmdline belong to a kernel');
    return readPath;
  }
  const given = new Map<string, URL | Uint8Array>();
  const path = (name: string, source: Source | undefined): string | undefined => {
    if (source === undefined || typeof source === 'string') return source;
    const label = source instanceof URL ? source.href : `(${name})`;
    given.set(label, source);
    return label;
  };
  setKernel(tree, { protocol: 'auto', kernel: path('kernel', kernel) ?? '', initrd: path('initrd', initrd), cmdline });
  return async (file) => {
    const source = given.get(file);
    if (source === undefined) return await readPath(file);
    return source instanceof URL ? await readUrl(source) : source;
  };
}
