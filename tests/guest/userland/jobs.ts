/** What is run in the guest and on the host: arguments of run-job, the quick ones first. */

export interface Job {
  readonly name: string;
  readonly words: readonly string[];
  /** Uses the x87's transcendental instructions, whose last bit differs between real processors: compared by accuracy.py. */
  readonly transcendental?: boolean;
  /** Exit status, on the host as well; 0 when nothing is said. */
  readonly status?: number;
}

/** Modules of CPython's test suite, by the time that they take. */
const PYTHON = [
  ...[
    'math',
    'float',
    'struct',
    'hashlib',
    'decimal',
    'zlib',
    'cmath',
    'complex',
    'fractions',
    'random',
    'int',
    'array',
  ],
  ...['re', 'strtod', 'ctypes', 'long', 'json', 'bytes', 'statistics', 'bz2', 'lzma'],
];

/** One case of each is of a newer patch level than Debian's library, and fails everywhere. */
const NEWER_CASES = ['re', 'bz2'];

const C_PROGRAMS = ['integer', 'text', 'floating', 'libm', 'numeric', 'simd', 'threads', 'process'];

const job = (...words: string[]): Job => ({ name: words.join(' '), words });

export const JOBS: readonly Job[] = [
  ...C_PROGRAMS.map((name) => job('c-program', name)),
  job('perl'),
  ...['digests', 'ciphers', 'keys', 'speed'].map((what) => job(`openssl-${what}`)),
  job('compress'),
  { ...job('c-program', 'libm-long'), transcendental: true },
  ...PYTHON.map((module) => ({ ...job('python', `test_${module}`), status: NEWER_CASES.includes(module) ? 2 : 0 })),
];
