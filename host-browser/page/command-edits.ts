/** Changes to a command line: a disk more, another kernel. */
import { freeSlots } from './completion.ts';
import { joinWords, splitWords } from '../shell-words.ts';

/** Slots 0 and 31 are the bridges' by custom. */
const FIRST_DISK_SLOT = 2;

/** Where options may be put: before the machine's name, which stands last. */
function insertOptions(words: string[], ...options: readonly string[]): string[] {
  const last = words.at(-1);
  const before = words.at(-2);
  const named =
    last !== undefined && !last.startsWith('-') && !(before !== undefined && /^-[cfGklmoprsUn]$/.test(before));
  return named ? [...words.slice(0, -1), ...options, last] : [...words, ...options];
}

/** Adds a `virtio-blk` disk in the first free slot. */
export function addDisk(line: string, path: string): string {
  const words = splitWords(line);
  const slot = freeSlots(words).find((free) => free >= FIRST_DISK_SLOT);
  return slot === undefined ? line : joinWords(insertOptions(words, '-s', `${slot},virtio-blk,${path}`));
}

/** Puts a kernel or an initial RAM disk into `-f kexec,KERNEL,INITRD,CMDLINE`, which is added when there is none. */
export function setLoader(line: string, part: 'kernel' | 'initrd', path: string): string {
  const words = splitWords(line);
  const at = words.findIndex((word, index) => words[index - 1] === '-f' && word.startsWith('kexec,'));
  const [, kernel = '', initrd = '', ...rest] = (words[at] ?? 'kexec,,,console=ttyS0').split(',');
  const [newKernel, newInitrd] = part === 'kernel' ? [path, initrd] : [kernel, path];
  const loader = ['kexec', newKernel, newInitrd, rest.join(',')].join(',');
  if (at === -1) return joinWords(insertOptions(words, '-f', loader));
  words[at] = loader;
  return joinWords(words);
}
