/** The mirror of Debian that this host itself uses. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const SOURCES = '/etc/apt/sources.list';
/** Debian's keys, by the package debian-archive-keyring. */
export const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function sourceFiles(): string[] {
  try {
    return readdirSync(`${SOURCES}.d`).map((name) => join(`${SOURCES}.d`, name));
  } catch {
    return [];
  }
}

/** A source of this host's packages by plain HTTP; undefined when it has none. */
export function hostMirror(): { readonly url: string; readonly suite: string; readonly host: string } | undefined {
  const text = [SOURCES, ...sourceFiles()].map(textOf).join('\n');
  const line = /^deb\s+(?:\[[^\]]*\]\s+)?(http:\S+)\s+(\S+)/m.exec(text);
  const url = line?.[1] ?? /^URIs:\s*(http:\S+)/m.exec(text)?.[1];
  const suite = line?.[2] ?? /^Suites:\s*(\S+)/m.exec(text)?.[1];
  return url === undefined || suite === undefined ? undefined : { url, suite, host: new URL(url).hostname };
}
