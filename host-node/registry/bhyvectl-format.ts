/** Lines of bhyvectl's output, as scripts read them. */
import type { DescriptorText } from '../../devices/machine/control.ts';

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
