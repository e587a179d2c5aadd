/** Settings that are understood and that have no effect yet: said aloud, never ignored in silence. */
import type { MachineSettings } from '../config/index.ts';

export function notEmulated(settings: MachineSettings): string[] {
  const messages: string[] = [];
  if (settings.gdb) messages.push(`-G: the debug server on port ${settings.gdb.port} is not built yet`);
  if (settings.tpm) messages.push('tpm: the trusted platform module is not emulated yet');
  if (settings.lpc.bootvars !== undefined) {
    messages.push(`bootvars: ${settings.lpc.bootvars} is not mapped yet; the firmware starts without its variables`);
  }
  if (settings.keyboardLayout !== undefined)
    messages.push('-K: there is no display whose keyboard could have a layout');
  return messages;
}
