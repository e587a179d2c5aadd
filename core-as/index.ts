/** What the core module exports; devices/machine/core.ts is the typed binding. */
import { lastException as delivered } from './cpu/exception';
import { initCodeCache } from './cpu/invalidate';
import { rflags, writeRflags } from './cpu/flags';
import { bindCpu, clearFault, cpu, updateMode } from './cpu/state';
import { raiseNmi as sendNmi } from './intc/lapic';
import { vcpuBlock } from './kick';
import { platformReset } from './intc/platform';
import { R_INDEX } from './layout';
import { mapRam } from './mmu/physical';
import { initTlb, probe, readPointer, writePointer } from './mmu/tlb';

export { debugStep, run, stateChanged, stepOne, vcpuReset } from './cpu/run';
export { commitChunk, dropChunkCode, flushAllVcpus, noteWrite } from './mmu/physical';
export {
  platformReset,
  pmTimerValue,
  portWrite,
  pulseIsaIrq,
  sendMsi,
  setIoApicPin,
  setIsaIrq,
  uartHostEvent,
  uartIrqLevel,
  uartRead,
  uartRouteIntx,
  uartWrite,
} from './intc/platform';
export { allowBlocking } from './intc/lock';
export { kickVcpu } from './kick';
// Exported so that the optimizer does not make it a part of interpret(), its only caller.
export { runRegions } from './jit/chain';
export { jitFlags, jitRead, jitReadModify, jitRun, jitString, jitVector, jitWrite, jitWriteBack } from './jit/helpers';
export { compileAtOnce, initJit } from './jit/jit';
export { restoredStateIsSound } from './restored';
import './layout-checks';

/** Binds this instance to a vCPU; -1 for the devices' thread, which has none. */
export function init(vcpu: i32): void {
  if (vcpu < 0) {
    bindCpu(0, 0);
    return;
  }
  bindCpu(vcpuBlock(vcpu), vcpu);
  store<u32>(cpu, vcpu, R_INDEX);
  initCodeCache();
  initTlb();
}

/** Once a machine, after the configuration words are set and before any vCPU is reset. */
export function machineInit(): void {
  mapRam();
  platformReset();
}

/** RFLAGS of this instance's vCPU. */
export function getRflags(): u64 {
  return rflags(cpu);
}

/** Sets RFLAGS, with what derives from it. */
export function setRflags(value: u64): void {
  writeRflags(cpu, value);
  updateMode();
}

/** A non-maskable interrupt for a vCPU (bhyvectl --inject-nmi). */
export function raiseNmi(vcpu: u32): void {
  sendNmi(vcpu);
}

/** Guest-physical address of a linear address with this vCPU's page tables; u64.MAX_VALUE when it is not mapped. */
export function translate(address: u64): u64 {
  return probe(address);
}

/** Has the TLB hold the page of a linear address, for reading or for writing: for tests of compiled code, which leaves on a miss. */
export function fillTlb(address: u64, write: bool): void {
  if (write) writePointer(address);
  else readPointer(address);
  clearFault();
}

/** Vector | error code << 8 of the exception delivered during the last stepOne(), -1 for none. */
export function lastException(): i32 {
  return delivered;
}
