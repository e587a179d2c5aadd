/** The code of the vectors' instructions, for tests that need every instruction but no recorded result. */
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { VectorReader } from './format.ts';
import { WideReader } from './wide/format.ts';

export interface PooledInstruction {
  /** The form that it is an encoding of. */
  readonly form: string;
  readonly code: Uint8Array;
}

/** Every encoding once: of integer instructions, or (`wide`) of SIMD and x87. `perForm` limits how many of each form. */
export function instructionPool(wide: boolean, perForm = Infinity): PooledInstruction[] {
  const data = fileURLToPath(new URL('data', import.meta.url));
  const pool = new Map<string, PooledInstruction>();
  for (const name of readdirSync(data).sort()) {
    if (name.startsWith('wide-') !== wide) continue;
    const file = readFileSync(join(data, name));
    const reader = wide ? new WideReader(file) : new VectorReader(file);
    for (let forms = reader.varint(); forms > 0; forms--) {
      const form = reader.name();
      let taken = 0;
      for (let encodings = reader.varint(); encodings > 0; encodings--) {
        reader.varint();
        const code = Uint8Array.from(reader.bytes(reader.u8()));
        reader.u8();
        if (taken < perForm) {
          const key = Buffer.from(code).toString('hex');
          if (!pool.has(key)) taken++;
          pool.set(key, { form, code });
        }
        for (let vectors = reader.varint(); vectors > 0; vectors--) reader.read();
      }
    }
  }
  return [...pool.values()];
}
