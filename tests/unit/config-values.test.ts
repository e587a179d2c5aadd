import { describe, expect, it } from 'vitest';
import { parseInteger, scanColonNumbers } from '../../devices/config/c-numbers.ts';
import { parseMemorySize } from '../../devices/config/memory-size.ts';
import {
  BOOLEAN,
  displayLength,
  FRAMEBUFFER_VGA,
  integer,
  MAC_ADDRESS,
  SECTOR_SIZE,
  text,
  UUID,
} from '../../devices/config/variable-types.ts';
import { MAX_VCPUS } from '../../devices/config/topology.ts';
import * as layout from '../../core-as/layout.ts';

const MIB = 1 << 20;

describe('memory sizes', () => {
  it.each<[string, number | undefined]>([
    ['1024', 1024 * MIB],
    ['256M', 256 * MIB],
    ['256m', 256 * MIB],
    ['1g', 1024 * MIB],
    ['4G', 4096 * MIB],
    ['24G', 24 * 1024 * MIB],
    ['1T', 1024 * 1024 * MIB],
    ['512k', 512 * 1024],
    ['512KB', 512 * 1024],
    ['8192b', 8192],
    ['1073741824', 1024 * MIB],
    ['1048575', 1048575 * MIB],
    ['1048576', MIB],
    ['0x200', 512 * MIB],
    ['0400', 256 * MIB],
    [' 16', 16 * MIB],
    ['0', 0],
    ['', undefined],
    ['G', undefined],
    ['-1', undefined],
    ['1.5G', undefined],
    ['1Gx', undefined],
    ['1GBB', undefined],
    ['1Z', undefined],
    ['08', undefined],
    ['99999999999999999999', undefined],
    ['16E', undefined],
  ])('%j', (size, bytes) => {
    expect(parseMemorySize(size)).toBe(bytes);
  });
});

describe('numbers as the C library reads them', () => {
  it.each<[string, number | undefined]>([
    ['12', 12],
    ['0x1F', 31],
    ['010', 8],
    ['+5', 5],
    [' \t7', 7],
    ['7 ', undefined],
    ['0x', undefined],
    ['09', undefined],
    ['', undefined],
    ['0', undefined],
    ['65536', undefined],
    ['-3', undefined],
  ])('strtol %j', (digits, value) => {
    expect(parseInteger(digits, 1, 65535)).toBe(value);
  });

  it.each<[string, number[]]>([
    ['1:2:3', [1, 2, 3]],
    ['1:2', [1, 2]],
    ['1:x', [1]],
    ['1:2junk', [1, 2]],
    ['-1: 4', [-1, 4]],
    ['x', []],
    ['1:2:3:4', [1, 2, 3]],
  ])('sscanf %j', (input, numbers) => {
    expect(scanColonNumbers(input, 3)).toEqual(numbers);
  });
});

describe('types of variables', () => {
  it.each([
    [BOOLEAN, 'true', undefined],
    [BOOLEAN, 'x', 'Invalid value x for boolean variable v'],
    [integer(1, 8), '0x8', undefined],
    [integer(1, 8), '9', 'Invalid value 9 for v: an integer from 1 to 8 is expected'],
    [integer(1, 8), '1x', 'Invalid value 1x for v: an integer from 1 to 8 is expected'],
    [text(3), 'abc', undefined],
    [text(3), 'abcd', 'Value of v is longer than 3 characters'],
    [MAC_ADDRESS, '00:be:fa:76:45:00', undefined],
    [MAC_ADDRESS, '0:0:0:0:0:1', undefined],
    [MAC_ADDRESS, '01:00:00:00:00:00', 'Invalid MAC 01:00:00:00:00:00'],
    [MAC_ADDRESS, '00:00:00:00:00:00', 'Invalid MAC 00:00:00:00:00:00'],
    [MAC_ADDRESS, '00:00', 'Invalid MAC 00:00'],
    [SECTOR_SIZE, '512', undefined],
    [SECTOR_SIZE, '512/4096', undefined],
    [SECTOR_SIZE, 'x', 'Invalid sector size "x"'],
    [SECTOR_SIZE, '4096/512', 'Invalid sector size 4096/512'],
    [SECTOR_SIZE, '256', 'Invalid sector size 256/256'],
    [SECTOR_SIZE, '1000', 'Invalid sector size 1000/1000'],
    [SECTOR_SIZE, '512/0', 'Invalid sector size 512/0'],
    [FRAMEBUFFER_VGA, 'io', undefined],
    [FRAMEBUFFER_VGA, 'on', 'pci_fbuf: VGA rendering not enabled'],
    [FRAMEBUFFER_VGA, 'x', 'fbuf: Invalid vga setting: "x"'],
    [displayLength(640, 3840, 1920), '1920', undefined],
    [displayLength(640, 3840, 1920), '0', undefined],
    [displayLength(640, 3840, 1920), '3841', 'fbuf: max resolution is 3840x2160'],
    [displayLength(640, 3840, 1920), '639', 'fbuf: minimum resolution is 640x480'],
    [UUID, 'b34ee350-051a-11e9-b6db-000bab896163', undefined],
    [UUID, 'b34ee350', "Invalid UUID 'b34ee350'"],
  ])('%# %j', (type, value, problem) => {
    expect(type.check(value, 'v')).toBe(problem);
  });
});

it('knows as many vCPUs as the core has room for', () => {
  expect(MAX_VCPUS).toBe(layout.MAX_VCPUS);
});
