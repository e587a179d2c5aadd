/** Chains of virtqueue descriptors that no driver makes (FreeBSD-SA-21:13: error returns of the chain walker that nobody looked at). */
import { DESC_INDIRECT, DESC_NEXT, DESC_WRITE, type FakeDriver } from './fake-driver.ts';

/** Where their buffers and indirect tables lie. */
export const REQUEST = 0x100000;
export const RESPONSE = 0x120000;
export const TABLE = 0x130000;
export const REQUEST_BYTES = 51;
export const RESPONSE_BYTES = 108;

/** Chains that no driver makes; the first is in the descriptor table, the second behind an indirect descriptor. */
export const HOSTILE_CHAINS: readonly [name: string, write: (driver: FakeDriver) => void][] = [
  [
    'a loop',
    (driver) => {
      driver.setDescriptor(driver.ringGpa, 0, REQUEST, 16, DESC_NEXT, 1);
      driver.setDescriptor(driver.ringGpa, 1, REQUEST, 16, DESC_NEXT, 0);
    },
  ],
  ['itself', (driver) => driver.setDescriptor(driver.ringGpa, 0, REQUEST, 16, DESC_NEXT, 0)],
  [
    'a successor that is not there',
    (driver) => driver.setDescriptor(driver.ringGpa, 0, REQUEST, 16, DESC_NEXT, 0xffff),
  ],
  ['an empty buffer alone', (driver) => driver.setDescriptor(driver.ringGpa, 0, REQUEST, 0, 0, 0)],
  ['a buffer outside memory', (driver) => driver.setDescriptor(driver.ringGpa, 0, 2n ** 63n, 16, 0, 0)],
  ['a length beyond memory', (driver) => driver.setDescriptor(driver.ringGpa, 0, REQUEST, 0xffffffff, 0, 0)],
  [
    'readable after writable',
    (driver) => {
      driver.setDescriptor(driver.ringGpa, 0, RESPONSE, RESPONSE_BYTES, DESC_NEXT | DESC_WRITE, 1);
      driver.setDescriptor(driver.ringGpa, 1, REQUEST, REQUEST_BYTES, 0, 0);
    },
  ],
  [
    'indirect inside indirect',
    (driver) => {
      driver.setDescriptor(driver.ringGpa, 0, TABLE, 16, DESC_INDIRECT, 0);
      driver.setDescriptor(TABLE, 0, TABLE, 16, DESC_INDIRECT, 0);
    },
  ],
  [
    'an indirect table that loops',
    (driver) => {
      driver.setDescriptor(driver.ringGpa, 0, TABLE, 32, DESC_INDIRECT, 0);
      driver.setDescriptor(TABLE, 0, REQUEST, 16, DESC_NEXT, 1);
      driver.setDescriptor(TABLE, 1, REQUEST, 16, DESC_NEXT, 0);
    },
  ],
  ['an empty indirect table', (driver) => driver.setDescriptor(driver.ringGpa, 0, TABLE, 0, DESC_INDIRECT, 0)],
  ['half an indirect descriptor', (driver) => driver.setDescriptor(driver.ringGpa, 0, TABLE, 8, DESC_INDIRECT, 0)],
  [
    'an enormous indirect table',
    (driver) => driver.setDescriptor(driver.ringGpa, 0, TABLE, 0xfffffff0, DESC_INDIRECT, 0),
  ],
  ['a table outside memory', (driver) => driver.setDescriptor(driver.ringGpa, 0, 0xfffff000, 16, DESC_INDIRECT, 0)],
];
