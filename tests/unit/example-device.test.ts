/** The worked example of docs/adding-a-device.md: it is what the page shows, and it works. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { CharacterBackend, CharacterPort } from '../../devices/backends/character.ts';
import { TELETYPE } from '../examples/teletype/declaration.ts';
import { buildTeletype, Teletype } from '../examples/teletype/teletype.ts';
import { FakeMachine } from '../support/fake-bus.ts';

const ROOT = join(import.meta.dirname, '../..');

test.each(['declaration.ts', 'teletype.ts'])('docs/adding-a-device.md shows %s', (file) => {
  const source = readFileSync(join(ROOT, 'tests/examples/teletype', file), 'utf8').replaceAll(
    "'../../../devices/",
    "'../",
  );
  expect(readFileSync(join(ROOT, 'docs/adding-a-device.md'), 'utf8')).toContain(
    `\`\`\`ts\n// devices/teletype/${file}\n${source}\`\`\``,
  );
});

class Far implements CharacterBackend {
  port: CharacterPort | undefined;
  written: number[] = [];
  open(port: CharacterPort): void {
    this.port = port;
  }
  write(bytes: Uint8Array): boolean {
    this.written.push(...bytes);
    return true;
  }
  hold(): void {}
  close(): Promise<void> {
    return Promise.resolve();
  }
}

test('the teletype carries bytes both ways, interrupts, pauses and is saved', async () => {
  const far = new Far();
  const { machine, device } = FakeMachine.with(() => new Teletype(far));
  const base = machine.bar(3, 0);
  machine.mmio.write(base, 4, 0x41);
  expect(far.written).toEqual([0x41]);
  far.port?.receive(Uint8Array.of(1, 2));
  expect(machine.interrupts.asserted().pins).toEqual([16]);
  expect([machine.mmio.read(base + 4, 4), machine.mmio.read(base, 4)]).toEqual([1, 1]);
  await device.pause();
  const state = machine.pci.save();
  expect(machine.mmio.read(base, 4)).toBe(2);
  expect(machine.interrupts.asserted().pins).toEqual([]);
  far.port?.receive(Uint8Array.of(3));
  expect(machine.interrupts.asserted().pins).toEqual([]);
  device.resume();
  expect(machine.interrupts.asserted().pins).toEqual([16]);
  machine.pci.restore(state);
  expect(machine.mmio.read(base, 4)).toBe(2);
});

test('its builder opens what the option names', async () => {
  const asked: unknown[] = [];
  const machine = new FakeMachine();
  const context = machine.context({}, { character: (address) => (asked.push(address), Promise.resolve(new Far())) });
  await buildTeletype(context, { bus: 0, slot: 5, func: 0 }, { get: () => 'tcp=127.0.0.1:5555' });
  expect(asked).toEqual([{ kind: 'tcp', host: '127.0.0.1', port: 5555 }]);
  expect(TELETYPE.variables.map(({ name }) => name)).toEqual(['path']);
});
