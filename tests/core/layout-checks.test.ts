/** The assertions about layout.ts: a build with assertions starts, and does not when the layout is wrong. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import asc from 'assemblyscript/asc';
import { expect, test } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** Compiles the assertions alone over a changed layout.ts, and starts them. */
async function start(change: (layout: string) => string): Promise<void> {
  let binary: Uint8Array | undefined;
  const args = ['core-as/layout-checks.ts', '--config', 'none', '--baseDir', root, '--outFile', 'checks.wasm'];
  args.push(
    '--runtime',
    'stub',
    '--use',
    'abort=',
    '--importMemory',
    '--memoryBase',
    '1024',
    '--exportStart',
    '_start',
  );
  const { error, stderr } = await asc.main(args, {
    readFile: (name, baseDir) => {
      try {
        const text = readFileSync(`${baseDir}/${name}`, 'utf8');
        return name === 'core-as/layout.ts' ? change(text) : text;
      } catch {
        return null;
      }
    },
    writeFile: (name, contents) => {
      if (name === 'checks.wasm') binary = contents as Uint8Array;
    },
  });
  if (error || !binary) throw new Error(`layout-checks.ts does not compile:\n${stderr.toString()}`);
  const memory = new WebAssembly.Memory({ initial: 1 });
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(Buffer.from(binary)), { env: { memory } });
  (exports._start as () => void)();
}

/** Changes a declaration, which must be there. */
function declare(name: string, value: string): (layout: string) => string {
  return (layout) => {
    const declaration = new RegExp(`^export const ${name} = .*;$`, 'm');
    expect(layout).toMatch(declaration);
    return layout.replace(declaration, `export const ${name} = ${value};`);
  };
}

test('the layout is sound', { timeout: 120_000 }, async () => {
  await start((layout) => layout);
});

test.each([
  ['a ring whose sequence numbers do not wrap', 'CODE_RING_ENTRIES', '200'],
  ['a ring that reaches into the next region', 'CODE_RING_ENTRIES', '4096'],
  ['registers beyond the reach of a byte', 'R_ZERO', '0x100'],
  ['regions that overlap', 'R_LAPIC_SIZE', '0x1800'],
  ['a field that is not aligned', 'R_EXIT_DEADLINE_NS', '0x3014'],
  ['a region that is not where the one before it ends', 'JIT_PAGES', '0x15180'],
  ['tables that do not fit the cache of code', 'REGION_SLOTS', '0x10000'],
])('%s: %s = %s stops a build with assertions', { timeout: 120_000 }, async (_, name, value) => {
  await expect(start(declare(name, value))).rejects.toThrow(WebAssembly.RuntimeError);
});
