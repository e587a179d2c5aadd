/** Single files of Debian packages for tests: downloaded, never installed, and kept in the cache. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageFiles } from '../../host-node/setup/deb.mjs';
import { cacheDirectory } from '../../host-node/setup/fetch-guest.mjs';

/** Without a network apt-get tries for long. */
const DOWNLOAD_TIMEOUT_MS = 60_000;

/**
 * Path of a copy of the first file of `name` whose path in the package (without a leading slash) matches; undefined when the package cannot be
 * had here.
 */
export function debianFile(name: string, pattern: RegExp): string | undefined {
  const copy = join(cacheDirectory(), `${name}-${pattern.source.replace(/[^\w.-]+/g, '')}`);
  if (existsSync(copy)) return copy;
  mkdirSync(cacheDirectory(), { recursive: true });
  const work = mkdtempSync(join(cacheDirectory(), 'package-'));
  try {
    spawnSync('apt-get', ['-q', '-o', 'APT::Sandbox::User=', 'download', name], {
      cwd: work,
      timeout: DOWNLOAD_TIMEOUT_MS,
    });
    const archive = readdirSync(work).find((file) => file.endsWith('.deb'));
    if (archive === undefined) return undefined;
    for (const [, bytes] of packageFiles(join(work, archive), (path: string) => pattern.test(path))) {
      const partial = join(work, 'file');
      writeFileSync(partial, bytes);
      renameSync(partial, copy);
      return copy;
    }
    return undefined;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}
