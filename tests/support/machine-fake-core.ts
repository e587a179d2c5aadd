/** The core without a processor (machine-fake-core.entry.ts) as bytes, for programs that read it from a file. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import asc from 'assemblyscript/asc';

const root = fileURLToPath(new URL('../..', import.meta.url));

export async function fakeCoreBytes(): Promise<Uint8Array> {
  const directory = mkdtempSync(join(tmpdir(), 'webhyve-core-'));
  try {
    const out = join(directory, 'core.wasm');
    const { error, stderr } = await asc.main([
      ...['tests/support/machine-fake-core.entry.ts', '--config', 'none', '--baseDir', root, '--outFile', out],
      ...[
        '--runtime',
        'stub',
        '--importMemory',
        '--exportTable',
        '--sharedMemory',
        '--initialMemory',
        '512',
        '--maximumMemory',
        '65536',
      ],
      ...['--memoryBase', '1024', '--enable', 'threads', '--use', 'abort=', '--exportStart', '_start'],
    ]);
    if (error) throw new Error(stderr.toString());
    return readFileSync(out);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** A boot ROM that makes vCPU 0 play a script, with GPR 2 set. */
export function scriptRom(script: number, gpr2 = 0): Uint8Array {
  const rom = new Uint8Array(4096);
  rom[4080] = 0xf5;
  rom[4081] = script;
  new DataView(rom.buffer).setUint32(4084, gpr2, true);
  return rom;
}
