/** Counters of a machine and of one vCPU, as `bhyvectl --get-stats` lists them; vmm(4)'s names where it has the counter. */
import {
  CHUNK_SIZE,
  POOL_USED_CHUNKS,
  R_ICOUNT,
  R_PAUSE_EXITS,
  UART,
  UART_RX_TAIL,
  UART_STRIDE,
  UART_TX_HEAD,
} from '../../core-as/layout.ts';
import { vcpuBlock } from './core.ts';
import { JIT, jitStatistics } from './jit-stats.ts';
import type { Machine } from './machine.ts';

const RETIRED = 'instructions retired';

export interface Statistic {
  readonly name: string;
  readonly value: bigint;
}

export function readStatistics(machine: Machine, vcpu: number): Statistic[] {
  const { state } = machine;
  const { lowBytes, highBytes } = machine.plan;
  const uarts = [...machine.platform.serialPorts.keys()].flatMap((uart) => {
    const block = UART + uart * UART_STRIDE;
    // Rings count without wrapping, so that their ends are what ever went through, modulo 2^32.
    return [
      { name: `uart${uart} bytes sent`, value: BigInt(state.u32(block + UART_TX_HEAD)) },
      { name: `uart${uart} bytes received`, value: BigInt(state.u32(block + UART_RX_TAIL)) },
    ];
  });
  return [
    { name: RETIRED, value: state.u64(vcpuBlock(vcpu) + R_ICOUNT) },
    {
      name: 'Resident memory',
      value: BigInt(machine.pager?.residentBytes ?? state.u32(POOL_USED_CHUNKS) * CHUNK_SIZE),
    },
    ...swapStatistics(machine),
    { name: 'Wired memory', value: BigInt(machine.settings.flags.wired ? lowBytes + highBytes : 0) },
    { name: 'vm exits due to pause', value: state.u64(vcpuBlock(vcpu) + R_PAUSE_EXITS) },
    { name: 'machine time (ns)', value: BigInt(Math.floor(machine.clock.nowNs())) },
    { name: 'device errors', value: BigInt(machine.deviceErrors) },
    ...jitStatistics(state, vcpu),
    ...uarts,
    ...Object.entries(machine.platform.devices.counters()).flatMap(([device, counters]) =>
      Object.entries(counters).map(([name, value]) => ({ name: `${device}: ${name}`, value: BigInt(value) })),
    ),
  ];
}

function swapStatistics({ pager }: Machine): Statistic[] {
  if (!pager) return [];
  const { evictions, chunksBroughtIn, chunksWritten, rests } = pager.counters;
  return [
    { name: 'Swapped memory', value: BigInt(pager.swappedBytes) },
    { name: 'chunks evicted', value: BigInt(evictions) },
    { name: 'chunks written to swap', value: BigInt(chunksWritten) },
    { name: 'chunks read from swap', value: BigInt(chunksBroughtIn) },
    { name: 'rests for memory', value: BigInt(rests) },
  ];
}

/** Lines for the end of a run (`-o stats=1`): of every vCPU the instructions and the JIT's counters, then whatever is not zero. */
export function statisticLines(machine: Machine): string[] {
  const lines: string[] = [];
  for (let vcpu = 0; vcpu < machine.plan.vcpus; vcpu++) {
    for (const { name, value } of readStatistics(machine, vcpu)) {
      const ofVcpu = name === RETIRED || name.startsWith(JIT);
      if ((vcpu === 0 || ofVcpu) && value !== 0n) lines.push(`${ofVcpu ? `vcpu${vcpu} ${name}` : name}: ${value}`);
    }
  }
  return lines;
}
