/** bhyvectl(8). */
import { ignoreLostReaders } from '../node-host.ts';
import { runBhyvectl } from '../registry/bhyvectl.ts';
import { Registry } from '../registry/registry.ts';
import { openRuntimeDir } from '../registry/runtime-dir.ts';

ignoreLostReaders();
process.exitCode = await runBhyvectl(process.argv.slice(2), () => new Registry(openRuntimeDir()), {
  stdout: (text) => process.stdout.write(text),
  stderr: (text) => process.stderr.write(text),
});
