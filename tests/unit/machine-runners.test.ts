import { beforeAll, describe, expect, test } from 'vitest';
import { PEND_INTR, R_GPR, SUSPEND_POWEROFF, SUSPEND_REASON } from '../../core-as/layout.ts';
import { MmioBus } from '../../devices/bus/mmio-bus.ts';
import { PortBus } from '../../devices/bus/port-bus.ts';
import {
  Core,
  CoreState,
  createCoreMemory,
  planMemory,
  vcpuBlock,
  writeCoreConfig,
} from '../../devices/machine/core.ts';
import { directImports } from '../../devices/machine/core-imports.ts';
import { HostPump } from '../../devices/machine/host-pump.ts';
import { MailboxSet } from '../../devices/machine/mailbox-set.ts';
import type { MailboxTarget } from '../../devices/machine/mailbox.ts';
import { InlineRunner, ThreadRunner, type VcpuRunner } from '../../devices/machine/runners.ts';
import { createNodeHost } from '../../host-node/node-host.ts';
import { compileCore } from '../support/compile-core.ts';
import { vcpuWorkerForTests } from '../support/machine-worker.ts';
import { PLAIN_CORE_CONFIG } from '../support/core-config.ts';

let module: WebAssembly.Module;
let workerUrl: URL;

beforeAll(async () => {
  module = await compileCore('tests/support/machine-fake-core.entry.ts');
  workerUrl = await vcpuWorkerForTests();
}, 120_000);

class Registers {
  portValue = 100;
  mmioValues: number[] = [];
  notes: number[][] = [];
  errors: unknown[] = [];
}

interface Rig {
  readonly state: CoreState;
  readonly runner: VcpuRunner;
  readonly registers: Registers;
  readonly failures: unknown[];
  ended(): Promise<void>;
  dispose(): Promise<void>;
}

function rig(mode: 'thread' | 'inline', vcpus: number, quiet = false): Rig {
  const host = createNodeHost({ core: module, workerUrl });
  const plan = planMemory(64 * 2 ** 20, vcpus);
  const memory = createCoreMemory(plan);
  const state = new CoreState(memory);
  writeCoreConfig(state, { ...PLAIN_CORE_CONFIG, plan });
  const registers = new Registers();
  const failures: unknown[] = [];
  const ports = new PortBus();
  const mmio = new MmioBus();
  ports.claim('counter', 0x1000, 4, {
    readPort: () => registers.portValue,
    writePort: (_port, _size, value) => {
      registers.portValue = value;
    },
  });
  mmio.claim('log', 0xc0000000, 4, {
    readMmio: () => registers.mmioValues.at(-1) ?? 0,
    writeMmio: (_offset, _size, value) => {
      registers.mmioValues.push(value);
    },
  });
  if (quiet) mmio.post(0xc0000000, [{ offset: 0, lengthBytes: 4, quiet }]);
  const target: MailboxTarget = {
    ports,
    mmio,
    note: (vcpu, note, a, b) => registers.notes.push([vcpu, note, a, b]),
    chunk: () => 0,
    deviceError: (error) => registers.errors.push(error),
    stalled: () => false,
  };
  const sources = { nowNs: () => host.nowNs(), wallSeconds: () => 0, random: () => 4 };
  let resolveEnd: (() => void) | undefined;
  const end = new Promise<void>((resolve) => {
    resolveEnd = resolve;
  });
  const service = (): void => {
    runner.service();
    if (state.u32(SUSPEND_REASON) !== 0) resolveEnd?.();
  };
  const pump = new HostPump(state, service, () => host.yieldNow());
  const release = host.keepAlive();
  let runner: VcpuRunner;
  if (mode === 'thread') {
    const spawn = host.spawnVcpu;
    if (!spawn) throw new Error('no threads');
    runner = new ThreadRunner(
      state,
      new MailboxSet(state, vcpus, target),
      (vcpu, died) =>
        spawn({ module, memory, vcpu, clockOrigin: host.clockOrigin, rtcUtc: true }, (error) => {
          failures.push(error);
          died();
        }),
      () => pump.ring(),
    );
  } else {
    const cores = Array.from({ length: vcpus }, (_, vcpu) =>
      Core.instantiate(module, state, vcpu, directImports(vcpu, target, sources)),
    );
    runner = new InlineRunner(
      cores,
      {
        hostNowNs: () => host.nowNs(),
        yieldNow: () => host.yieldNow(),
        serviceDevices: service,
        nextDeviceDeadlineNs: () => Infinity,
        stalled: () => false,
      },
      (error) => failures.push(error),
    );
  }
  pump.start();
  return {
    state,
    runner,
    registers,
    failures,
    ended: () => end,
    dispose: async () => {
      await runner.destroy();
      pump.stop();
      release();
    },
  };
}

