/** The page as it is served: its files from the package, and its index with what it is made for. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { PageData } from '../../devices/publish/page-data.ts';

/** The folder that `bundle-browser.mjs` fills. */
export function browserFolder(): string {
  for (const name of ['./browser', '../browser', '../../dist/browser']) {
    const folder = fileURLToPath(new URL(name, import.meta.url));
    if (existsSync(join(folder, 'page.js'))) return folder;
  }
  throw new Error('the files of the page are missing from this installation');
}

/** Names of the files that a page needs besides its index. */
export function pageAssets(folder: string): string[] {
  return readdirSync(folder).filter((name) =>
    /^(chunk-\w+|page|machine-worker|vcpu-worker|service-worker|audio-worklet)\.(js|css)$|^core\.wasm$|^icon\.svg$/.test(
      name,
    ),
  );
}

/**
 * What the page may do: run its own scripts and WebAssembly, load its own styles, and fetch from itself and the given sources. Nothing else.
 */
export function contentSecurityPolicy(connect: readonly string[]): string {
  return [
    "default-src 'none'",
    "script-src 'self' 'wasm-unsafe-eval'",
    "style-src 'self'",
    "img-src 'self'",
    "worker-src 'self'",
    `connect-src 'self' ${connect.join(' ')}`.trimEnd(),
    "base-uri 'none'",
    "form-action 'none'",
  ].join('; ');
}

function escapeJson(value: unknown): string {
  // Nothing in it may end the script element.
  return JSON.stringify(value, undefined, 2).replaceAll('<', '\\u003c');
}

function escapeHtml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;');
}

/** The page's index for `data`; `policy` goes into it where no server can send it as a header. */
export function renderIndex(folder: string, data: PageData, policy?: string): string {
  const template = readFileSync(join(folder, 'index.html'), 'utf8');
  const filled = template.replace(
    /(<script type="application\/json" id="webhyve-page">)[\s\S]*?(<\/script>)/,
    (_, open: string, close: string) => `${open}${escapeJson(data)}${close}`,
  );
  const titled =
    data.title === undefined
      ? filled
      : filled.replace('<title>webhyve</title>', `<title>${escapeHtml(data.title)}</title>`);
  if (policy === undefined) return titled;
  const meta = `<meta http-equiv="Content-Security-Policy" content="${escapeHtml(policy)}" />`;
  return titled.replace('<meta charset="utf-8" />', `<meta charset="utf-8" />\n    ${meta}`);
}
