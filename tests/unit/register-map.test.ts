import { expect, test } from 'vitest';
import { RegisterMap, wideRegister, type BadAccess } from '../../devices/bus/register-map.ts';

function setUp() {
  const values = { control: 0x1234, byte: 0x56, low: 0x89abcdef, high: 0x01234567 };
  const bad: BadAccess[] = [];
  const map = new RegisterMap(
    [
      {
        name: 'control',
        offset: 0,
        bytes: 2,
        read: () => values.control,
        write: (value) => (values.control = value),
        writeWidth: 'bytes',
      },
      { name: 'byte', offset: 2, bytes: 1, read: () => values.byte },
      ...wideRegister(
        'base',
        8,
        () => [values.low, values.high],
        (low, high) => {
          values.low = low ?? values.low;
          values.high = high ?? values.high;
        },
      ),
    ],
    (kind) => bad.push(kind),
  );
  return { values, bad, map };
}

test('reads parts, wholes and several registers; what is between them reads as ones', () => {
  const { map, bad } = setUp();
  expect(map.read(0, 2)).toBe(0x1234);
  expect(map.read(1, 1)).toBe(0x12);
  expect(map.read(0, 4)).toBe(0xff561234);
  expect(map.read(10, 4)).toBe(0x456789ab);
  expect(bad).toEqual([]);
  expect(map.read(4, 4)).toBe(0xffffffff);
  expect(bad).toEqual(['reserved']);
});

test('writes parts where a register takes them, and counts what it does not take', () => {
  const { map, values, bad } = setUp();
  map.write(1, 1, 0xab);
  expect(values.control).toBe(0xab34);
  map.write(8, 4, 0xdeadbeef);
  map.write(12, 4, 1);
  expect([values.low, values.high]).toEqual([0xdeadbeef, 1]);
  map.write(8, 2, 0);
  expect(values.low).toBe(0xdeadbeef);
  map.write(2, 1, 0);
  map.write(5, 1, 0);
  expect(bad).toEqual(['width', 'read-only', 'reserved']);
  map.write(0, 4, 0x00770102);
  expect(values.control).toBe(0x0102);
});

test('registers do not overlap', () => {
  const register = { name: 'a', offset: 0, bytes: 4 } as const;
  expect(() => new RegisterMap([register, { ...register, name: 'b', offset: 2 }], () => undefined)).toThrow(
    /b overlaps a/,
  );
});
