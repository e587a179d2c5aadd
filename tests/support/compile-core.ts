import { createHash } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, readFileSync, readdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import asc from 'assemblyscript/asc';
import { newestMs } from '../../host-node/setup/common.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));

function sourceHash(entry: string, target: string): string {
  const hash = createHash('sha256')
    .update(target)
    .update(readFileSync(join(root, 'asconfig.json')));
  const files = [entry];
  for (const dirent of readdirSync(join(root, 'core-as'), { recursive: true, withFileTypes: true })) {
    if (dirent.isFile() && dirent.name.endsWith('.ts')) files.push(join(dirent.parentPath, dirent.name));
  }
  for (const file of files.sort()) hash.update(file).update(readFileSync(file));
  return hash.digest('hex').slice(0, 16);
}

export type CoreTarget = 'debug' | 'checked' | 'release';

/** The build that tests run on: CORE_TARGET in the environment, or else the one they usually do. `checked` has assertions. */
export function coreTarget(usual: CoreTarget): CoreTarget {
  return (process.env['CORE_TARGET'] as CoreTarget | undefined) ?? usual;
}

/** The core that `npm test` has built for the programs, when it is newer than all it is made of: one compilation less. */
function builtCore(entry: string, target: CoreTarget): string | undefined {
  if (entry !== 'core-as/index.ts' || target !== 'release') return undefined;
  const built = join(root, 'build', 'core.wasm');
  const sources = Math.max(
    ...['core-as', 'asconfig.json', 'package-lock.json'].map((path) => newestMs(join(root, path))),
  );
  return newestMs(built) > sources ? built : undefined;
}

/** Compiles as {@link compileCore} does and returns the path of the result. */
export async function compiledCorePath(entry: string, target: CoreTarget): Promise<string> {
  const outDir = join(root, 'build', 'test');
  const out = join(outDir, `${entry.replace(/\W+/g, '-')}-${sourceHash(join(root, entry), target)}.wasm`);
  if (!existsSync(out)) {
    mkdirSync(outDir, { recursive: true });
    const partial = `${out}.${process.pid}`;
    const built = builtCore(entry, target);
    if (built !== undefined) {
      copyFileSync(built, partial);
      renameSync(partial, out);
      return out;
    }
    const config = JSON.parse(readFileSync(join(root, 'asconfig.json'), 'utf8')) as {
      options: Record<string, unknown>;
      targets: Record<string, Record<string, unknown>>;
    };
    const args: string[] = [entry, '--config', 'none', '--baseDir', root, '--outFile', partial];
    const options = { ...config.options, ...config.targets[target] };
    for (const [name, value] of Object.entries(options)) {
      if (['outFile', 'textFile', 'sourceMap'].includes(name) || value === false) continue;
      for (const item of Array.isArray(value) ? (value as unknown[]) : [value]) {
        args.push(`--${name}`);
        if (item !== true) args.push(String(item));
      }
    }
    const { error, stderr } = await asc.main(args);
    if (error) throw new Error(`${entry} does not compile:\n${stderr.toString()}`);
    renameSync(partial, out);
  }
  return out;
}

/**
 * Compiles an AssemblyScript entry (a path from the repository's root) with the options of asconfig.json and returns the
 * module. Results are cached in build/test by a hash of all core sources, so that test files share one compilation.
 */
export async function compileCore(
  entry = 'core-as/index.ts',
  target: CoreTarget = coreTarget('checked'),
): Promise<WebAssembly.Module> {
  return new WebAssembly.Module(readFileSync(await compiledCorePath(entry, target)));
}
