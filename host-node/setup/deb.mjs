/** Reads files out of Debian packages without installing them: deb(5), an ar archive that holds a compressed tar. */
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { runCaptured, SetupError } from './common.mjs';

const TAR_BLOCK = 512;

function tarText(bytes) {
  const end = bytes.indexOf(0);
  return bytes.subarray(0, end === -1 ? bytes.length : end).toString();
}

/** Every regular file of a tar archive (POSIX ustar with GNU long names) as [path without "./", bytes]. */
export function* tarFiles(tar) {
  let at = 0;
  let longName;
  while (at + TAR_BLOCK <= tar.length) {
    const header = tar.subarray(at, at + TAR_BLOCK);
    if (header[0] === 0) return;
    const size = parseInt(tarText(header.subarray(124, 136)).trim() || '0', 8);
    const data = tar.subarray(at + TAR_BLOCK, at + TAR_BLOCK + size);
    if (!Number.isSafeInteger(size) || size < 0 || data.length !== size) throw new SetupError('damaged tar archive');
    const type = String.fromCharCode(header[156] ?? 0);
    if (type === 'L') {
      longName = tarText(data);
    } else {
      const prefix = header.toString('latin1', 257, 262) === 'ustar' ? tarText(header.subarray(345, 500)) : '';
      const shortName = tarText(header.subarray(0, 100));
      const name = longName ?? (prefix === '' ? shortName : `${prefix}/${shortName}`);
      longName = undefined;
      if (type === '0' || type === '\0') yield [name.replace(/^\.?\/+/, ''), data];
    }
    at += TAR_BLOCK + Math.ceil(size / TAR_BLOCK) * TAR_BLOCK;
  }
}

/** The members of an ar archive as [name, bytes]. */
export function* arMembers(archive) {
  if (archive.toString('latin1', 0, 8) !== '!<arch>\n') throw new SetupError('not a Debian package');
  let at = 8;
  while (at + 60 <= archive.length) {
    const name = archive
      .toString('latin1', at, at + 16)
      .trim()
      .replace(/\/$/, '');
    const size = Number(archive.toString('latin1', at + 48, at + 58));
    if (!Number.isSafeInteger(size) || size < 0) throw new SetupError('damaged Debian package');
    yield [name, archive.subarray(at + 60, at + 60 + size)];
    at += 60 + size + (size & 1);
  }
}

const DECOMPRESSORS = { '.xz': ['xz', '-dc'], '.zst': ['zstd', '-dcq'], '.bz2': ['bzip2', '-dc'] };

/** Decompresses by the suffix of a file's name; other names are returned as they are. */
export function decompress(name, bytes) {
  if (name.endsWith('.gz')) return gunzipSync(bytes);
  const suffix = Object.keys(DECOMPRESSORS).find((known) => name.endsWith(known));
  if (suffix === undefined) return bytes;
  const [command, ...args] = DECOMPRESSORS[suffix];
  const { status, stdout } = runCaptured(command, args, { input: bytes, stdio: ['pipe', 'pipe', 'pipe'] });
  if (status !== 0) throw new SetupError(`${name} cannot be unpacked: the program ${command} is missing or failed`);
  return stdout;
}

/** The tar archive with a package's files: by dpkg-deb where there is one, else by reading the package ourselves. */
function packageTar(path) {
  const { status, stdout } = runCaptured('dpkg-deb', ['--fsys-tarfile', path]);
  if (status === 0) return stdout;
  for (const [name, bytes] of arMembers(readFileSync(path))) {
    if (name.startsWith('data.tar')) return decompress(name, bytes);
  }
  throw new SetupError(`${path} holds no files`);
}

/** The regular files of a package whose path the filter takes, as a Map from path to bytes. */
export function packageFiles(path, filter) {
  const files = new Map();
  for (const [name, data] of tarFiles(packageTar(path))) if (filter(name)) files.set(name, data);
  return files;
}
