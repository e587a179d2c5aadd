/** Debian's kernel from the first instruction to a shell, and what the shell sees. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { md5 } from '../../devices/bus/md5.ts';
import { bootLinux, destroyTestMachines, linuxGuest, linuxMissing, type TestMachine } from '../support/machine.ts';

beforeEach(async (context) => {
  const reason = await linuxMissing();
  if (reason !== undefined) context.skip(reason);
}, 300_000);
afterEach(destroyTestMachines);

const hex = (bytes: Uint8Array): string => [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');

async function shell(guest: TestMachine, command: string, timeout = 60_000): Promise<string> {
  const { output, status } = await guest.com1.run(command, { timeout });
  expect(status, `status of: ${command}\n${output}`).toBe(0);
  return output;
}

async function powerOff(guest: TestMachine): Promise<void> {
  guest.com1.send('poweroff -f\n');
  expect(await guest.machine.exited).toMatchObject({ code: 1, reason: 'poweroff' });
}

describe.each([1, 2, 4])('Linux with %i vCPU(s)', (cpus) => {
  test('boots, computes, keeps time and powers off', async () => {
    await using guest = await bootLinux({ args: ['-c', String(cpus), '-m', '512M'] });
    const { release } = await linuxGuest();
    const uname = await shell(guest, 'uname -srm');
    expect(uname).toMatch(/^Linux \S+ x86_64\n$/);
    if (release !== undefined) expect(uname).toContain(release);

    const cpuinfo = await shell(guest, 'cat /proc/cpuinfo');
    expect(cpuinfo.match(/^processor\s*:/gm)).toHaveLength(cpus);
    expect(cpuinfo).toMatch(/^flags\s*:.* fpu .* sse2 .* hypervisor/m);
    const memTotalKib = Number(/MemTotal:\s+(\d+)/.exec(await shell(guest, 'cat /proc/meminfo'))?.[1]);
    expect(memTotalKib).toBeGreaterThan(400 * 1024);
    expect(memTotalKib).toBeLessThan(512 * 1024);

    const interrupts = await shell(guest, 'cat /proc/interrupts');
    expect(interrupts).toMatch(/ttyS0/);
    expect(interrupts).toMatch(/^\s*LOC:\s+[1-9]/m);
    expect(interrupts).toMatch(/^\s*ERR:\s+0$/m);

    const dmesg = await shell(guest, 'dmesg');
    expect(dmesg).not.toMatch(
      /Call Trace|BUG:|Oops|WARNING:|Kernel panic|alg: .*failed|MCE|unstable|lockup|stall|warp/,
    );
    expect(dmesg).toMatch(/ACPI: .*Interpreter enabled/);
    expect(await shell(guest, 'cat /sys/devices/system/clocksource/clocksource0/current_clocksource')).toBe('tsc\n');

    // A large computation over memory with a result that is known.
    const count = 3_000_000;
    const text = new Uint8Array(count).fill(0x61);
    const sum = await shell(guest, `head -c ${count} /dev/zero | tr '\\000' a | md5sum`);
    expect(sum).toBe(`${hex(md5(text))}  -\n`);
    expect(
      await shell(guest, 'awk "BEGIN { x = 0; for (i = 1; i <= 1000; i++) x += 1 / i; printf \\"%.9f\\\\n\\", x }"'),
    ).toBe('7.485470861\n');

    const before = performance.now();
    const uptime = await shell(
      guest,
      'a=$(cut -d" " -f1 /proc/uptime); sleep 2; b=$(cut -d" " -f1 /proc/uptime); echo $a $b',
    );
    const elapsedSeconds = (performance.now() - before) / 1000;
    const [from = 0, to = 0] = uptime.trim().split(' ').map(Number);
    // /proc/uptime counts hundredths; a sleep is never shorter than asked, and the guest's clock no faster than the host's.
    expect(to - from).toBeGreaterThan(1.98);
    expect(to - from).toBeLessThan(elapsedSeconds + 0.04);
    await powerOff(guest);
  });
});

test('reboot -f ends with status 0', async () => {
  await using guest = await bootLinux();
  guest.com1.send('reboot -f\n');
  expect(await guest.machine.exited).toMatchObject({ code: 0, reason: 'reset' });
});

test('inline on one thread', async () => {
  await using guest = await bootLinux({ backend: 'inline' });
  expect(await shell(guest, 'echo $((6 * 7))')).toBe('42\n');
  await powerOff(guest);
});

test('all of the kernel s own cipher tests pass', { timeout: 400_000 }, async () => {
  await using guest = await bootLinux({ cmdline: 'console=ttyS0' });
  const dmesg = await shell(guest, 'dmesg');
  expect(dmesg).not.toMatch(/alg: .*(failed|error)/i);
  await powerOff(guest);
});

test('24 GiB of memory', { timeout: 400_000 }, async () => {
  await using guest = await bootLinux({ args: ['-m', '24G'] });
  const memTotalKib = Number(/MemTotal:\s+(\d+)/.exec(await shell(guest, 'cat /proc/meminfo'))?.[1]);
  expect(memTotalKib).toBeGreaterThan(23 * 2 ** 20);
  await powerOff(guest);
});

test('a long paste arrives whole', async () => {
  await using guest = await bootLinux();
  const lines = Array.from({ length: 400 }, (_, i) => `line ${i} ${'x'.repeat(i % 50)}`);
  guest.com1.send('stty -echo; cat > /tmp/paste\n');
  await new Promise((resolve) => setTimeout(resolve, 500));
  guest.com1.send(`${lines.join('\n')}\n\u0004stty echo\n`);
  const text = new TextEncoder().encode(`${lines.join('\n')}\n`);
  expect(await shell(guest, 'md5sum < /tmp/paste', 90_000)).toContain(hex(md5(text)));
  await powerOff(guest);
});
