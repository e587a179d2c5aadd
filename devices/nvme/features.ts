/** Features of the controller (NVM Express 1.4, 5.21): current values, and the answers to Get Features. */
import type { StateFields } from '../platform/state-fields.ts';
import type { StateValue } from '../snapshot.ts';
import { NvmeError } from './command.ts';
import { TEMPERATURE, WARNING_TEMPERATURE } from './identify.ts';
import * as R from './registers.ts';

const SELECT_CURRENT = 0;
const SELECT_DEFAULT = 1;
const SELECT_CAPABILITIES = 3;
/** Changeable, for all namespaces. */
const CAPABILITY_CHANGEABLE = 1 << 2;
/** Threshold select of the temperature feature: over, or under. */
const THRESHOLD_UNDER = 1;
const EVENTS_KNOWN = 0x1ff;

export class NvmeFeatures {
  /** Bit 0: the write cache is on; flushes matter. */
  writeCache = 1;
  /** Interrupt coalescing: threshold in bits 7:0, time in units of 100 microseconds in 15:8. */
  coalescing = 0;
  /** Vectors that coalescing does not concern. */
  readonly uncoalesced = new Set<number>();
  asyncEvents = 0;
  overTemperature = WARNING_TEMPERATURE;
  underTemperature = 0;
  #arbitration = 0;
  #errorRecovery = 0;
  #atomicity = 0;

  constructor(
    private readonly maxQueues: number,
    private readonly vectors: number,
  ) {}

  /** True when the temperature, which never changes, is beyond a threshold. */
  get temperatureWarning(): boolean {
    return TEMPERATURE >= this.overTemperature || TEMPERATURE <= this.underTemperature;
  }

  reset(): void {
    this.writeCache = 1;
    this.coalescing = 0;
    this.uncoalesced.clear();
    this.asyncEvents = 0;
    this.overTemperature = WARNING_TEMPERATURE;
    this.underTemperature = 0;
    this.#arbitration = 0;
    this.#errorRecovery = 0;
    this.#atomicity = 0;
  }

  /** Sets a feature; returns dword 0 of the completion. Throws NvmeError. */
  set(dword10: number, value: number): number {
    if (dword10 & 0x80000000) throw new NvmeError(R.SC_NOT_SAVEABLE);
    switch (dword10 & 0xff) {
      case R.FEATURE_ARBITRATION:
        this.#arbitration = value;
        return 0;
      case R.FEATURE_POWER_MANAGEMENT:
        // Power state 0 is the only one.
        if (value & 0x1f) throw new NvmeError(R.SC_INVALID_FIELD);
        return 0;
      case R.FEATURE_TEMPERATURE:
        this.#setTemperature(value);
        return 0;
      case R.FEATURE_ERROR_RECOVERY:
        // Errors of deallocated blocks: they read as what lies there.
        if (value & 0x10000) throw new NvmeError(R.SC_INVALID_FIELD);
        this.#errorRecovery = value & 0xffff;
        return 0;
      case R.FEATURE_WRITE_CACHE:
        this.writeCache = value & 1;
        return 0;
      case R.FEATURE_QUEUE_COUNT: {
        const submission = value & 0xffff;
        const completion = value >>> 16;
        if (submission === 0xffff || completion === 0xffff) throw new NvmeError(R.SC_INVALID_FIELD);
        return this.queueCount;
      }
      case R.FEATURE_COALESCING:
        this.coalescing = value & 0xffff;
        return 0;
      case R.FEATURE_VECTOR: {
        const vector = value & 0xffff;
        if (vector >= this.vectors) throw new NvmeError(R.SC_INVALID_FIELD);
        if (value & 0x10000) this.uncoalesced.add(vector);
        else this.uncoalesced.delete(vector);
        return 0;
      }
      case R.FEATURE_WRITE_ATOMICITY:
        this.#atomicity = value & 1;
        return 0;
      case R.FEATURE_ASYNC_EVENTS:
        this.asyncEvents = value & EVENTS_KNOWN;
        return 0;
      default:
        throw new NvmeError(R.SC_INVALID_FIELD);
    }
  }

