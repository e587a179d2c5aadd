/** Consoles with a real guest: what is typed before it listens, sockets, and virtio-console under Debian's driver. */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { SerialOpener } from '../../host-node/console/open-serial.ts';
import {
  bootLinux,
  destroyTestMachines,
  linuxGuest,
  linuxMissing,
  QUICK_CMDLINE,
  scratchDirectory,
  type TestMachine,
} from '../support/machine.ts';
import type { BackendOpeners } from '../../devices/backends/kinds.ts';
import { Client, pattern } from '../support/serial-client.ts';

let opener = new SerialOpener(() => undefined);
/** Everything but COM1, whose console the test uses. */
const backends: BackendOpeners = {
  character: (address) => (address.kind === 'stdio' ? Promise.resolve(undefined) : opener.open(address)),
};

beforeEach(async (context) => {
  const reason = await linuxMissing();
  if (reason !== undefined) context.skip(reason);
  opener = new SerialOpener(() => undefined);
}, 300_000);
afterEach(destroyTestMachines);

const md5 = (bytes: Uint8Array): string => createHash('md5').update(bytes).digest('hex');

/** `seq 1 last`: what a guest prints. */
function seq(last: number): Buffer {
  return Buffer.from(Array.from({ length: last }, (_, i) => `${i + 1}\n`).join(''));
}

async function run(guest: TestMachine, command: string): Promise<string> {
  const { output, status } = await guest.com1.run(command, { timeout: 90_000 });
  expect(status, `status of: ${command}\n${output}`).toBe(0);
  return output;
}

test('what was typed before the guest listens is not lost', { timeout: 180_000 }, async () => {
  const lines = Array.from({ length: 60 }, (_, i) => `x=$x-${i}`);
  let typed = false;
  await using guest = await bootLinux({
    typesAhead: true,
    cmdline: QUICK_CMDLINE,
    backends: {
      character: () => {
        typed = true;
        return Promise.resolve({
          open: (port) => port.receive(Buffer.from(`${lines.join('\n')}\necho "got $x"\n`)),
          write: () => true,
          hold: () => undefined,
          close: () => Promise.resolve(),
        });
      },
    },
  });
  expect(typed).toBe(true);
  const wanted = lines.map((_, i) => `-${i}`).join('');
  await guest.com1.expect(`got ${wanted}\r\n`, { timeout: 30_000 });
});

test('COM2 on a socket: both ways, with clients that go and come', { timeout: 240_000 }, async () => {
  const scratch = scratchDirectory();
  try {
    const path = join(scratch.path, 'com2');
    await using guest = await bootLinux({
      args: ['-l', `com2,unix=${path}`],
      backends,
    });
    await run(guest, 'stty -F /dev/ttyS1 raw -echo');
    const first = await Client.connect(path);

    // Out, to a client that stops reading in the middle.
    const lines = seq(30_000);
    guest.com1.send(`seq 1 30000 > /dev/ttyS1; echo sent\n`);
    await first.until(20_000);
    first.socket.pause();
    await new Promise((resolve) => setTimeout(resolve, 300));
    first.socket.resume();
    expect(md5(await first.until(lines.length))).toBe(md5(lines));
    await guest.com1.expect('sent\r\n');

    // In.
    const bytes = pattern(100_000);
    guest.com1.send(`head -c ${bytes.length} < /dev/ttyS1 | md5sum\n`);
    await first.send(bytes);
    await guest.com1.expect(md5(bytes), { timeout: 90_000 });

    // A client leaves; what is printed meanwhile is the next one's to read.
    await first.leave();
    await run(guest, 'seq 1 5000 > /dev/ttyS1');
    const wanted = seq(5000);
    const second = await Client.connect(path);
    expect((await second.until(wanted.length)).equals(wanted)).toBe(true);
    expect(guest.machine.deviceErrors).toBe(0);
  } finally {
    scratch.remove();
  }
});

test('virtio-console: names, both ways, clients that go and come', { timeout: 300_000 }, async (context) => {
  const { modules } = await linuxGuest();
  if (modules.length > 0 && !modules.some((name) => name.includes('virtio_console'))) {
    context.skip('the guest has no driver for virtio-console');
  }
  const scratch = scratchDirectory();
  try {
    const paths = [join(scratch.path, 'a'), join(scratch.path, 'b')] as const;
    await using guest = await bootLinux({
      args: ['-s', `4,virtio-console,org.test.a=${paths[0]},org.test.b=${paths[1]}`],
      backends,
    });
    expect(await run(guest, 'cat /sys/class/virtio-ports/*/name')).toBe('org.test.a\norg.test.b\n');
    const [a, b] = [await Client.connect(paths[0]), await Client.connect(paths[1])];
    const [devA, devB] = ['/dev/vport0p0', '/dev/vport0p1'];

    // Input from before the guest opens the port is not lost.
    const early = pattern(300_000);
    const sending = b.send(early);
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(await run(guest, `head -c ${early.length} ${devB} | md5sum`)).toContain(md5(early));
    await sending;

    // Out.
    const lines = seq(300_000);
    await run(guest, 'seq 1 300000 > /tmp/lines');
    guest.com1.send(`cat /tmp/lines > ${devA}; echo sent\n`);
    expect(md5(await a.until(lines.length))).toBe(md5(lines));
    await guest.com1.expect('sent\r\n');

    // In.
    const bytes = pattern(2_000_000);
    guest.com1.send(`head -c ${bytes.length} ${devA} | md5sum\n`);
    await a.send(bytes);
    await guest.com1.expect(md5(bytes), { timeout: 90_000 });

    // A client is killed in the middle. The guest waits for the next, and both got pieces of the one stream.
    a.forget();
    a.pauseAt(200_000);
    guest.com1.send(`cat /tmp/lines > ${devA}; echo sent\n`);
    await a.until(200_000);
    await a.leave();
    const before = a.received.toString().split('\n').slice(0, -1).map(Number);
    const again = await Client.connect(paths[0]);
    await guest.com1.expect('sent\r\n', { timeout: 90_000 });
    await expect.poll(() => again.received.toString().endsWith('\n300000\n'), { timeout: 30_000 }).toBe(true);
    const after = again.received.toString().split('\n').slice(1, -1).map(Number);
    expect(before.every((value, index) => value === index + 1)).toBe(true);
    const start = after[0] ?? 0;
    expect(start).toBeGreaterThan(before.length);
    expect(after.every((value, index) => value === start + index)).toBe(true);
    expect(guest.machine.deviceErrors).toBe(0);
  } finally {
    scratch.remove();
  }
});
