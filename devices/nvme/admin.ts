/** Admin commands (NVM Express 1.4, 5). */
import { scatter } from '../block/scatter.ts';
import type { GuestMemory } from '../bus/guest-memory.ts';
import type { AsyncEvents } from './async-events.ts';
import { dataRegions, NvmeError, type NvmeCommand } from './command.ts';
import type { NvmeFeatures } from './features.ts';
import { changedNamespaceLog, firmwareLog, type Health } from './health.ts';
import * as I from './identify.ts';
import { NAMESPACE_ID, type NvmeNamespace } from './namespace.ts';
import type { QueueSet } from './queue-set.ts';
import * as R from './registers.ts';

const ALL_NAMESPACES = 0xffffffff;
const CNS_NAMESPACE = 0x00;
const CNS_CONTROLLER = 0x01;
const CNS_ACTIVE_NAMESPACES = 0x02;
const CNS_DESCRIPTORS = 0x03;
/** Retain asynchronous event: reading the log does not allow the next. */
const RETAIN_EVENT = 1 << 15;
const ABORT_NOT_DONE = 1;
const ERASE_NONE = 0;
const ERASE_USER_DATA = 1;

export interface AdminOptions {
  readonly memory: GuestMemory;
  readonly queues: QueueSet;
  readonly features: NvmeFeatures;
  readonly events: AsyncEvents;
  readonly health: Health;
  readonly namespace: NvmeNamespace;
  readonly serial: string;
  readonly eui64: bigint;
  readonly datasetManagement: boolean;
  /** Interrupt vectors that completion queues may have. */
  readonly vectors: number;
}

/** Stands for a command that completes later, by itself. */
export const HELD = Symbol('held');

export class AdminCommands {
  /** The namespace's attributes changed, and the host has not read the log page that says so. */
  namespaceChanged = false;
  readonly #options: AdminOptions;

  constructor(options: AdminOptions) {
    this.#options = options;
  }

  /**
   * Does an admin command; dword 0 of the completion, or HELD for an asynchronous event request. Throws or rejects NvmeError and
   * GuestAddressError.
   */
  execute(command: NvmeCommand): number | typeof HELD | Promise<number> {
    const { queues, features, events } = this.#options;
    switch (command.opcode) {
      case R.ADMIN_DELETE_SQ:
        return queues.deleteSubmission(command).then(() => 0);
      case R.ADMIN_CREATE_SQ:
        queues.createSubmission(command);
        return 0;
      case R.ADMIN_DELETE_CQ:
        queues.deleteCompletion(command);
        return 0;
      case R.ADMIN_CREATE_CQ:
        queues.createCompletion(command, this.#options.vectors);
        return 0;
      case R.ADMIN_IDENTIFY:
        this.#return(command, this.#identify(command), I.IDENTIFY_BYTES);
        return 0;
      case R.ADMIN_GET_LOG_PAGE:
        this.#getLogPage(command);
        return 0;
      case R.ADMIN_ABORT:
        // What has been taken from a queue goes to the backend at once and cannot be called back.
        return ABORT_NOT_DONE;
      case R.ADMIN_SET_FEATURES:
        return this.#setFeatures(command);
      case R.ADMIN_GET_FEATURES:
        return features.get(command.dword(10), command.dword(11));
      case R.ADMIN_ASYNC_EVENT_REQUEST:
        events.request(command.id);
        return HELD;
      case R.ADMIN_FORMAT_NVM:
        return this.#format(command);
      default:
        throw new NvmeError(R.SC_INVALID_OPCODE);
    }
  }

  #return(command: NvmeCommand, bytes: Uint8Array, lengthBytes: number): void {
    const regions = dataRegions(this.#options.memory, command, lengthBytes);
    regions.written(scatter(regions.views(), bytes.subarray(0, lengthBytes)));
  }

  #identify(command: NvmeCommand): Uint8Array {
    const { namespace, serial, eui64, datasetManagement } = this.#options;
    const { namespaceId } = command;
    switch (command.dword(10) & 0xff) {
      case CNS_NAMESPACE:
        // The common namespace, without a size, for the host that asks about all.
        if (namespaceId !== NAMESPACE_ID && namespaceId !== ALL_NAMESPACES) throw new NvmeError(R.SC_INVALID_NAMESPACE);
        return I.identifyNamespace({
          blocks: namespace.blocks,
          blockBytes: namespace.blockBytes,
          eui64,
          readOnly: namespace.backend.readOnly,
        });
      case CNS_CONTROLLER:
        return I.identifyController({ serial, datasetManagement });
      case CNS_ACTIVE_NAMESPACES:
        if (namespaceId >= 0xfffffffe) throw new NvmeError(R.SC_INVALID_NAMESPACE);
        return I.namespaceList(namespaceId);
      case CNS_DESCRIPTORS:
        if (namespaceId !== NAMESPACE_ID) throw new NvmeError(R.SC_INVALID_NAMESPACE);
        return I.namespaceDescriptors(eui64);
      default:
        throw new NvmeError(R.SC_INVALID_FIELD);
    }
  }

