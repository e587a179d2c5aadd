/** Settings that are understood and that have no effect: said aloud, never ignored in silence. */
import { BhyveExit, notBuiltMessage, type MachineSettings } from '../config/index.ts';

const EXIT_ERROR = 4;

/** Exits where a machine without what was asked for would not be the machine that was meant. */
export function refuseNotBuilt(settings: MachineSettings): void {
  if (settings.tpm) throw new BhyveExit(EXIT_ERROR, `${notBuiltMessage('tpm')}\n`);
}

/** One line for each setting that a machine does as well without. */
export function notEmulated(settings: MachineSettings, pinsVcpus: boolean): string[] {
  const messages: string[] = [];
  if (!pinsVcpus && settings.cpusets.some((list) => list !== undefined)) {
    messages.push('-p: vCPUs cannot be pinned to processors of the host here; the option has no effect');
  }
  return messages;
}
