/**
 * `-f`: xhyve's direct boot (`kexec,KERNEL[,INITRD[,CMDLINE]]`, `multiboot,KERNEL[,MODULE[,CMDLINE]]`, `bootrom,FILE`), further
 * modules for either (`module,FILE[,ARGUMENTS]`, as GRUB's command), or an item for the firmware's configuration interface as in later
 * versions of bhyve (`[name=]NAME,(string|file)=DATA`).
 */
import { splitComma } from './c-numbers.ts';
import { BhyveExit, EX_USAGE } from './errors.ts';
import type { ConfigTree } from './tree.ts';

/** One `-f NAME,...`: the text itself, or the path of the file that holds the bytes. */
export type FwCfgItem =
  { readonly name: string; readonly text: string } | { readonly name: string; readonly file: string };

/** QEMU's fw_cfg directory holds names of 56 bytes including the final NUL. */
const FW_CFG_NAME_BYTES = 56;

/** Values of `-f` are meant literally: hides `%` and `\` from the expansion that reading a variable does. */
function literal(value: string): string {
  return value.includes('%') ? value.replace(/[\\%]/g, '\\$&') : value;
}

/** A kernel that is loaded without firmware; paths as the host reads them. */
export interface DirectKernel {
  readonly protocol: 'auto' | 'multiboot';
  readonly kernel: string;
  readonly initrd?: string | undefined;
  readonly cmdline?: string | undefined;
}

/** Sets the loader's variables. */
export function setKernel(tree: ConfigTree, { protocol, kernel, initrd, cmdline }: DirectKernel): void {
  tree.set('loader.protocol', protocol);
  tree.set('loader.kernel', literal(kernel));
  if (initrd !== undefined && initrd !== '') tree.set('loader.initrd', literal(initrd));
  if (cmdline !== undefined) tree.set('loader.cmdline', literal(cmdline));
}

function applyKernel(
  tree: ConfigTree,
  protocol: DirectKernel['protocol'],
  configuration: string,
  argument: string,
): void {
  const [kernel, rest] = splitComma(configuration);
  if (kernel === '') throw tree.exit(`-f ${argument}: a kernel's path is expected`, EX_USAGE);
  const [initrd, cmdline] = rest === undefined ? [''] : splitComma(rest);
  setKernel(tree, { protocol, kernel, initrd, cmdline });
}

/** `-f module,FILE[,ARGUMENTS]`: one more after those that are there. */
function applyModule(tree: ConfigTree, configuration: string, argument: string): void {
  const [path, args] = splitComma(configuration);
  if (path === '') throw tree.exit(`-f ${argument}: a module's path is expected`, EX_USAGE);
  let number = 0;
  while (tree.getRaw(`loader.module.${number}.path`) !== undefined) number++;
  tree.set(`loader.module.${number}.path`, literal(path));
  if (args !== undefined) tree.set(`loader.module.${number}.args`, literal(args));
}

function parseFwCfgItem(tree: ConfigTree, argument: string): FwCfgItem {
  const [nameField, rest] = splitComma(argument);
  const name = nameField.startsWith('name=') ? nameField.slice('name='.length) : nameField;
  const [, kind, value] = /^(string|file)=(.*)$/s.exec(rest ?? '') ?? [];
  if (name === '' || new TextEncoder().encode(name).length >= FW_CFG_NAME_BYTES || value === undefined) {
    throw new BhyveExit(
      EX_USAGE,
      `Invalid fw_cfg option "${argument}"\n-f [name=]<name>,(string|file)=<value>\n` +
        `${tree.programName}: invalid fwcfg item '${argument}'\n`,
    );
  }
  return kind === 'string' ? { name, text: value } : { name, file: value };
}

/** Applies one `-f`; returns the item when it is one for the firmware. Exits with status 64 when it is neither. */
export function applyFirmwareOption(tree: ConfigTree, argument: string): FwCfgItem | undefined {
  const [kind, rest] = splitComma(argument);
  switch (kind) {
    case 'kexec':
      applyKernel(tree, 'auto', rest ?? '', argument);
      return undefined;
    case 'multiboot':
      applyKernel(tree, 'multiboot', rest ?? '', argument);
      return undefined;
    case 'module':
      applyModule(tree, rest ?? '', argument);
      return undefined;
    case 'bootrom':
      if (rest === undefined || rest === '') throw tree.exit(`invalid bootrom option "${argument}"`);
      tree.set('lpc.bootrom', literal(rest));
      return undefined;
    default:
      return parseFwCfgItem(tree, argument);
  }
}
