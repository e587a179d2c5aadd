/** The programs as users run them, bundled from the sources as host-node/setup/bundle.mjs does. */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** Writes bin/NAME for each of the programs, and what they load besides the core, into a folder. */
export async function bundlePrograms(
  directory: string,
  names: readonly ('bhyve' | 'bhyvectl' | 'bhyveload' | 'grub-bhyve')[],
  extension: '.js' | '.mjs' = '.mjs',
): Promise<void> {
  const programs = names.map((name) => [`bin/${name}`, join(root, `host-node/bin/${name}.ts`)] as const);
  await build({
    entryPoints: { ...Object.fromEntries(programs), 'vcpu-worker': join(root, 'host-node/vcpu-worker.ts') },
    outdir: directory,
    outExtension: { '.js': extension },
    bundle: true,
    splitting: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    logLevel: 'error',
    // Packages in CommonJS (ws) call require() for Node's own modules.
    banner: {
      js: "import { createRequire as nodeCreateRequire } from 'node:module';\nconst require = nodeCreateRequire(import.meta.url);",
    },
  });
}
