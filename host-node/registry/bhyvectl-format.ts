/** Lines of bhyvectl's output, as scripts read them. */
import type { ControlCommands, DescriptorText } from '../../devices/machine/control.ts';

const DAYS = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'] as const;
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'] as const;
const HIGHMEM = 0x1_0000_0000n;

function hex(value: bigint | number, digits: number): string {
  return `0x${value.toString(16).padStart(digits, '0')}`;
}

/** `rip[0]\t\t0x...`; names that reach the next tab stop get one tab. */
function label(name: string, vcpu: number): string {
  const text = `${name}[${vcpu}]`;
  return text.length < 8 ? `${text}\t\t` : `${text}\t`;
}

export function registerLine(name: string, vcpu: number, value: bigint): string {
  return `${label(name, vcpu)}${hex(value, 16)}\n`;
}

export function selectorLine(name: string, vcpu: number, { selector }: DescriptorText): string {
  return `${label(name, vcpu)}${hex(selector, 4)}\n`;
}

/** Base, limit and access rights; tables have no access rights. */
export function descriptorLine(name: string, vcpu: number, { base, limit, access }: DescriptorText): string {
  const range = `${hex(BigInt(base), 16)}/${hex(limit, 8)}`;
  if (name === 'gdtr' || name === 'idtr') return `${label(name, vcpu)}${range}\n`;
  return `${label(`${name} desc`, vcpu)}${range}/${hex(access, 8)}\n`;
}

export function lowmemLine(lengthBytes: number): string {
  return `lowmem\t\t${hex(0, 16)}/${lengthBytes}\n`;
}

export function highmemLine(lengthBytes: number): string {
  return `highmem\t\t${hex(HIGHMEM, 16)}/${lengthBytes}\n`;
}

/** ctime(3)'s form, in UTC. */
export function rtcTimeLine(seconds: number): string {
  const date = new Date(seconds * 1000);
  const two = (value: number): string => String(value).padStart(2, '0');
  const time = [date.getUTCHours(), date.getUTCMinutes(), date.getUTCSeconds()].map(two).join(':');
  const day = `${DAYS[date.getUTCDay()]} ${MONTHS[date.getUTCMonth()]} ${two(date.getUTCDate())}`;
  return `rtc time ${seconds === 0 ? '0' : hex(seconds, 1)}: ${day} ${time} ${date.getUTCFullYear()}\n`;
}

export function nvramLine(offset: number, value: number): string {
  return `rtc nvram[${String(offset).padStart(3, '0')}]: ${hex(value, 2)}\n`;
}

export function cpusLine(banner: string, cpus: readonly number[]): string {
  return `${banner}:\t ${cpus.length === 0 ? '(none)' : cpus.join(', ')}\n`;
}

export function topologyLine(topology: Readonly<Record<'sockets' | 'cores' | 'threads' | 'maxcpus', number>>): string {
  const { sockets, cores, threads, maxcpus } = topology;
  return `cpu_topology:\tsockets=${sockets}, cores=${cores}, threads=${threads}, maxcpus=${maxcpus}\n`;
}

export function statisticsText(vcpu: number, list: readonly (readonly [name: string, value: string])[]): string {
  return [`vcpu${vcpu} stats:\n`, ...list.map(([name, value]) => `${name.padEnd(40)}\t${value}\n`)].join('');
}

/** printf(3)'s %#lx. */
function plainHex(value: bigint): string {
  return value === 0n ? '0' : hex(value, 1);
}

/** Registers beside the general ones: by which option, from which register of the machine, as which line. */
export const MACHINE_REGISTER_LINES: readonly {
  readonly option: string;
  readonly register: string;
  line(vcpu: number, value: bigint): string;
}[] = [
  {
    option: 'get-tsc-offset',
    register: 'tsc_offset',
    line: (vcpu, value) => `tsc_offset[${vcpu}]\t${hex(value, 16)}\n`,
  },
  { option: 'get-guest-pat', register: 'pat', line: (vcpu, value) => `guest_pat[${vcpu}]\t\t${hex(value, 16)}\n` },
  ...(['cs', 'sp', 'ip'] as const).map((part) => ({
    option: 'get-guest-sysenter',
    register: `sysenter_${part}`,
    line: (vcpu: number, value: bigint) => `guest_sysenter_${part}[${vcpu}]\t${plainHex(value)}\n`,
  })),
];

export function capabilityLine(name: string, set: boolean, vcpu: number): string {
  return `Capability "${name}" is ${set ? 'set' : 'not set'} on vcpu ${vcpu}\n`;
}

/** humanize_number(3) with a suffix of "B" in eight characters: five digits at most. */
function humanBytes(lengthBytes: number): string {
  let [value, unit] = [lengthBytes, 0];
  for (; value >= 100_000 && unit < 6; unit++) value /= 1024;
  return `${Math.round(value)}${['', 'K', 'M', 'G', 'T', 'P', 'E'][unit]}B`;
}

type Memory = ControlCommands['memory']['result'];

/** vmm(4)'s segment of all boot ROMs. */
const ROM_SEGMENT_BYTES = 0x100_0000;

export function memorySegments({ lowBytes, highBytes, romBytes }: Memory): string {
  const line = (id: number, lengthBytes: number, name: string): string =>
    `${String(id).padEnd(4)}${humanBytes(lengthBytes).padEnd(12)}${name}\n`;
  return `ID  Length      Name\n${line(0, lowBytes + highBytes, 'sysmem')}${romBytes > 0 ? line(1, ROM_SEGMENT_BYTES, 'bootrom') : ''}`;
}

export function memoryMap({ lowBytes, highBytes, romBytes }: Memory): string {
  const line = (gpa: number, lengthBytes: number, segment: string, offset: number, protection: string): string => {
    const address = (value: number): string => value.toString(16).toUpperCase().padEnd(12);
    if (lengthBytes === 0) return '';
    return `${address(gpa)}${humanBytes(lengthBytes).padEnd(12)}${segment.padEnd(12)}${address(offset)}${protection}   \n`;
  };
  return (
    'Address     Length      Segment     Offset      Prot  Flags\n' +
    line(0, lowBytes, 'sysmem', 0, 'RWX') +
    line(Number(HIGHMEM) - romBytes, romBytes, 'bootrom', ROM_SEGMENT_BYTES - romBytes, 'R-X') +
    line(Number(HIGHMEM), highBytes, 'sysmem', lowBytes, 'RWX')
  );
}
