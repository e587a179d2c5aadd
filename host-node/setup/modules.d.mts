export const WANTED_MODULES: readonly string[];
export const GENERIC_MODULES: readonly string[];
export function moduleDependencies(bytes: Buffer): string[];
export function selectModules(
  files: ReadonlyMap<string, Buffer>,
  wanted?: readonly string[],
): [name: string, bytes: Buffer][];
