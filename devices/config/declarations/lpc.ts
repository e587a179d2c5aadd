/** Devices behind the LPC bridge, `-l`. Their variables lie at the root of the tree, not under the bridge's PCI function. */
import { splitComma } from '../c-numbers.ts';
import type { LpcDeclaration } from '../declare.ts';
import { applyGenericOptions } from '../legacy.ts';
import type { ConfigNode } from '../tree.ts';

function comPort(number: number): LpcDeclaration {
  return {
    name: `com${number}`,
    summary: `16550 serial port ${number}: stdio, a terminal, tcp=ADDRESS:PORT, or ws=ADDRESS:PORT`,
    syntax: ',path',
    apply(root, configuration) {
      // Without a path the port exists and leads nowhere.
      if (configuration !== undefined && configuration !== '') root.set(`lpc.com${number}.path`, configuration);
    },
  };
}

/** What stands before the `=` of an option; a file's name may hold one, as in `opfs:vars.fd?base=BHYVE_VARS.fd`. */
const OPTION = /^[\w.]+=/;

/** `bootrom,ROM[,VARS][,name[=value]...]`. */
function applyBootRom(root: ConfigNode, configuration: string | undefined, argument: string): void {
  const [rom, rest] = splitComma(configuration ?? '');
  if (rom === '') throw root.tree.exit(`invalid bootrom option "${argument}"`);
  root.set('lpc.bootrom', rom);
  if (rest === undefined) return;
  const [variables, options] = splitComma(rest);
  if (OPTION.test(variables) || variables === '') {
    applyGenericOptions(root.createNode('lpc'), rest);
  } else {
    root.set('lpc.bootvars', variables);
    if (options !== undefined) applyGenericOptions(root.createNode('lpc'), options);
  }
}

/** `tpm,TYPE,PATH[,name=value...]`. */
function applyTpm(root: ConfigNode, configuration: string | undefined, argument: string): void {
  const [type, rest] = splitComma(configuration ?? '');
  if (type === '') throw root.tree.exit(`invalid tpm type "${argument}"`);
  const [path, options] = splitComma(rest ?? '');
  if (path === '') throw root.tree.exit(`invalid tpm path "${argument}"`);
  root.set('tpm.type', type);
  root.set('tpm.path', path);
  if (options !== undefined) applyGenericOptions(root.createNode('tpm'), options);
}

/** In the order in which `-l help` lists them. Names are matched in either case. */
export const LPC_DEVICES: readonly LpcDeclaration[] = [
  {
    name: 'bootrom',
    summary: 'Boot ROM below 4 GiB, and optionally the file that keeps its variables',
    syntax: ',romfile[,varfile][,name[=value]]...',
    apply: applyBootRom,
  },
  comPort(1),
  comPort(2),
  comPort(3),
  comPort(4),
  {
    name: 'tpm',
    summary: 'Trusted platform module',
    syntax: ',type,path[,version=2.0]',
    apply: applyTpm,
  },
  {
    name: 'pc-testdev',
    summary: 'Debug and test device of kvm-unit-tests',
    syntax: '',
    apply: (root) => root.set('lpc.pc-testdev', 'true'),
  },
];
