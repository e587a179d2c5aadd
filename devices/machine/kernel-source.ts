/** A kernel that a program gives its machine: a path, a URL, or the bytes themselves. */
import { setKernel, type ConfigTree } from '../config/index.ts';

/** A path as the command line names one, a URL, or the bytes. */
export type Source = string | URL | Uint8Array;

export interface KernelOptions {
  /** A kernel without firmware, as `-f kexec,KERNEL,INITRD,CMDLINE` names one. */
  readonly kernel?: Source | undefined;
  readonly initrd?: Source | undefined;
  readonly cmdline?: string | undefined;
}

export type ReadFile = (path: string) => Promise<Uint8Array>;

/**
 * Puts the kernel into the configuration; returns what reads the files that it names there. `readPath` reads all others, `readUrl` those
 * given as URLs. Throws TypeError when there is an initrd or a command line but no kernel.
 */
export function useKernel(
  tree: ConfigTree,
  options: KernelOptions,
  readPath: ReadFile,
  readUrl: (url: URL) => Promise<Uint8Array>,
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