  #setTemperature(value: number): void {
    const isUnder = ((value >> 20) & 3) === THRESHOLD_UNDER;
    if (((value >> 20) & 3) > THRESHOLD_UNDER) throw new NvmeError(R.SC_INVALID_FIELD);
    // Sensor 0 is the composite temperature, 15 means all.
    const sensor = (value >> 16) & 0xf;
    if (sensor !== 0 && sensor !== 0xf) throw new NvmeError(R.SC_INVALID_FIELD);
    if (isUnder) this.underTemperature = value & 0xffff;
    else this.overTemperature = value & 0xffff;
  }

  /** As many queues as there can be, less one, of either kind; drivers create no more than they asked for. */
  get queueCount(): number {
    return ((this.maxQueues - 1) | ((this.maxQueues - 1) << 16)) >>> 0;
  }

  /** Dword 0 of Get Features. Throws NvmeError. */
  get(dword10: number, dword11: number): number {
    const feature = dword10 & 0xff;
    const select = (dword10 >> 8) & 7;
    if (select === SELECT_CAPABILITIES) {
      this.#value(feature, dword11);
      return feature === R.FEATURE_QUEUE_COUNT ? 0 : CAPABILITY_CHANGEABLE;
    }
    if (select === SELECT_DEFAULT) return new NvmeFeatures(this.maxQueues, this.vectors).#value(feature, dword11);
    if (select !== SELECT_CURRENT) throw new NvmeError(R.SC_INVALID_FIELD);
    return this.#value(feature, dword11);
  }

  #value(feature: number, dword11: number): number {
    switch (feature) {
      case R.FEATURE_ARBITRATION:
        return this.#arbitration;
      case R.FEATURE_POWER_MANAGEMENT:
        return 0;
      case R.FEATURE_TEMPERATURE:
        return ((dword11 >> 20) & 3) === THRESHOLD_UNDER ? this.underTemperature : this.overTemperature;
      case R.FEATURE_ERROR_RECOVERY:
        return this.#errorRecovery;
      case R.FEATURE_WRITE_CACHE:
        return this.writeCache;
      case R.FEATURE_QUEUE_COUNT:
        return this.queueCount;
      case R.FEATURE_COALESCING:
        return this.coalescing;
      case R.FEATURE_VECTOR: {
        const vector = dword11 & 0xffff;
        if (vector >= this.vectors) throw new NvmeError(R.SC_INVALID_FIELD);
        return vector | (this.uncoalesced.has(vector) ? 0x10000 : 0);
      }
      case R.FEATURE_WRITE_ATOMICITY:
        return this.#atomicity;
      case R.FEATURE_ASYNC_EVENTS:
        return this.asyncEvents;
      default:
        throw new NvmeError(R.SC_INVALID_FIELD);
    }
  }

  save(): { [field: string]: StateValue } {
    return {
      writeCache: this.writeCache,
      coalescing: this.coalescing,
      uncoalesced: [...this.uncoalesced],
      asyncEvents: this.asyncEvents,
      overTemperature: this.overTemperature,
      underTemperature: this.underTemperature,
      arbitration: this.#arbitration,
      errorRecovery: this.#errorRecovery,
      atomicity: this.#atomicity,
    };
  }

  prepareRestore(fields: StateFields): () => void {
    const writeCache = fields.integer('writeCache', 1);
    const coalescing = fields.integer('coalescing', 0xffff);
    const uncoalesced = fields.integers('uncoalesced', this.vectors, this.vectors - 1);
    const asyncEvents = fields.integer('asyncEvents', EVENTS_KNOWN);
    const overTemperature = fields.integer('overTemperature', 0xffff);
    const underTemperature = fields.integer('underTemperature', 0xffff);
    const arbitration = fields.integer('arbitration', 0xffffffff);
    const errorRecovery = fields.integer('errorRecovery', 0xffff);
    const atomicity = fields.integer('atomicity', 1);
    return () => {
      Object.assign(this, { writeCache, coalescing, asyncEvents, overTemperature, underTemperature });
      this.uncoalesced.clear();
      for (const vector of uncoalesced) this.uncoalesced.add(vector);
      this.#arbitration = arbitration;
      this.#errorRecovery = errorRecovery;
      this.#atomicity = atomicity;
    };
  }
}
