/** Ctrl-A commands of an interactive console, cut out of what the user types. */

const CTRL_A = 0x01;

export interface EscapeActions {
  leave(): void;
  help(): void;
}

export const ESCAPE_HELP = [
  'Ctrl-A x       leave: end the virtual machine at once',
  'Ctrl-A Ctrl-A  send Ctrl-A to the guest',
  'Ctrl-A h       this help',
] as const;

export class EscapeFilter {
  #escaped = false;

  constructor(private readonly actions: EscapeActions) {}

  /** The bytes that are for the guest. A Ctrl-A at the end waits for the next call. */
  filter(bytes: Uint8Array): Uint8Array {
    const out: number[] = [];
    for (const byte of bytes) {
      if (!this.#escaped) {
        if (byte === CTRL_A) this.#escaped = true;
        else out.push(byte);
        continue;
      }
      this.#escaped = false;
      const key = String.fromCharCode(byte).toLowerCase();
      if (byte === CTRL_A) out.push(CTRL_A);
      else if (key === 'x') this.actions.leave();
      else if (key === 'h' || key === '?') this.actions.help();
      // Anything else was no command: the guest gets both bytes.
      else out.push(CTRL_A, byte);
    }
    return Uint8Array.from(out);
  }
}
