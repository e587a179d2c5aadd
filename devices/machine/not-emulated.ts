/** Settings that are understood and that have no effect: said aloud, never ignored in silence. */
import type { MachineSettings } from '../config/index.ts';

/** One line for each setting that a machine does as well without. */
export function notEmulated(settings: MachineSettings, pinsVcpus: boolean): string[] {
  const messages: string[] = [];
  if (!pinsVcpus && settings.cpusets.some((list) => list !== undefined)) {
    messages.push('-p: vCPUs cannot be pinned to processors of the host here; the option has no effect');
  }
  return messages;
}
