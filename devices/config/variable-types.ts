/** Types of configuration variables. Each knows which texts it accepts; the texts of refusals are bhyve's where it has one. */
import type { RfbAddress } from '../backends/display.ts';
import { parseInteger } from './c-numbers.ts';
import { parseBoolean } from './tree.ts';

export interface VariableType<T = unknown> {
  /** What the reference calls it. */
  readonly label: string;
  /** Why the value is not one of this type, or undefined when it is. `name` is the variable's name. */
  check(value: string, name: string): string | undefined;
  /** The value of a text that {@link check} accepts. */
  parse(value: string): T;
}

function asText(value: string): string {
  return value;
}

/** Any text. */
export const STRING: VariableType<string> = { label: 'string', check: () => undefined, parse: asText };

/** A file, device node or socket of the host. */
export const PATH: VariableType<string> = { label: 'path', check: () => undefined, parse: asText };

export const BOOLEAN: VariableType<boolean> = {
  label: 'boolean',
  parse: (value) => parseBoolean(value) ?? false,
  check: (value, name) =>
    parseBoolean(value) === undefined ? `Invalid value ${value} for boolean variable ${name}` : undefined,
};

/** When code is compiled: what is hot, nothing, or all of it. */
export const JIT_MODE: VariableType<'hot' | 'never' | 'always'> = {
  label: 'boolean, `always`',
  parse: (value) => (value === 'always' ? 'always' : parseBoolean(value) ? 'hot' : 'never'),
  check: (value, name) =>
    value === 'always' || parseBoolean(value) !== undefined
      ? undefined
      : `Invalid value ${value} for ${name}: a boolean or always is expected`,
};

/** A linear address of the guest's, up to 64 bits: hexadecimal with `0x`, or decimal. */
export const LINEAR_ADDRESS: VariableType<bigint> = {
  label: 'address',
  parse: (value) => BigInt(value),
  check: (value, name) =>
    /^(0x[0-9a-f]{1,16}|[0-9]{1,19})$/i.test(value)
      ? undefined
      : `Invalid value ${value} for ${name}: an address is expected`,
};

/** An integer as strtol(3) with base 0 reads it. */
export function integer(minimum: number, maximum: number): VariableType<number> {
  return {
    parse: (value) => parseInteger(value, minimum, maximum) ?? minimum,
    label: `integer ${minimum}-${maximum}`,
    check: (value, name) =>
      parseInteger(value, minimum, maximum) === undefined
        ? `Invalid value ${value} for ${name}: an integer from ${minimum} to ${maximum} is expected`
        : undefined,
  };
}

/** Text of at most so many bytes. */
export function text(maximumLength: number): VariableType<string> {
  return {
    parse: asText,
    label: `string, at most ${maximumLength} characters`,
    check: (value, name) =>
      value.length > maximumLength ? `Value of ${name} is longer than ${maximumLength} characters` : undefined,
  };
}

/** One of a few words. */
export function choice<const W extends readonly string[]>(...words: W): VariableType<W[number]> {
  return {
    parse: (value) => words.find((word) => word === value) ?? words[0] ?? value,
    label: words.map((word) => `\`${word}\``).join(', '),
    check: (value, name) =>
      words.includes(value) ? undefined : `Invalid value ${value} for ${name}: one of ${words.join(', ')} is expected`,
  };
}

/** An identifier of a PCI configuration register: hexadecimal, or `host` for that of the host's own bridge. */
export const PCI_REGISTER: VariableType<number> = {
  parse: (value) => Number.parseInt(value, 16),
  label: 'hexadecimal number',
  check: (value, name) =>
    /^(0[xX])?[0-9a-fA-F]{1,4}$/.test(value)
      ? undefined
      : `Invalid value ${value} for ${name}: a hexadecimal number of at most four digits is expected`,
};

/** ethers(5): six hexadecimal octets; neither multicast nor all zero. */
export const MAC_ADDRESS: VariableType<Uint8Array> = {
  parse: (value) => Uint8Array.from(value.split(':'), (octet) => Number.parseInt(octet, 16)),
  label: 'MAC address',
  check(value) {
    const octets = value.split(':');
    const valid =
      octets.length === 6 &&
      octets.every((octet) => /^[0-9a-fA-F]{1,2}$/.test(octet)) &&
      (parseInt(octets[0] ?? '1', 16) & 1) === 0 &&
      octets.some((octet) => parseInt(octet, 16) !== 0);
    return valid ? undefined : `Invalid MAC ${value}`;
  },
};

/** Sizes of a disk's sectors. */
export interface SectorSizes {
  readonly logicalBytes: number;
  readonly physicalBytes: number;
}

