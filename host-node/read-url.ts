/** Files that programs name by URL. */
import { readFile } from 'node:fs/promises';

/** The whole file at a `file:` URL, or at one that `fetch` knows. */
export async function readUrl(url: URL): Promise<Uint8Array> {
  if (url.protocol === 'file:') return await readFile(url);
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url.href}: ${response.status} ${response.statusText}`);
  return new Uint8Array(await response.arrayBuffer());
}
