/** The vCPU worker, bundled on demand: Node 20 cannot load TypeScript in a worker thread. */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('../..', import.meta.url));
let bundled: Promise<URL> | undefined;

/** Path of the bundled worker; bundled once per test process. */
export function vcpuWorkerForTests(): Promise<URL> {
  bundled ??= (async () => {
    const directory = join(root, 'build', 'test');
    mkdirSync(directory, { recursive: true });
    const outfile = join(directory, `vcpu-worker-${process.pid}.mjs`);
    await build({
      entryPoints: [join(root, 'host-node/vcpu-worker.ts')],
      outfile,
      bundle: true,
      platform: 'node',
      format: 'esm',
      target: 'node20',
      sourcemap: 'inline',
      logLevel: 'error',
    });
    process.once('exit', () => rmSync(outfile, { force: true }));
    return pathToFileURL(outfile);
  })();
  return bundled;
}