/** `logical[/physical]`: powers of two from 512 up, the logical size not above the physical one. */
export const SECTOR_SIZE: VariableType<SectorSizes> = {
  parse(value) {
    const [logicalBytes = 0, physicalBytes = logicalBytes] = value.split('/').map(Number);
    return { logicalBytes, physicalBytes };
  },
  label: 'logical[/physical]',
  check(value) {
    if (!/^\d{1,9}(\/\d{1,9})?$/.test(value)) return `Invalid sector size "${value}"`;
    const [logical = 0, physical = logical] = value.split('/').map(Number);
    const power = (size: number): boolean => (size & (size - 1)) === 0;
    return logical < 512 || !power(logical) || !power(physical) || logical > physical
      ? `Invalid sector size ${logical}/${physical}`
      : undefined;
  },
};

/** RFC 9562 text form. */
export const UUID: VariableType<string> = {
  parse: asText,
  label: 'UUID',
  check: (value) =>
    /^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$/.test(value) ? undefined : `Invalid UUID '${value}'`,
};

/** `io` decodes the legacy VGA ports, `off` does not; bhyve names `on` in its manual and always refuses it. */
export const FRAMEBUFFER_VGA: VariableType<string> = {
  parse: asText,
  label: '`io`, `off`',
  check(value) {
    if (value === 'on') return 'pci_fbuf: VGA rendering not enabled';
    return value === 'io' || value === 'off' ? undefined : `fbuf: Invalid vga setting: "${value}"`;
  },
};

/** `[IPv4:]port`, `[IPv6%zone]:port` or `unix:path`; the port of an address in brackets may be left out. */
export function rfbAddress(defaultPort: number): VariableType<RfbAddress> {
  return {
    label: '[address:]port, unix:path',
    check(value) {
      if (value.startsWith(UNIX_PREFIX)) {
        return value === UNIX_PREFIX ? `fbuf: Missing path of the socket: "${value}"` : undefined;
      }
      const { address, rest } = splitAddress(value);
      if (address === undefined || (address !== '' && rest !== '' && !rest.startsWith(':'))) {
        return `fbuf: Invalid IPv6 address: "${value}"`;
      }
      if (rest === '' && address !== '') return undefined;
      const port = rest.replace(/^:/, '');
      if (port === '') return `fbuf: Missing port number: "${value}"`;
      return parseInteger(port, 1, 0xffff) === undefined ? `fbuf: Invalid port number: "${value}"` : undefined;
    },
    parse(value) {
      if (value.startsWith(UNIX_PREFIX)) return { kind: 'unix', path: value.slice(UNIX_PREFIX.length) };
      const { address = '', rest } = splitAddress(value);
      const host = address.replace(/^\[(.*)\]$/, '$1') || '127.0.0.1';
      return { kind: 'tcp', host, port: parseInteger(rest.replace(/^:/, ''), 1, 0xffff) ?? defaultPort };
    },
  };
}

const UNIX_PREFIX = 'unix:';

/** The address, with its brackets, and what follows it. */
function splitAddress(value: string): { readonly address: string | undefined; readonly rest: string } {
  const address = value.startsWith('[') ? /^\[[^\]]+\]/.exec(value)?.[0] : (/^[^:]*(?=:)/.exec(value)?.[0] ?? '');
  return { address, rest: value.slice(address?.length ?? 0) };
}

/** A length of the display; 0 stands for `standard`. */
export function displayLength(minimum: number, maximum: number, standard: number): VariableType<number> {
  return {
    parse: (value) => parseInteger(value, 0, maximum) || standard,
    label: `pixels ${minimum}-${maximum}`,
    check(value, name) {
      const length = parseInteger(value, 0, 0x7fffffff);
      if (length === undefined) return `Invalid value ${value} for ${name}: a number of pixels is expected`;
      if (length > maximum) return 'fbuf: max resolution is 3840x2160';
      return length !== 0 && length < minimum ? 'fbuf: minimum resolution is 640x480' : undefined;
    },
  };
}

/** Bits of a register, and which of them count. */
export interface MaskedBits {
  readonly value: number;
  readonly mask: number;
}

const ALL_BITS = 0xffff_ffff;

/** `VALUE[/MASK]`, 32 bits each, decimal or hexadecimal with `0x`. */
export const CPUID_VALUE: VariableType<MaskedBits> = {
  label: '`VALUE[/MASK]`',
  parse(value) {
    const [bits = 0, mask = ALL_BITS] = value.split('/').map(Number);
    return { value: bits, mask };
  },
  check(value, name) {
    const numbers = /^(0x[0-9a-f]{1,8}|\d{1,10})(\/(0x[0-9a-f]{1,8}|\d{1,10}))?$/i.test(value)
      ? value.split('/').map(Number)
      : [Infinity];
    if (numbers.some((number) => number > ALL_BITS)) {
      return `Invalid value ${value} for ${name}: 32 bits are expected, and perhaps a slash and a mask`;
    }
    const [bits = 0, mask = ALL_BITS] = numbers;
    return (bits & ~mask) !== 0 ? `Invalid value ${value} for ${name}: the mask does not cover it` : undefined;
  },
};