  #getLogPage(command: NvmeCommand): void {
    const { health, features, events } = this.#options;
    const page = command.dword(10) & 0xff;
    const dwords = (command.dword(10) >>> 16) + (command.dword(11) & 0xffff) * 0x10000 + 1;
    const offset = command.dword(13) * 2 ** 32 + command.dword(12);
    const log =
      page === R.LOG_ERROR
        ? health.errorLog()
        : page === R.LOG_HEALTH
          ? health.healthLog(features.temperatureWarning)
          : page === R.LOG_FIRMWARE
            ? firmwareLog()
            : page === R.LOG_CHANGED_NAMESPACES
              ? changedNamespaceLog(this.namespaceChanged)
              : undefined;
    if (!log) throw new NvmeError(R.SC_INVALID_LOG_PAGE);
    if (offset % 4 !== 0 || offset > log.length) throw new NvmeError(R.SC_INVALID_FIELD);
    // What lies beyond the page reads as zeros.
    const bytes = new Uint8Array(Math.min(dwords * 4, R.MAX_TRANSFER_BYTES));
    bytes.set(log.subarray(offset, offset + bytes.length));
    this.#return(command, bytes, dwords * 4);
    if (command.dword(10) & RETAIN_EVENT) return;
    if (page === R.LOG_CHANGED_NAMESPACES) this.namespaceChanged = false;
    events.logPageRead(page);
  }

  #setFeatures(command: NvmeCommand): number {
    const { features, events, queues } = this.#options;
    const feature = command.dword(10) & 0xff;
    if (feature === R.FEATURE_QUEUE_COUNT && queues.submission.size + queues.completion.size > 2) {
      throw new NvmeError(R.SC_COMMAND_SEQUENCE);
    }
    const result = features.set(command.dword(10), command.dword(11));
    const wantsTemperature = (features.asyncEvents & 0x02) !== 0;
    if (feature === R.FEATURE_TEMPERATURE && wantsTemperature && features.temperatureWarning) {
      events.raise(R.EVENT_HEALTH, R.EVENT_TEMPERATURE);
    }
    return result;
  }

  #format(command: NvmeCommand): number | Promise<number> {
    const { namespace } = this.#options;
    const { namespaceId } = command;
    if (namespaceId !== NAMESPACE_ID && namespaceId !== ALL_NAMESPACES) throw new NvmeError(R.SC_INVALID_NAMESPACE);
    const settings = command.dword(10);
    // One format, no metadata, no protection.
    if ((settings & 0xf) !== 0 || (settings >> 4) & 0x1f) throw new NvmeError(R.SC_INVALID_FORMAT);
    const erase = (settings >> 9) & 7;
    if (erase === ERASE_NONE) return 0;
    // A cryptographic erase would need encrypted contents.
    if (erase !== ERASE_USER_DATA) throw new NvmeError(R.SC_INVALID_FIELD);
    return namespace.erase().then(() => 0);
  }

  /** The namespace has another size now. */
  namespaceResized(): void {
    const { features, events } = this.#options;
    this.namespaceChanged = true;
    if (features.asyncEvents & (1 << 8)) events.raise(R.EVENT_NOTICE, R.EVENT_NAMESPACE_CHANGED);
  }
}
