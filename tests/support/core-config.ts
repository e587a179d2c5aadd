/** The core's configuration where a test is about something else. */
import type { CoreConfig } from '../../devices/machine/core.ts';

export const PLAIN_CORE_CONFIG: Omit<CoreConfig, 'plan'> = {
  flags: 0,
  threadsPerCore: 1,
  coresPerSocket: 1,
  cpuLevel: 1,
  features: { on: 0n, off: 0n },
  insnsPerSecond: 0n,
  shownRegion: 0n,
  cpuid: [],
};
