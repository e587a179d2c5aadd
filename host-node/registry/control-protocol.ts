/**
 * What goes over a control socket: one JSON object a line, ended by a newline, in both directions. A request holds `id`, `command`
 * and the command's arguments (devices/machine/control.ts); its reply the same `id` and either `result`, or `errno` and `message`.
 */
import type { Socket } from 'node:net';

/** A longer line is no request of ours; the connection is closed. */
export const MAX_LINE_BYTES = 64 * 1024;

export type Reply =
  | { readonly id: number; readonly result: object }
  | { readonly id: number; readonly errno: string; readonly message: string };

/** Calls back for every complete line; ends the connection when one is too long. */
export function readLines(socket: Socket, line: (text: string) => void): void {
  socket.setEncoding('utf8');
  let pending = '';
  socket.on('data', (text: string) => {
    pending += text;
    const lines = pending.split('\n');
    pending = lines.pop() ?? '';
    if (pending.length > MAX_LINE_BYTES) {
      socket.destroy();
      return;
    }
    for (const each of lines) if (each !== '') line(each);
  });
}
