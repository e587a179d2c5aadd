import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { arMembers, decompress, tarFiles } from '../../host-node/setup/deb.mjs';
import { moduleDependencies, selectModules } from '../../host-node/setup/modules.mjs';

function tarEntry(name: string, data: string, type = '0', prefix = ''): Buffer {
  const header = Buffer.alloc(512);
  header.write(name, 0);
  header.write(data.length.toString(8).padStart(11, '0'), 124);
  header.write(type, 156);
  header.write('ustar', 257);
  header.write(prefix, 345);
  const body = Buffer.alloc(Math.ceil(data.length / 512) * 512);
  body.write(data);
  return Buffer.concat([header, body]);
}

describe('Debian packages', () => {
  it('gives the regular files of a tar archive', () => {
    const longName = `./${'d/'.repeat(60)}file`;
    const tar = Buffer.concat([
      tarEntry('./boot/', '', '5'),
      tarEntry('./boot/vmlinuz-1', 'KERNEL'),
      tarEntry('./link', '', '2'),
      tarEntry('file', 'x'.repeat(513), '0', 'some/prefix'),
      tarEntry('././@LongLink', `${longName}\0`, 'L'),
      tarEntry(longName.slice(0, 100), 'long'),
      Buffer.alloc(1024),
      tarEntry('after-the-end', 'x'),
    ]);
    expect([...tarFiles(tar)].map(([path, bytes]) => [path, bytes.toString()])).toEqual([
      ['boot/vmlinuz-1', 'KERNEL'],
      ['some/prefix/file', 'x'.repeat(513)],
      [longName.slice(2), 'long'],
    ]);
  });

  it('refuses a tar archive that ends too early', () => {
    expect(() => [...tarFiles(tarEntry('a', 'x'.repeat(2000)).subarray(0, 1024))]).toThrow('damaged tar archive');
  });

  it('gives the members of an ar archive', () => {
    const member = (name: string, data: string): string =>
      `${name.padEnd(16)}${'0'.padEnd(12)}${'0'.padEnd(6)}${'0'.padEnd(6)}${'644'.padEnd(8)}${String(data.length).padEnd(10)}\`\n${data}${data.length & 1 ? '\n' : ''}`;
    const archive = Buffer.from(
      `!<arch>\n${member('debian-binary', '2.0\n')}${member('odd/', 'abc')}${member('data.tar', 'xy')}`,
    );
    expect([...arMembers(archive)].map(([name, bytes]) => [name, bytes.toString()])).toEqual([
      ['debian-binary', '2.0\n'],
      ['odd', 'abc'],
      ['data.tar', 'xy'],
    ]);
    expect(() => [...arMembers(Buffer.from('something else'))]).toThrow('not a Debian package');
  });

  it('decompresses by name', () => {
    expect(decompress('a.gz', gzipSync('text')).toString()).toBe('text');
    expect(decompress('a.ko', Buffer.from('text')).toString()).toBe('text');
    expect(() => decompress('a.xz', Buffer.from('not xz'))).toThrow('cannot be unpacked');
  });
});

describe('kernel modules', () => {
  const module = (...dependencies: string[]): Buffer =>
    Buffer.from(`ELF\0license=GPL\0depends=${dependencies.join(',')}\0name=x\0`);

  it('names what a module depends on', () => {
    expect(moduleDependencies(module('virtio', 'virtio-ring'))).toEqual(['virtio', 'virtio_ring']);
    expect(moduleDependencies(module())).toEqual([]);
    expect(moduleDependencies(Buffer.from('no information'))).toEqual([]);
  });

  it('come in loading order, each once, with all that they need and nothing else', () => {
    const files = new Map([
      ['lib/modules/1/kernel/virtio_blk.ko', module('virtio', 'virtio_ring')],
      ['lib/modules/1/kernel/virtio-rng.ko', module('virtio', 'rng-core')],
      ['lib/modules/1/kernel/rng-core.ko.gz', gzipSync(module())],
      ['lib/modules/1/kernel/virtio.ko', module('virtio_ring')],
      ['lib/modules/1/kernel/virtio_ring.ko', module('built_in')],
      ['lib/modules/1/kernel/unrelated.ko', module()],
      ['boot/vmlinuz-1', Buffer.from('KERNEL')],
    ]);
    const modules = selectModules(files, ['virtio_blk', 'virtio_rng', 'not_a_module']);
    expect(modules.map(([name]) => name)).toEqual(['virtio_ring', 'virtio', 'virtio_blk', 'rng_core', 'virtio_rng']);
    expect(modules[3]?.[1].equals(module())).toBe(true);
  });

  it('survive a circle of dependencies', () => {
    const files = new Map([
      ['a.ko', module('b')],
      ['b.ko', module('a')],
    ]);
    expect(selectModules(files, ['a']).map(([name]) => name)).toEqual(['b', 'a']);
  });
});
