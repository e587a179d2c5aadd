/**
 * What bhyveload and grub-bhyve leave for bhyve: on FreeBSD a kernel in the memory of a machine that exists already, here the files, kept with the
 * machine's name until bhyve takes them or `bhyvectl --destroy` removes both.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ConfigTree } from '../devices/config/index.ts';
import type { FreebsdModule } from '../devices/images/freebsd-boot.ts';
import type { MachineRecord, Registry } from './registry/registry.ts';

const DESCRIPTION = 'boot.json';

/** A kernel with what it is booted with. */
export interface LoadedBoot {
  /** A value of `loader.protocol`. */
  readonly protocol: 'freebsd' | 'auto';
  readonly kernel: Uint8Array;
  readonly initrd: Uint8Array | undefined;
  readonly commandLine: string;
  readonly modules: readonly FreebsdModule[];
}

interface Description {
  readonly protocol: string;
  readonly hasInitrd: boolean;
  readonly commandLine: string;
  readonly modules: readonly { readonly name: string; readonly type?: string | undefined }[];
}

/** Keeps what is to be booted under a name. Throws NameError when the name is taken (`vm_create`). */
export async function leaveLoaded(registry: Registry, name: string, boot: LoadedBoot): Promise<void> {
  const { id } = registry.newLife();
  const record: MachineRecord = { id, state: 'ended', pid: 0, socket: '', reason: 'loaded' };
  const folder = registry.bootFolder(record);
  mkdirSync(folder, { mode: 0o700 });
  writeFileSync(join(folder, 'kernel'), boot.kernel);
  for (const [index, { bytes }] of boot.modules.entries()) writeFileSync(join(folder, `module${index}`), bytes);
  if (boot.initrd) writeFileSync(join(folder, 'initrd'), boot.initrd);
  const description: Description = {
    protocol: boot.protocol,
    hasInitrd: boot.initrd !== undefined,
    commandLine: boot.commandLine,
    modules: boot.modules.map(({ name: module, type }) => ({ name: module, type })),
  };
  writeFileSync(join(folder, DESCRIPTION), JSON.stringify(description));
  try {
    await registry.claim(name, record, true);
  } catch (error) {
    registry.removeSocket(record);
    throw error;
  }
}

/** Files of the host by path, in memory: they are gone from the disk when the machine takes its name. */
export type LoadedFiles = ReadonlyMap<string, Uint8Array>;

/**
 * Sets the variables by which a machine boots what a loader left, unless the configuration names something to boot itself. Returns
 * the files that they name.
 */
export function takeLoaded(registry: Registry, name: string, tree: ConfigTree): LoadedFiles | undefined {
  if (['loader.kernel', 'lpc.bootrom', 'bootrom'].some((path) => tree.getRaw(path) !== undefined)) return undefined;
  const record = registry.read(name);
  const folder = record && registry.bootFolder(record);
  if (folder === undefined || !existsSync(join(folder, DESCRIPTION))) return undefined;
  const description = JSON.parse(readFileSync(join(folder, DESCRIPTION), 'utf8')) as Description;
  const escaped = (text: string): string => text.replace(/[\\%]/g, '\\$&');
  const files = new Map<string, Uint8Array>();
  const add = (file: string): string => {
    const path = join(folder, file);
    files.set(path, new Uint8Array(readFileSync(path)));
    return escaped(path);
  };
  tree.set('loader.protocol', description.protocol);
  tree.set('loader.kernel', add('kernel'));
  if (description.hasInitrd) tree.set('loader.initrd', add('initrd'));
  tree.set('loader.cmdline', escaped(description.commandLine));
  for (const [index, { name: module, type }] of description.modules.entries()) {
    tree.set(`loader.module.${index}.path`, add(`module${index}`));
    tree.set(
      `loader.module.${index}.args`,
      `name=${module}${type === undefined ? '' : ` type=${type}`}`.replace(/%/g, '\\%'),
    );
  }
  return files;
}
