/** The core's imports: direct bus calls on the devices' thread, mailbox calls on a vCPU's own. */
import { type AccessSize, allOnes } from '../bus/port-bus.ts';
import type { CoreImports } from './core.ts';
import type { MailboxClient, MailboxTarget } from './mailbox.ts';

/** Where time and chance come from. */
export interface ImportSources {
  nowNs(): number;
  /** Seconds since 1970 in the zone that the RTC keeps. */
  wallSeconds(): number;
  random(): number;
}

/** Wall-clock seconds in UTC, or in the host's local time as bhyve's RTC keeps it without -u. */
export function hostWallSeconds(utc: boolean): number {
  const now = new Date();
  return now.getTime() / 1000 - (utc ? 0 : now.getTimezoneOffset() * 60);
}

const entropy = new Uint32Array(1);

/** 32 bits of the platform's cryptographic random source. */
export function hostRandom(): number {
  return crypto.getRandomValues(entropy)[0] ?? 0;
}

/** xorshift32: a reproducible sequence for deterministic runs. The seed must not be zero; zero is replaced. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0 || 0x9e37_79b9;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state;
  };
}

/** For instances on the devices' thread: every access is a call of the bus. */
export function directImports(vcpu: number, target: MailboxTarget, sources: ImportSources): CoreImports {
  const guarded = (size: number, access: () => number): number => {
    try {
      return access() | 0;
    } catch (error) {
      target.deviceError(error);
      return allOnes(size as AccessSize) | 0;
    }
  };
  return {
    hostNowNs: () => sources.nowNs(),
    hostWallSeconds: () => sources.wallSeconds(),
    hostRandom: () => sources.random() | 0,
    hostPortRead: (port, size) => guarded(size, () => target.ports.read(port, size as AccessSize, vcpu)),
    hostPortWrite: (port, size, value) => {
      guarded(size, () => {
        target.ports.write(port, size as AccessSize, value >>> 0, vcpu);
        return 0;
      });
    },
    hostMmioRead: (gpa, size) => guarded(size, () => target.mmio.read(gpa, size as AccessSize)),
    hostMmioWrite: (gpa, size, value) => {
      guarded(size, () => {
        target.mmio.write(gpa, size as AccessSize, value >>> 0);
        return 0;
      });
    },
    // Without other threads nothing that is not there yet will be.
    hostChunk: (index) => Math.max(target.chunk(index >>> 0, vcpu), 0) | 0,
    hostNote: (note, a, b) => target.note(vcpu, note >>> 0, a, b),
  };
}

/** For an instance on a vCPU's own thread. */
export function mailboxImports(mailbox: MailboxClient, sources: ImportSources): CoreImports {
  return {
    hostNowNs: () => sources.nowNs(),
    hostWallSeconds: () => sources.wallSeconds(),
    hostRandom: () => sources.random() | 0,
    hostPortRead: (port, size) => mailbox.portRead(port, size) | 0,
    hostPortWrite: (port, size, value) => mailbox.portWrite(port, size, value),
    hostMmioRead: (gpa, size) => mailbox.mmioRead(gpa, size) | 0,
    hostMmioWrite: (gpa, size, value) => mailbox.mmioWrite(gpa, size, value),
    hostChunk: (index) => mailbox.chunk(index >>> 0) | 0,
    hostNote: (note, a, b) => mailbox.note(note >>> 0, a, b),
  };
}
