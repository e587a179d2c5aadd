import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { GLOBAL_VARIABLES, WEBHYVE_VARIABLES } from '../../devices/config/declarations/globals.ts';
import { declaration, notBuiltMessage, PCI_DEVICES } from '../../devices/catalog.ts';
import { findVariable } from '../../devices/config/declare.ts';
import { renderReference } from '../../devices/config/reference.ts';

describe('declarations', () => {
  it('cover the devices of the manual', () => {
    const manual =
      'hostbridge amd_hostbridge passthru virtio-net virtio-blk virtio-scsi virtio-9p virtio-rnd virtio-console ' +
      'virtio-input ahci ahci-cd ahci-hd e1000 uart lpc fbuf xhci nvme hda dummy';
    expect(PCI_DEVICES.map(({ name }) => name)).toEqual(expect.arrayContaining(manual.split(' ')));
  });

  it('name each variable once, with a default that its type accepts', () => {
    const lists = [
      [...GLOBAL_VARIABLES, ...WEBHYVE_VARIABLES],
      ...PCI_DEVICES.filter(({ aliasOf }) => aliasOf === undefined).map(({ variables }) => variables),
    ];
    for (const list of lists) {
      const names = list.map(({ name }) => name);
      expect(new Set(names).size).toBe(names.length);
      for (const { name, type, default: fallback } of list) {
        if (fallback !== undefined) expect(type.check(fallback, name)).toBeUndefined();
      }
    }
  });

  it('preset only variables that the target of an alias declares', () => {
    for (const { aliasOf, preset } of PCI_DEVICES) {
      if (aliasOf === undefined) continue;
      const target = declaration(aliasOf);
      expect(target?.aliasOf).toBeUndefined();
      for (const [name, value] of Object.entries(preset ?? {})) {
        const variable = findVariable(target?.variables ?? [], name);
        expect(variable?.type.check(value, name)).toBeUndefined();
        expect(variable).toBeDefined();
      }
    }
  });

  it('match numbered names', () => {
    const variables = declaration('ahci')?.variables ?? [];
    expect(findVariable(variables, 'port.12.path')?.name).toBe('port.N.path');
    expect(findVariable(variables, 'port.x.path')).toBeUndefined();
    expect(findVariable(variables, 'port.1.pathx')).toBeUndefined();
  });

  it('say what is not emulated', () => {
    expect(notBuiltMessage('hda')).toMatch(/^hda: .*does not emulate it yet$/);
  });
});

it('docs/devices.md is what the declarations say', () => {
  expect(readFileSync(new URL('../../docs/devices.md', import.meta.url), 'utf8')).toBe(renderReference());
});
