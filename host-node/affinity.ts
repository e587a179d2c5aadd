/** Which processors of the host a thread runs on. Node has no call for it; util-linux's taskset(1) has. */
import { spawnSync } from 'node:child_process';
import { readlinkSync } from 'node:fs';

export const CAN_PIN = process.platform === 'linux';

/** Binds the calling thread to processors (`0,2-4`). Returns what went wrong, or undefined. */
export function pinThisThread(cpus: string): string | undefined {
  try {
    // PROCESS/task/THREAD: of the thread that asks.
    const thread = readlinkSync('/proc/thread-self').split('/').at(-1) ?? '';
    const { error, status, stderr } = spawnSync('taskset', ['-pc', cpus, thread], { encoding: 'utf8' });
    if (error) return `taskset: ${error.message}`;
    return status === 0 ? undefined : (stderr.trim().split('\n').at(-1) ?? '');
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
