/**
 * A folder of this host as a share. There is no way out of it: an object is reached from the root's descriptor, one name at a time, each
 * opened with O_PATH and O_NOFOLLOW below the descriptor of its directory (descriptors.ts). So the host never follows a symbolic link,
 * there is no path that a rename could redirect between a check and its use, and `..` is answered from what was walked. What guests
 * make as devices, FIFOs and sockets are files here (metadata.ts), and those of the host are never opened.
 */
import { constants, fstatSync, openSync, type BigIntStats } from 'node:fs';
import { ShareError, type ShareBackend, type ShareNode } from '../../devices/backends/share.ts';
import { OnTheSpot } from '../disk/on-the-spot.ts';
import { closeDescriptor, DescriptorCache, descriptorPath, O_PATH } from './descriptors.ts';
import { FolderNode } from './folder-node.ts';
import { MetadataStore } from './metadata.ts';

export interface FolderOptions {
  /** Descriptors of objects that are kept open; a quarter of the process's limit by default. */
  readonly maxDescriptors?: number;
}

/** File systems below the share's root have inode numbers of their own: theirs are told apart in the upper 16 bits of ids. */
const INODE_BITS = 48n;
/** The guest waits for each of its reads and writes, and none is longer than a message. */
const ON_THE_SPOT_BYTES = 512 * 1024;

export class FolderShare implements ShareBackend {
  readonly readOnly = false;
  readonly descriptors: DescriptorCache;
  readonly metadata: MetadataStore;
  /** Transfers of files of the root's file system. */
  readonly spot: OnTheSpot | undefined;
  readonly #root: FolderNode;
  readonly #rootDevice: bigint;
  readonly #devices = new Map<bigint, bigint>();
  /** Objects that the guest knows, by id. */
  readonly #nodes = new Map<bigint, FolderNode>();
  #pins = 0;
  #openFiles = 0;

  private constructor(rootDescriptor: number, options: FolderOptions) {
    this.descriptors = new DescriptorCache(options.maxDescriptors);
    this.metadata = new MetadataStore(rootDescriptor);
    this.spot = OnTheSpot.now(descriptorPath(rootDescriptor), ON_THE_SPOT_BYTES);
    const stats = fstatSync(rootDescriptor, { bigint: true });
    this.#rootDevice = stats.dev;
    this.#root = new FolderNode(this, rootDescriptor, stats, undefined);
    this.#nodes.set(this.idOf(stats), this.#root);
  }

  /** Opens a folder; throws what open(2) says, or that this host has no such descriptors. */
  static open(path: string, options: FolderOptions = {}): FolderShare {
    if (process.platform !== 'linux') throw new Error('virtio-9p: folders can be shared on Linux only');
    const descriptor = openSync(path, O_PATH | constants.O_DIRECTORY);
    try {
      return new FolderShare(descriptor, options);
    } catch (error) {
      closeDescriptor(descriptor);
      throw error;
    }
  }

  root(): ShareNode {
    return this.#root.hold();
  }

  /** One more object without a name keeps its descriptor; false when there are too many of them. */
  takePin(): boolean {
    if (this.#pins >= this.descriptors.limit / 2) return false;
    this.#pins++;
    return true;
  }

  givePin(): void {
    this.#pins--;
  }

  /** Room for one more open file; the function gives it back. ENFILE when the guest has too many. */
  takeOpenFile(): () => void {
    if (this.#openFiles >= this.descriptors.limit) throw new ShareError('ENFILE');
    this.#openFiles++;
    return () => {
      this.#openFiles--;
    };
  }

  get rootNode(): FolderNode {
    return this.#root;
  }

  /** The id of the object that stats are of. */
  idOf({ dev, ino }: BigIntStats): bigint {
    if (dev === this.#rootDevice) return ino;
    let index = this.#devices.get(dev);
    if (index === undefined) this.#devices.set(dev, (index = BigInt(this.#devices.size + 1)));
    return BigInt.asUintN(64, (index << INODE_BITS) ^ ino);
  }

  /** On the root's file system, where metadata is kept by inode number alone. */
  onRootDevice({ dev }: BigIntStats): boolean {
    return dev === this.#rootDevice;
  }

  /** The object that a descriptor names, held. The descriptor is the node's from here on, or closed if there is one already. */
  adopt(descriptor: number, parent: FolderNode, name: string): FolderNode {
    let stats: BigIntStats;
    try {
      stats = fstatSync(descriptor, { bigint: true });
    } catch (error) {
      closeDescriptor(descriptor);
      throw error;
    }
    const id = this.idOf(stats);
    const known = this.#nodes.get(id);
    if (known?.isSame(stats) === true) {
      closeDescriptor(descriptor);
      known.moved(parent, name);
      return known.hold();
    }
    const node = new FolderNode(this, descriptor, stats, { parent, name });
    this.#nodes.set(id, node);
    return node;
  }

  /** The object that the guest knows under an id. */
  known(stats: BigIntStats): FolderNode | undefined {
    const node = this.#nodes.get(this.idOf(stats));
    return node?.isSame(stats) === true ? node : undefined;
  }

  forget(id: bigint, node: FolderNode): void {
    if (this.#nodes.get(id) === node) this.#nodes.delete(id);
  }

  /** Objects that the guest knows. */
  get nodeCount(): number {
    return this.#nodes.size;
  }

  close(): void {
    for (const node of this.#nodes.values()) node.closeDescriptor();
    this.#nodes.clear();
  }
}
