/** Typed settings out of a device's variables, derived from their declarations: nothing parses an option a second time. */
import type { VariableDeclaration } from './declare.ts';
import type { VariableType } from './variable-types.ts';

type Parsed<D extends VariableDeclaration> = D['type'] extends VariableType<infer T> ? T : never;

/** The parsed values of declared variables by name; one without a default may be undefined. */
export type Settings<L extends readonly VariableDeclaration[]> = {
  readonly [D in L[number] as D['name']]: D extends { readonly default: string } ? Parsed<D> : Parsed<D> | undefined;
};

/**
 * Reads the declared variables through `get`, filling in defaults. The values have passed `check` already (config/settings.ts does that
 * for a whole machine); text that its type does not take throws RangeError.
 */
export function readSettings<const L extends readonly VariableDeclaration[]>(
  declarations: L,
  get: (name: string) => string | undefined,
): Settings<L> {
  const values = declarations.map(({ name, type, default: fallback }) => {
    const text = get(name) ?? fallback;
    if (text === undefined) return [name, undefined] as const;
    const problem = type.check(text, name);
    if (problem !== undefined) throw new RangeError(problem);
    return [name, type.parse(text)] as const;
  });
  return Object.fromEntries(values) as Settings<L>;
}
