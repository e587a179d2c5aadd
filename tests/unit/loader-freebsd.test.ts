/** FreeBSD kernels: how they are found on images made by Debian's makefs and xorriso, and what bhyveload says. The hand-over itself: tests/guest/freebsd.test.ts. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { LoaderError } from '../../devices/firmware/loaders/boot-image.ts';
import { loadFreebsd } from '../../devices/firmware/loaders/freebsd.ts';
import { openImage } from '../../devices/images/disk.ts';
import { parseLoaderConf, readFreebsdBoot, rootFromFstab } from '../../devices/images/freebsd-boot.ts';
import { ImageError, type ReadRange } from '../../devices/images/image.ts';
import { FakeRandom } from '../support/fake-random.ts';

const OPERATIONS = Number(process.env['WEBHYVE_FUZZ_OPERATIONS'] ?? 2000);
const BASE = 0xffffffff80200000n;

let directory: string;
let tree: string;
const big = Uint8Array.from({ length: 3_000_000 }, (_, i) => (i * 2654435761) >>> 24);

/** An ELF64 file for FreeBSD with one segment. */
function kernelFile(code = 4096): Uint8Array {
  const bytes = new Uint8Array(120 + code).fill(0x90, 120);
  const view = new DataView(bytes.buffer);
  bytes.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1, 9]);
  view.setUint16(16, 2, true);
  view.setUint16(18, 62, true);
  view.setBigUint64(24, BASE + 120n, true);
  view.setBigUint64(32, 64n, true);
  view.setUint16(54, 56, true);
  view.setUint16(56, 1, true);
  view.setUint32(64, 1, true);
  view.setBigUint64(80, BASE + 0x123n, true);
  view.setBigUint64(96, BigInt(bytes.length), true);
  view.setBigUint64(104, BigInt(bytes.length + 0x5000), true);
  return bytes;
}

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'webhyve-freebsd-'));
  tree = join(directory, 'tree');
  mkdirSync(join(tree, 'boot', 'kernel'), { recursive: true });
  mkdirSync(join(tree, 'etc'));
  mkdirSync(join(tree, 'many'));
  writeFileSync(join(tree, 'boot', 'kernel', 'kernel'), kernelFile());
  writeFileSync(
    join(tree, 'boot', 'loader.conf'),
    'console="comconsole"\nblob_load="YES"\nblob_type="md_image"\nblob_name="/big"\n',
  );
  writeFileSync(join(tree, 'boot', 'device.hints'), 'hint.uart.0.at="isa"\n# comment\n');
  writeFileSync(join(tree, 'etc', 'fstab'), '# Device\n/dev/vtbd0p2 / ufs rw 1 1\n');
  writeFileSync(join(tree, 'big'), big);
  for (let i = 0; i < 300; i++) writeFileSync(join(tree, 'many', `a-rather-long-name-of-file-${i}`), `${i}`);
  symlinkSync('../big', join(tree, 'many', 'link'));
  symlinkSync('/many', join(tree, 'absolute'));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const rangeOf =
  (bytes: Uint8Array): ReadRange =>
  (offset, length) =>
    offset >= 0 && length >= 0 && offset + length <= bytes.length
      ? Promise.resolve(bytes.slice(offset, offset + length))
      : Promise.reject(new ImageError('short'));

function run(command: string, ...args: string[]): void {
  const { status, stderr } = spawnSync(command, args, { encoding: 'utf8' });
  expect(status, `${command}: ${stderr}`).toBe(0);
}

const has = (command: string): boolean => spawnSync('sh', ['-c', `command -v ${command}`]).status === 0;

/** An image with a protective MBR and a GPT whose second partition holds the bytes. */
function inGpt(content: Uint8Array): Uint8Array {
  const first = 2048;
  const sectors = Math.ceil(content.length / 512);
  const bytes = new Uint8Array((first + sectors) * 512);
  const view = new DataView(bytes.buffer);
  bytes.set(new TextEncoder().encode('EFI PART'), 512);
  view.setBigUint64(512 + 72, 2n, true);
  view.setUint32(512 + 80, 128, true);
  view.setUint32(512 + 84, 128, true);
  for (const [index, start, end] of [
    [0, 40, 100],
    [1, first, first + sectors - 1],
  ] as const) {
    const at = 1024 + 128 * index;
    bytes.fill(index + 1, at, at + 16);
    view.setBigUint64(at + 32, BigInt(start), true);
    view.setBigUint64(at + 40, BigInt(end), true);
  }
  bytes.set(content, first * 512);
  return bytes;
}

