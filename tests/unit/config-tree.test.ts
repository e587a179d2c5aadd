import { describe, expect, it } from 'vitest';
import { BhyveExit } from '../../devices/config/errors.ts';
import { ConfigTree, parseBoolean } from '../../devices/config/tree.ts';

function exitOf(action: () => unknown): { status: number; stderr: string } {
  try {
    action();
  } catch (error) {
    if (error instanceof BhyveExit) return { status: error.status, stderr: error.stderrText };
    throw error;
  }
  throw new Error('did not exit');
}

describe('ConfigTree', () => {
  it('keeps variables and nodes by dotted path', () => {
    const tree = new ConfigTree();
    tree.set('pci.0.3.0.device', 'virtio-blk');
    tree.set('name', 'vm');
    expect(tree.get('pci.0.3.0.device')).toBe('virtio-blk');
    expect(tree.findNode('pci.0.3.0')?.get('device')).toBe('virtio-blk');
    expect(tree.findNode('pci.0.3')?.path).toBe('pci.0.3');
    expect(tree.get('pci.0.3')).toBeUndefined();
    expect(tree.get('no.such')).toBeUndefined();
    expect(tree.findNode('no.such')).toBeUndefined();
    expect(tree.warnings).toEqual([]);
  });

  it('dumps in insertion order and moves a value that is set again to the end of its node', () => {
    const tree = new ConfigTree();
    for (const [path, value] of [
      ['a', '1'],
      ['n.x', '2'],
      ['n.y', '3'],
      ['b', '4'],
      ['a', '5'],
      ['n.x', '6'],
    ] as const) {
      tree.set(path, value);
    }
    expect(tree.dump()).toBe('n.y=3\nn.x=6\nb=4\na=5\n');
  });

  it('dumps raw values', () => {
    const tree = new ConfigTree();
    tree.set('name', 'vm');
    tree.set('path', '/x/%(name)');
    expect(tree.dump()).toBe('name=vm\npath=/x/%(name)\n');
    expect(tree.get('path')).toBe('/x/vm');
    expect(tree.getRaw('path')).toBe('/x/%(name)');
  });

  it('is not confused by names of object properties', () => {
    const tree = new ConfigTree();
    expect(tree.get('__proto__')).toBeUndefined();
    expect(tree.get('constructor.name')).toBeUndefined();
    tree.set('__proto__.x', '1');
    expect(tree.get('__proto__.x')).toBe('1');
    expect(({} as { x?: string }).x).toBeUndefined();
  });

  it.each([
    ['a path with an empty part', 'a..b', 'Invalid configuration node: a.', 'Failed to create configuration node a.'],
    ['a path that starts with a dot', '.b', 'Invalid configuration node: ', 'Failed to create configuration node '],
    [
      'a path through a variable',
      'leaf.x.y',
      'Configuration node leaf.x is a child of existing variable leaf',
      'Failed to create configuration node leaf.x',
    ],
  ])('refuses %s', (_title, path, warning, message) => {
    const tree = new ConfigTree('bhyve');
    tree.set('leaf', '1');
    expect(exitOf(() => tree.set(path, 'v'))).toEqual({ status: 4, stderr: `bhyve: ${message}\n` });
    expect(tree.warnings).toEqual([`bhyve: ${warning}`]);
  });

  it('refuses to put a value where a node is', () => {
    const tree = new ConfigTree('prog');
    tree.set('a.b.c', '1');
    const expected = { status: 4, stderr: 'prog: Attempting to add value v to existing node a.b\n' };
    expect(exitOf(() => tree.set('a.b', 'v'))).toEqual(expected);
  });

  it.each<[string, string, string[]]>([
    ['plain', 'plain', []],
    ['%(a)', 'A', []],
    ['x%(a)y%(a)z', 'xAyAz', []],
    ['%(n.b)', 'B and A', []],
    ['\\%(a)', '\\%(a)'.slice(1), []],
    ['\\\\%(a)', '\\A', []],
    ['c:\\dir', 'c:\\dir', []],
    ['100%', '100%', ['Invalid reference in configuration value "100%"']],
    ['%(a', '%(a', ['Invalid reference in configuration value "%(a"']],
    ['%%', '%%', Array<string>(2).fill('Invalid reference in configuration value "%%"')],
    ['[%()]', '[]', ['Empty reference in configuration value "[%()]"']],
    ['[%(zz)]', '[]', ['Failed to fetch referenced configuration variable zz']],
    ['%(a)\\', 'A', ['Trailing \\ in configuration value "%(a)\\"']],
  ])('expands %s', (value, expected, warnings) => {
    const tree = new ConfigTree('p');
    tree.set('a', 'A');
    tree.set('n.b', 'B and %(a)');
    expect(tree.expand(value)).toBe(expected);
    expect(tree.warnings).toEqual(warnings.map((text) => `p: ${text}`));
  });

  it('stops at references that go round', () => {
    const tree = new ConfigTree('p');
    tree.set('a', '%(b)');
    tree.set('b', '%(a)');
    expect(tree.get('a')).toMatch(/^%\([ab]\)$/);
    expect(tree.warnings).toEqual(['p: Too many recursive references in configuration value']);
  });

  it('reads booleans in all spellings', () => {
    for (const word of ['true', 'on', 'yes', '1', 'TRUE', 'Yes']) expect(parseBoolean(word)).toBe(true);
    for (const word of ['false', 'off', 'no', '0', 'OFF']) expect(parseBoolean(word)).toBe(false);
    for (const word of ['', '2', 'enable', 'tru']) expect(parseBoolean(word)).toBeUndefined();
    const tree = new ConfigTree('p');
    expect(tree.getBoolean('x', true)).toBe(true);
    tree.set('x', 'maybe');
    const expected = { status: 4, stderr: 'p: Invalid value maybe for boolean variable x\n' };
    expect(exitOf(() => tree.getBoolean('x', true))).toEqual(expected);
  });
});
