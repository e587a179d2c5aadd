/** What .ci/run installs on a bare machine is what the tests look for: without a program its tests are skipped, and nobody notices. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';

const root = new URL('../..', import.meta.url).pathname;

/**
 * Programs of packages that every Debian has (dash, dpkg, apt, bsdutils, coreutils, findutils, mount, util-linux, libc-bin), npm, which runs
 * all this, and the compiler that records vectors.
 */
const ALWAYS = [
  'sh',
  '/bin/sh',
  'apt-cache',
  'apt-get',
  'dpkg-deb',
  'script',
  'stty',
  'taskset',
  'ldd',
  'find',
  'mount',
  'umount',
  'gcc',
  'npm',
];

/** What only a test that is asked for starts, with a file that .ci/run cannot have (core-crash). */
const ASKED_FOR = ['crash'];

/** A program's name where a process is started. */
const STARTED = /\b(?:spawn|spawnSync|execFile|execFileSync|runCaptured)\(\s*'([^'\n]+)'/g;

test('every program that tests and set-up start is in the list of .ci/run', () => {
  const used = new Set<string>();
  let all = '';
  for (const folder of ['tests', 'host-node/setup']) {
    for (const entry of readdirSync(join(root, folder), { recursive: true, withFileTypes: true })) {
      if (!entry.isFile() || !/\.m?ts$|\.mjs$/.test(entry.name)) continue;
      const text = readFileSync(join(entry.parentPath, entry.name), 'utf8');
      all += text;
      for (const [, program = ''] of text.matchAll(STARTED)) used.add(program);
    }
  }
  const script = readFileSync(join(root, '.ci/run'), 'utf8');
  const list = /^programs=\(([^)]*)\)/m.exec(script)?.[1] ?? '';
  const listed = list
    .trim()
    .split(/\s+/)
    .map((entry) => entry.split(':')[0]);
  const known = [...ALWAYS, ...ASKED_FOR, ...listed];
  expect([...used].filter((program) => !known.includes(program))).toEqual([]);
  // A program that no test names any more is not installed for them either.
  expect(listed.filter((program) => !all.includes(`'${program}'`) && !all.includes(`'${program} `))).toEqual([]);
});
