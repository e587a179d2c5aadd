/** Kernels that programs hand over: paths, URLs and bytes become files that only this machine's loader sees. */
import { expect, test } from 'vitest';
import { treeFromVariables } from '../../devices/config/index.ts';
import { useKernel } from '../../devices/machine/kernel-source.ts';
import { readUrl } from '../../host-node/read-url.ts';

const noFiles = (path: string): Promise<Uint8Array> => Promise.reject(new Error(`read ${path}`));
const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

test('bytes and URLs are read, paths left to the host', async () => {
  const tree = treeFromVariables({ name: 'vm' });
  const read = useKernel(
    tree,
    { kernel: new TextEncoder().encode('k'), initrd: new URL('data:text/plain,i'), cmdline: 'root=%(x) a,b' },
    noFiles,
    readUrl,
  );
  expect(text(await read(tree.get('loader.kernel') ?? ''))).toBe('k');
  expect(text(await read(tree.get('loader.initrd') ?? ''))).toBe('i');
  expect(tree.get('loader.cmdline')).toBe('root=%(x) a,b');
  await expect(read('/other')).rejects.toThrow('read /other');
});

test('a path may hold what the command line cannot', async () => {
  const tree = treeFromVariables({ name: 'vm' });
  const read = useKernel(tree, { kernel: '/boot/a,b%c' }, noFiles, readUrl);
  expect(tree.get('loader.kernel')).toBe('/boot/a,b%c');
  await expect(read('/boot/a,b%c')).rejects.toThrow('read /boot/a,b%c');
});

test('without a kernel nothing is set, and its companions are refused', () => {
  const tree = treeFromVariables({ name: 'vm' });
  expect(useKernel(tree, {}, noFiles, readUrl)).toBe(noFiles);
  expect(tree.get('loader.kernel')).toBeUndefined();
  expect(() => useKernel(tree, { initrd: 'i' }, noFiles, readUrl)).toThrow('initrd and cmdline belong to a kernel');
});
