/** Linux's input events, read through the guest's shell while the test does something. */
import { expect } from 'vitest';
import type { TestMachine } from './machine.ts';

/** Runs a command that must succeed. */
export async function runIn(guest: TestMachine, command: string, timeout = 60_000): Promise<string> {
  const { output, status } = await guest.com1.run(command, { timeout });
  expect(status, `status of: ${command}\n${output}`).toBe(0);
  return output;
}

/** Names of uapi/linux/input-event-codes.h, by event type and code. */
const NAMES: Readonly<Record<string, string>> = {
  ...{ '1:30': 'KEY_A', '1:46': 'KEY_C', '1:48': 'KEY_B', '1:42': 'KEY_LEFTSHIFT' },
  ...{ '1:272': 'BTN_LEFT', '1:273': 'BTN_RIGHT', '1:274': 'BTN_MIDDLE' },
  ...{ '2:0': 'REL_X', '2:1': 'REL_Y', '2:8': 'REL_WHEEL', '3:0': 'ABS_X', '3:1': 'ABS_Y' },
};
const EVENT_BYTES = 24;
const EV_SYN = 0;

/** Events of a device from now on, each as `NAME VALUE`. */
export class EventReader {
  #seen = 0;

  private constructor(
    private readonly guest: TestMachine,
    private readonly file: string,
  ) {}

  /** Reads the input device of that name. */
  static async open(guest: TestMachine, name: string): Promise<EventReader> {
    const find = `for e in /sys/class/input/event*; do grep -q '${name}' $e/device/name && echo /dev/input/\${e##*/}; done; true`;
    const device = /\/dev\/input\/event\d+/.exec(await runIn(guest, find))?.[0];
    expect(device, `an input device ${name}`).toBeDefined();
    const file = `/tmp/events-${name.replaceAll(' ', '-')}-${(await runIn(guest, 'ls /tmp | wc -l')).trim()}`;
    // Whatever happens once the shell answers is read.
    await runIn(
      guest,
      `(cat ${device} > ${file} & echo $! > /tmp/reader); until ls -l /proc/$(cat /tmp/reader)/fd | grep -q ${device}; do sleep 0.1; done`,
    );
    return new EventReader(guest, file);
  }

  /** The same reader in a copy of its machine. */
  in(copy: TestMachine): EventReader {
    const reader = new EventReader(copy, this.file);
    reader.#seen = this.#seen;
    return reader;
  }

  /** Waits for an event; resolves with all that came since the last call, up to and including it. */
  async until(last: string): Promise<string[]> {
    const deadline = Date.now() + 60_000;
    for (;;) {
      const output = await runIn(this.guest, `hexdump -v -e '${EVENT_BYTES}/1 "%02x" "\\n"' ${this.file}`);
      const events = output
        .split('\n')
        .filter((line) => /^[0-9a-f]{48}$/.test(line.trim()))
        .map((line) => Buffer.from(line.trim(), 'hex'))
        .filter((bytes) => bytes.readUInt16LE(16) !== EV_SYN)
        .map((bytes) => {
          const code = `${bytes.readUInt16LE(16)}:${bytes.readUInt16LE(18)}`;
          return `${NAMES[code] ?? code} ${bytes.readInt32LE(20)}`;
        });
      const at = events.indexOf(last, this.#seen);
      if (at !== -1) {
        const fresh = events.slice(this.#seen, at + 1);
        this.#seen = at + 1;
        return fresh;
      }
      expect(Date.now(), `${last} among\n${events.slice(this.#seen).join('\n')}`).toBeLessThan(deadline);
    }
  }
}
