/** What the machine does, once a second. */
import type { MachineDescription, MachineStatus } from '../port/protocol.ts';
import { element, formatBytes } from './elements.ts';

const NS_PER_SECOND = 1e9;

function formatTime(ns: number): string {
  const seconds = Math.max(0, Math.floor(ns / NS_PER_SECOND));
  const pad = (value: number): string => String(value).padStart(2, '0');
  return `${Math.floor(seconds / 3600)}:${pad(Math.floor(seconds / 60) % 60)}:${pad(seconds % 60)}`;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

interface Sample {
  readonly atMs: number;
  readonly instructions: number;
  readonly readBytes: number;
  readonly writtenBytes: number;
  readonly sentBytes: number;
  readonly receivedBytes: number;
}

export class StatusLine {
  readonly #cells = Object.fromEntries(
    ['engine', 'cpus', 'speed', 'uptime', 'memory', 'disk-activity', 'network-activity'].map((id) => [
      id,
      element(id, HTMLSpanElement),
    ]),
  );
  #last: Sample | undefined;

  #show(id: string, text: string): void {
    const cell = this.#cells[id];
    if (cell) cell.textContent = text;
  }

  describe({ backend, jit, vcpus, inlineReason }: MachineDescription): void {
    this.#show('engine', `${backend === 'thread' ? 'threads' : 'inline'} · ${jit ? 'JIT' : 'interpreter'}`);
    const cell = this.#cells['engine'];
    if (cell)
      cell.title =
        inlineReason ??
        (backend === 'thread' ? 'Each processor has a thread of its own' : 'All processors share one thread');
    this.#show('cpus', `${vcpus} vCPU${vcpus === 1 ? '' : 's'}`);
    this.#show('speed', '– MIPS');
    this.#show('disk-activity', '');
    this.#show('network-activity', '');
    this.#last = undefined;
  }

  update(status: MachineStatus): void {
    const sample: Sample = {
      atMs: performance.now(),
      instructions: sum(status.instructions.map(Number)),
      readBytes: sum(status.disks.map(({ readBytes }) => readBytes)),
      writtenBytes: sum(status.disks.map(({ writtenBytes }) => writtenBytes)),
      sentBytes: sum(status.networks.map(({ sentBytes }) => sentBytes)),
      receivedBytes: sum(status.networks.map(({ receivedBytes }) => receivedBytes)),
    };
    const last = this.#last;
    this.#last = sample;
    this.#show('uptime', formatTime(status.machineNs));
    this.#show('memory', `${formatBytes(status.residentBytes)} touched`);
    if (!last) return;
    const seconds = (sample.atMs - last.atMs) / 1000;
    const mips = (sample.instructions - last.instructions) / seconds / 1e6;
    this.#show('speed', `${mips < 10 ? mips.toFixed(1) : Math.round(mips)} MIPS`);
    const rate = (bytes: number): string => `${formatBytes(bytes / seconds)}/s`;
    const both = (name: string, into: number, out: number): string => `${name} ↓ ${rate(into)} ↑ ${rate(out)}`;
    if (status.disks.length > 0) {
      const [read, written] = [sample.readBytes - last.readBytes, sample.writtenBytes - last.writtenBytes];
      this.#show('disk-activity', both('disk', read, written));
    }
    const fetched = sum(status.disks.map(({ fetchedBytes }) => fetchedBytes));
    const network = [
      ...(status.networks.length > 0
        ? [both('net', sample.receivedBytes - last.receivedBytes, sample.sentBytes - last.sentBytes)]
        : []),
      ...(fetched > 0 ? [`fetched ${formatBytes(fetched)}`] : []),
    ];
    this.#show('network-activity', network.join(' · '));
  }
}
