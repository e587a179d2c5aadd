/** The core's table of SIMD instructions. */
import { compileCore } from '../../support/compile-core.ts';
import type { Describe } from './simd-forms.ts';

/** simdDescribe of the core's table, for listing its forms. */
export async function loadDescribe(): Promise<Describe> {
  const memory = new WebAssembly.Memory({ initial: 512, maximum: 65536, shared: true });
  const module = await compileCore('tests/core/simd.entry.ts');
  const env: Record<string, WebAssembly.ImportValue> = { memory };
  for (const item of WebAssembly.Module.imports(module)) {
    if (item.kind === 'function') env[item.name] = () => 0;
  }
  const { exports } = new WebAssembly.Instance(module, { env });
  (exports._start as (() => void) | undefined)?.();
  return exports.simdDescribe as Describe;
}