/** 1 KiB a block: everything but small files is behind indirect blocks. */
const ext = (...options: readonly string[]) => {
  return (file: string) => run('mke2fs', '-q', '-d', tree, ...options, file, '16M');
};
const IMAGES: readonly (readonly [string, string, (file: string) => void])[] = [
  ['UFS', 'makefs', (file) => run('makefs', '-t', 'ffs', '-o', 'version=2', '-b', '20%', file, tree)],
  ['ISO 9660', 'xorriso', (file) => run('xorriso', '-as', 'mkisofs', '-R', '-o', file, tree)],
  ['ext2', 'mke2fs', ext('-t', 'ext2', '-b', '1024')],
  ['ext2 with extents', 'mke2fs', ext('-t', 'ext4', '-b', '4096', '-O', '64bit,metadata_csum')],
  ['ext2 with an old revision', 'mke2fs', ext('-t', 'ext2', '-r', '0', '-b', '2048')],
];

describe.each(IMAGES)('%s', (kind, tool, make) => {
  test.skipIf(!has(tool))('files, directories, links; a kernel with what loader.conf asks for', async () => {
    const file = join(directory, `image-${kind}`);
    make(file);
    const bytes = new Uint8Array(readFileSync(file));
    for (const image of [bytes, inGpt(bytes)]) {
      const [files] = await openImage(rangeOf(image));
      if (!files) throw new Error('nothing found');
      expect(kind.startsWith(files.kind)).toBe(true);
      expect(Buffer.compare((await files.read('/many/link')) ?? new Uint8Array(), big)).toBe(0);
      expect(await files.list('/absolute/')).toHaveLength(301);
      expect(await files.read('/absolute/../big/')).toHaveLength(big.length);
      expect(new TextDecoder().decode(await files.read('many/a-rather-long-name-of-file-299'))).toBe('299');
      expect(await files.read('/many/none')).toBeUndefined();
      expect(await files.read('/many')).toBeUndefined();
      const boot = await readFreebsdBoot(files, new Map([['boot_verbose', 'YES']]));
      expect(boot?.kernelName).toBe('/boot/kernel/kernel');
      expect(boot?.modules.map(({ name, type }) => [name, type])).toEqual([['/big', 'md_image']]);
      expect(Object.fromEntries(boot?.environment ?? [])).toMatchObject({
        console: 'comconsole',
        'hint.uart.0.at': 'isa',
        'vfs.root.mountfrom': 'ufs:/dev/vtbd0p2',
        boot_verbose: 'YES',
      });
    }
  });

  test.skipIf(!has(tool))('damaged images are refused or read, and never more than that', async () => {
    const file = join(directory, `image-${kind}`);
    const bytes = new Uint8Array(readFileSync(file));
    const random = new FakeRandom(99);
    for (let i = 0; i < OPERATIONS / 20; i++) {
      const damaged = bytes.slice();
      for (let n = 0; n < 20; n++)
        damaged[random.below(random.below(2) ? 0x14000 : damaged.length)] = random.nasty() & 0xff;
      try {
        for (const files of await openImage(rangeOf(damaged))) {
          await files.list('/many');
          await readFreebsdBoot(files, new Map());
        }
      } catch (error) {
        expect(error).toBeInstanceOf(ImageError);
      }
    }
  });
});

test('loader.conf and fstab', () => {
  expect([...parseLoaderConf('a="b c" # d\n  e=f\n#g="h"\nnonsense\ni.j_k=""\n')]).toEqual([
    ['a', 'b c'],
    ['e', 'f'],
    ['i.j_k', ''],
  ]);
  expect(rootFromFstab('#x / y\nproc /proc procfs rw\n/dev/ada0p2\t/\tufs\trw\n')).toBe('ufs:/dev/ada0p2');
  expect(rootFromFstab('')).toBeUndefined();
});

describe('the kernel in memory', () => {
  const load = (kernel: Uint8Array, lowmemBytes = 64 << 20) =>
    loadFreebsd({
      kernel,
      commandLine: 'a=b\nconsole=comconsole\nboot_verbose=NO',
      modules: [],
      lowmemBytes,
      highmemBytes: 1 << 30,
    });

  test('lies where its exact address folds to; the entry state is bhyve’s', () => {
    const image = load(kernelFile());
    expect(image.segments[0]?.gpa).toBe(0x200123);
    expect(image.registers).toMatchObject({
      rip: BASE + 120n,
      rsp: 0x1000n,
      cr0: 0x80000021n,
      cr3: 0x2000n,
      cr4: 0x20n,
      efer: 0x500n,
      segments: { cs: { selector: 8, limit: 0, access: 0x209b }, ds: { selector: 0x10, access: 0x93 } },
    });
  });

  test('what is no kernel is refused with a sentence', () => {
    const small = kernelFile();
    small[4] = 1;
    for (const kernel of [small, new Uint8Array(10), kernelFile().subarray(0, 100)]) {
      expect(() => load(kernel)).toThrow(LoaderError);
    }
    expect(() => load(kernelFile(3 << 20), 4 << 20)).toThrow(/needs memory at/);
    const random = new FakeRandom(3);
    for (let i = 0; i < OPERATIONS; i++) {
      const kernel = kernelFile();
      kernel[random.below(120)] = random.nasty() & 0xff;
      try {
        load(kernel);
      } catch (error) {
        expect(error).toBeInstanceOf(LoaderError);
      }
    }
  });
});
