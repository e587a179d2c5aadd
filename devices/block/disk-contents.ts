/** What a disk in memory holds, as a part of the machine of its own: snapshots keep it, and resets leave it alone. */
import type { BlockBackend, VolatileBlock, VolatileBlocks } from '../backends/block.ts';
import { PassiveDevice } from '../device.ts';
import { StateFields } from '../platform/state-fields.ts';
import type { DeviceState } from '../snapshot.ts';

const KIND = 'disk-contents';
const VERSION = 1;

export class DiskContents extends PassiveDevice {
  constructor(
    private readonly disk: BlockBackend,
    private readonly blocks: VolatileBlocks,
  ) {
    super();
  }

  reset(): void {}

  save(): DeviceState {
    const all = [...this.blocks.list()];
    const { blockBytes } = this.blocks;
    const bytes = new Uint8Array(all.length * blockBytes);
    for (const [at, block] of all.entries()) bytes.set(block.bytes, at * blockBytes);
    const indices = all.map(({ index }) => index);
    return { kind: KIND, version: VERSION, fields: { sizeBytes: this.disk.sizeBytes, indices, bytes } };
  }

  restore(state: DeviceState): void {
    const fields = StateFields.open(state, KIND, VERSION);
    const { blockBytes } = this.blocks;
    const count = Math.ceil(this.disk.sizeBytes / blockBytes);
    // The size is the fingerprint: a disk that has grown since is another one.
    const indices = fields.integers('indices', count, Math.max(0, count - 1));
    const bytes = fields.bytes('bytes', indices.length * blockBytes);
    fields.same('sizeBytes', this.disk.sizeBytes);
    const blockAt = (at: number): VolatileBlock => ({
      index: indices[at] ?? 0,
      bytes: bytes.subarray(at * blockBytes, (at + 1) * blockBytes),
    });
    this.blocks.replace(indices.map((_, at) => blockAt(at)));
  }
}