function script(state: CoreState, vcpu: number, number: number, limit: number): void {
  state.setU64(vcpuBlock(vcpu) + R_GPR, BigInt(number));
  state.setU64(vcpuBlock(vcpu) + R_GPR + 24, BigInt(limit));
}

function result(state: CoreState, vcpu: number): number {
  return Number(state.u64(vcpuBlock(vcpu) + R_GPR + 16));
}

describe.each(['thread', 'inline'] as const)('vCPUs in %s mode', (mode) => {
  test('reads and writes reach the buses in order and are answered', async () => {
    const { state, runner, registers, ended, dispose } = rig(mode, 1);
    script(state, 0, 1, 200);
    runner.start();
    await ended();
    await dispose();
    expect(registers.portValue).toBe(300);
    expect(registers.mmioValues).toEqual(Array.from({ length: 200 }, (_, i) => 100 + i));
    expect(result(state, 0)).toBe(299);
    expect(registers.errors).toEqual([]);
  });

  test.each([false, true])('writes keep their order and are there when a read returns (quiet: %s)', async (quiet) => {
    // More than a mailbox holds: quiet ones are served when there is no room for another.
    const { state, runner, registers, ended, dispose } = rig(mode, 1, quiet);
    script(state, 0, 4, 0);
    runner.start();
    await ended();
    await dispose();
    expect(registers.mmioValues).toEqual(Array.from({ length: 1000 }, (_, i) => i));
    expect(result(state, 0)).toBe(999);
    expect(registers.notes).toEqual([[0, 1, 7, 8]]);
  });

  test('a halted vCPU is woken by a kick', async () => {
    const { state, runner, ended, dispose } = rig(mode, 2);
    script(state, 0, 2, 5);
    script(state, 1, 2, 1000);
    runner.start();
    const timer = setInterval(() => state.kick(0, PEND_INTR), 5);
    await ended();
    clearInterval(timer);
    await dispose();
    expect(result(state, 0)).toBe(5);
    expect(result(state, 1)).toBe(0);
    expect(state.u32(SUSPEND_REASON)).toBe(SUSPEND_POWEROFF);
  });

  test('HLT sleeps until its deadline, not much longer and not busily', async () => {
    const { state, runner, ended, dispose } = rig(mode, 1);
    script(state, 0, 3, 10);
    const before = performance.now();
    runner.start();
    await ended();
    const elapsedMs = performance.now() - before;
    await dispose();
    expect(elapsedMs).toBeGreaterThan(99);
    // Ten sleeps of 10 ms; each may have looked at its deadline once or twice, not thousands of times.
    expect(result(state, 0)).toBe(10);
  });

  test('pause stops every vCPU and resume lets them go on', async () => {
    const { state, runner, dispose } = rig(mode, 2);
    script(state, 0, 0, 0);
    script(state, 1, 2, 1000);
    const steps = (): number => Number(state.u64(vcpuBlock(0) + R_GPR + 8));
    runner.start();
    await expect.poll(steps).toBeGreaterThan(10);
    await runner.pause();
    const paused = steps();
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(steps()).toBe(paused);
    runner.resume();
    await expect.poll(steps).toBeGreaterThan(paused + 10);
    await runner.pause();
    await dispose();
  });

  test('pause and resume in quick succession', async () => {
    const { state, runner, dispose } = rig(mode, 2);
    script(state, 0, 0, 0);
    script(state, 1, 2, 1000);
    runner.start();
    for (let i = 0; i < 300; i++) {
      await runner.pause();
      runner.resume();
    }
    await runner.pause();
    await dispose();
  });

  test('a core that traps is reported and can be disposed of', async () => {
    const { state, runner, failures, dispose } = rig(mode, 1);
    script(state, 0, 5, 0);
    runner.start();
    await expect.poll(() => failures.length, { timeout: 10_000 }).toBe(1);
    await dispose();
    expect(String(failures[0])).toMatch(/unreachable/);
  });
});
