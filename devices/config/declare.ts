/**
 * A declaration says once what there is to know about a device's or the machine's variables. Parsing, validation, help and
 * the generated reference (docs/devices.md) all read it.
 */
import type { LegacyForm } from './legacy.ts';
import type { ConfigNode } from './tree.ts';
import type { VariableType } from './variable-types.ts';

export interface VariableDeclaration {
  /** Path below the device's node. Parts in capitals stand for others: {@link PLACEHOLDERS} (`port.N.path`). */
  readonly name: string;
  readonly type: VariableType;
  /** What an unset variable counts as; absent when there is nothing or when it is derived. */
  readonly default?: string;
  /** One sentence, without a final full stop. */
  readonly help: string;
}

export interface DeviceDeclaration {
  /** Name in `-s slot,NAME` and in the variable `device`. */
  readonly name: string;
  readonly summary: string;
  /** The device that this name is another spelling of; the variable `device` then holds that name. */
  readonly aliasOf?: string;
  readonly legacy: LegacyForm;
  /** Variables set by the name alone, before the configuration text is read. */
  readonly preset?: Readonly<Record<string, string>>;
  readonly variables: readonly VariableDeclaration[];
  /** A machine has at most one of them: what a second one is told. */
  readonly onlyOne?: string;
  /** What is missing or contradicts itself although every single value is well formed: a message, or undefined. */
  check?(node: ConfigNode): string | undefined;
  /** The same of what only opening the backend shows: found when the device is built, after the devices in the slots before it. */
  checkBackend?(node: ConfigNode): string | undefined;
}

/** An LPC device, `-l NAME[,conf]`. Its variables are paths from the tree's root. */
export interface LpcDeclaration {
  readonly name: string;
  readonly summary: string;
  readonly syntax: string;
  /** `configuration` is undefined when there was no comma; `argument` is the option's whole argument. */
  apply(node: ConfigNode, configuration: string | undefined, argument: string): void;
}

/** What the parts of a name in capitals stand for. */
const PLACEHOLDERS: Readonly<Record<string, string>> = {
  N: '\\d+',
  LEAF: '(?:0[xX][\\da-fA-F]{1,8}|\\d+)',
  SUBLEAF: '(?:0[xX][\\da-fA-F]{1,8}|\\d+)',
  REGISTER: 'e[abcd]x',
};

const patterns = new WeakMap<readonly VariableDeclaration[], readonly (readonly [RegExp, VariableDeclaration])[]>();

/** The declaration that covers a variable's path, if there is one. */
export function findVariable(
  declarations: readonly VariableDeclaration[],
  path: string,
): VariableDeclaration | undefined {
  let compiled = patterns.get(declarations);
  if (!compiled) {
    compiled = declarations.map((declaration) => {
      const parts = declaration.name.split('.').map((part) => PLACEHOLDERS[part] ?? part.replace(/\W/g, '\\$&'));
      return [new RegExp(`^${parts.join('\\.')}$`), declaration] as const;
    });
    patterns.set(declarations, compiled);
  }
  return compiled.find(([pattern]) => pattern.test(path))?.[1];
}
