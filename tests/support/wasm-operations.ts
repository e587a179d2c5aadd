/** How many operations the functions of a WebAssembly module have (core specification, chapter 5): those that the core makes. */
import { WasmReader } from '../../devices/machine/wasm-reader.ts';
import { wasmText } from '../../devices/machine/wasm-text.ts';

export interface ModuleSize {
  readonly functions: number;
  /** Bytes of the code section's bodies. */
  readonly bodyBytes: number;
  /** Operations other than `end`. */
  readonly operations: number;
}

const CODE_SECTION = 10;
const HEADER_BYTES = 8;

/** Throws when a body holds an operation that wasmText() does not know. */
function countOperations(body: Uint8Array): number {
  const lines = wasmText(body).map((line) => line.trim());
  const remark = lines.find((line) => line.startsWith(';;'));
  if (remark !== undefined) throw new Error(remark);
  return lines.filter((line) => line !== 'end' && !line.startsWith('(local ')).length;
}

export function moduleSize(module: Uint8Array): ModuleSize {
  const reader = new WasmReader(module);
  reader.at = HEADER_BYTES;
  let functions = 0;
  let bodyBytes = 0;
  let operations = 0;
  while (reader.at < module.length) {
    const section = reader.byte();
    const lengthBytes = reader.unsigned();
    const end = reader.at + lengthBytes;
    if (section === CODE_SECTION) {
      functions = reader.unsigned();
      for (let n = 0; n < functions; n++) {
        const bytes = reader.unsigned();
        bodyBytes += bytes;
        operations += countOperations(module.subarray(reader.at, reader.at + bytes));
        reader.at += bytes;
      }
    }
    reader.at = end;
  }
  return { functions, bodyBytes, operations };
}
