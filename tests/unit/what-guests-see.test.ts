/**
 * What the firmware and the system of a fixed machine read of it: configuration space of every function, and the tables in low memory. Systems
 * know their hardware by these bytes, and licences have been lost over less: a change of them is to be a decision, made by
 * `npm run vitest -- run tests/unit/what-guests-see.test.ts -u` and seen in the diff.
 *
 * `golden/lspci.txt` is the first of them as lspci decodes it, for readers of the diff.
 */
import { spawnSync } from 'node:child_process';
import { beforeAll, expect, test } from 'vitest';
import { MemoryBackend } from '../../devices/block/memory-backend.ts';
import { parseCommandLine } from '../../devices/config/index.ts';
import { Machine } from '../../devices/machine/machine.ts';
import { createNodeHost } from '../../host-node/node-host.ts';
import { compileCore } from '../support/compile-core.ts';

const ARGV = [
  '-A',
  ...['-c', '2', '-m', '1G', '-U', '6c8a4c6e-2f4f-4b3c-9d8e-0a1b2c3d4e5f'],
  ...['-s', '0,hostbridge', '-s', '2,ahci,hd:/disk', '-s', '3,virtio-blk,/disk', '-s', '4,virtio-rnd'],
  ...['-s', '5:0,uart', '-s', '5:1,dummy', '-s', '6,xhci,tablet', '-s', '31,lpc', '-l', 'com1,stdio', '-l', 'com2,/x'],
  ...['-f', 'kexec,/kernel', 'fixed'],
];

/** The smallest multiboot kernel there is: a header with addresses, and HLT. */
function kernel(): Uint8Array {
  const words = [0x1badb002, 0x10000, -(0x1badb002 + 0x10000), 0x100000, 0x100000, 0x100024, 0x100024, 0x100020, 0xf4];
  return new Uint8Array(Int32Array.from(words).buffer);
}

let machine: Machine;

beforeAll(async () => {
  const { tree } = parseCommandLine(ARGV, { programName: 'bhyve', readTextFile: () => '' });
  const host = createNodeHost({
    core: await compileCore('tests/support/machine-fake-core.entry.ts'),
    message: () => undefined,
    readFile: () => Promise.resolve(kernel()),
    backends: {
      block: () => Promise.resolve(new MemoryBackend(new Uint8Array(1024 * 1024))),
      character: () => Promise.resolve(undefined),
    },
  });
  machine = await Machine.create(tree, { ...host, hostName: 'golden' }, { backend: 'inline' });
}, 120_000);

function hexLine(at: number, bytes: readonly number[], digits: number): string {
  return `${at.toString(16).padStart(digits, '0')}: ${bytes.map((byte) => byte.toString(16).padStart(2, '0')).join(' ')}`;
}

test('configuration space, as lspci -xxx shows it', async () => {
  const lines: string[] = [];
  for (const { where, fn } of machine.platform.pci.functions()) {
    const { bus, slot, func } = where;
    const number = (value: number): string => value.toString(16).padStart(2, '0');
    lines.push(`${number(bus)}:${number(slot)}.${func} ${fn.kind}`);
    for (let at = 0; at < 256; at += 16) {
      const bytes = Array.from({ length: 16 }, (_, i) => machine.platform.pci.readConfig(bus, slot, func, at + i, 1));
      lines.push(hexLine(at, bytes, 2));
    }
    lines.push('');
  }
  await expect(lines.join('\n')).toMatchFileSnapshot('golden/config-space.txt');
});

test('configuration space, as lspci -vvxxx decodes it', async (context) => {
  // Other versions word it differently.
  const version = spawnSync('lspci', ['--version'], { encoding: 'utf8' }).stdout;
  if (!version?.includes('version 3.9.')) context.skip('lspci 3.9 is missing (package pciutils)');
  const file = new URL('golden/config-space.txt', import.meta.url).pathname;
  const { stdout } = spawnSync('lspci', ['-F', file, '-nvvxxx'], { encoding: 'utf8' });
  await expect(stdout).toMatchFileSnapshot('golden/lspci.txt');
});

test('MP table, SMBIOS and ACPI tables', async () => {
  const lines: string[] = [];
  for (let at = 0xf0000; at < 0x100000; at += 16) {
    const bytes = new Uint8Array(16);
    machine.memory.read(at, bytes);
    if (bytes.every((byte) => byte === 0)) continue;
    const text = String.fromCharCode(...[...bytes].map((byte) => (byte >= 32 && byte < 127 ? byte : 46)));
    lines.push(`${hexLine(at, [...bytes], 5)}  ${text}`);
  }
  lines.push('');
  await expect(lines.join('\n')).toMatchFileSnapshot('golden/low-tables.txt');
});
