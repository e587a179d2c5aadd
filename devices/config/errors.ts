/** How the command line ends a run: exit statuses of bhyve(8), sysexits(3) and the texts that go with them. */

/** Usage error (also the status of a guest that powered off, which is why callers look at stderr too). */
export const EXIT_USAGE_TEXT = 1;
/** Any error before or while the machine runs: bhyve(8), EXIT STATUS. */
export const EXIT_ERROR = 4;
/** sysexits(3): the command was used incorrectly. */
export const EX_USAGE = 64;

/**
 * The run ends here: what to print and which status to exit with. The parser never writes and never exits; the
 * program that called it does. Each text is complete, with its final newline, or empty.
 */
export class BhyveExit extends Error {
  override readonly name = 'BhyveExit';
  constructor(
    readonly status: number,
    readonly stderrText: string,
    readonly stdoutText = '',
  ) {
    super(stderrText.trimEnd() || stdoutText.trimEnd() || `exit ${status}`);
  }
}

/** strerror(3) texts of what opening a file can end in. */
const ERRNO_TEXT: Readonly<Record<string, string>> = {
  EACCES: 'Permission denied',
  EADDRINUSE: 'Address already in use',
  EADDRNOTAVAIL: "Can't assign requested address",
  EBUSY: 'Device busy',
  ECONNREFUSED: 'Connection refused',
  EEXIST: 'File exists',
  EINVAL: 'Invalid argument',
  EIO: 'Input/output error',
  EISDIR: 'Is a directory',
  ELOOP: 'Too many levels of symbolic links',
  EMFILE: 'Too many open files',
  ENAMETOOLONG: 'File name too long',
  ENFILE: 'Too many open files in system',
  ENODEV: 'Operation not supported by device',
  ENOENT: 'No such file or directory',
  ENOMEM: 'Cannot allocate memory',
  ENOSPC: 'No space left on device',
  ENOTDIR: 'Not a directory',
  ENXIO: 'Device not configured',
  EPERM: 'Operation not permitted',
  ENOTFOUND: 'hostname nor servname provided, or not known',
  EROFS: 'Read-only file system',
};

/** What strerror(3) would say about an error that a host call threw; its own message when it carries no known code. */
export function errnoText(error: unknown): string {
  if (typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'string') {
    const text = ERRNO_TEXT[error.code];
    if (text !== undefined) return text;
  }
  return error instanceof Error ? error.message : String(error);
}
