/**
 * Network boot: EDK2's BHYVE firmware loads iPXE by TFTP through virtio-net (it has no driver for e1000), or from a disk; iPXE with its
 * own drivers loads Linux by TFTP and HTTP through either card. WEBHYVE_FIRMWARE names a folder with BHYVE_CODE.fd and BHYVE_VARS.fd;
 * iPXE is Debian's package.
 */
import { spawnSync } from 'node:child_process';
import { copyFileSync, createReadStream, existsSync, mkdirSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { cacheDirectory } from '../../host-node/setup/fetch-guest.mjs';
import { FIRMWARE_CODE, FIRMWARE_VARIABLES, firmwareMissing } from '../support/firmware.ts';
import {
  destroyTestMachines,
  linuxGuest,
  linuxMissing,
  scratchDirectory,
  testMachine,
  type TestMachine,
} from '../support/machine.ts';

const PATIENCE_MS = 600_000;

/** Path of iPXE as an EFI program, out of Debian's package; kept in the cache. Throws with the reason when there is none. */
function ipxe(): string {
  const kept = join(cacheDirectory(), 'ipxe.efi');
  if (existsSync(kept)) return kept;
  const work = scratchDirectory();
  try {
    const script = 'apt-get -q -o APT::Sandbox::User= download ipxe && dpkg-deb -x *.deb . && test -f boot/ipxe.efi';
    const { status, stderr } = spawnSync('sh', ['-c', script], { cwd: work.path, encoding: 'utf8' });
    if (status !== 0) throw new Error(`iPXE: ${stderr.trim()}`);
    mkdirSync(cacheDirectory(), { recursive: true });
    copyFileSync(join(work.path, 'boot/ipxe.efi'), `${kept}.new`);
    renameSync(`${kept}.new`, kept);
    return kept;
  } finally {
    work.remove();
  }
}

let scratch = { path: '', remove: (): void => {} };
let program = '';
const servers: Server[] = [];

beforeEach(async (context) => {
  if (firmwareMissing !== undefined) context.skip(firmwareMissing);
  const missing = await linuxMissing();
  if (missing !== undefined) context.skip(missing);
  try {
    program = ipxe();
  } catch (error) {
    context.skip(error instanceof Error ? error.message : String(error));
  }
  scratch = scratchDirectory();
}, 300_000);
afterEach(async () => {
  await destroyTestMachines();
  for (const server of servers.splice(0)) server.close();
  scratch.remove();
});

/** A folder with iPXE, the kernel and its initramfs. */
async function bootFolder(): Promise<string> {
  const folder = join(scratch.path, 'tftp');
  mkdirSync(folder);
  const { kernel, initrd } = await linuxGuest();
  copyFileSync(program, join(folder, 'ipxe.efi'));
  copyFileSync(kernel, join(folder, 'vmlinuz'));
  copyFileSync(initrd, join(folder, 'initrd'));
  return folder;
}

/** Serves the folder's files by HTTP on this host's loopback; resolves to the port. */
async function serve(folder: string, asked: string[]): Promise<number> {
  const server = createServer(({ url = '/' }, response) => {
    asked.push(url);
    const path = join(folder, url.slice(1));
    response.writeHead(200, { 'content-length': statSync(path).size });
    createReadStream(path).pipe(response);
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

function firmwareMachine(cards: readonly string[]): Promise<TestMachine> {
  const variables = join(scratch.path, 'vars.fd');
  copyFileSync(FIRMWARE_VARIABLES, variables);
  const rom = `bootrom,${FIRMWARE_CODE},${variables}`;
  return testMachine([
    ...['-m', '1G', '-A', '-w', '-H', '-s', '0,hostbridge', '-s', '31,lpc', '-l', 'com1,stdio', '-l', rom],
    // EDK2 loads its network drivers only where it has a source of random numbers.
    ...['-s', '5,virtio-rnd', ...cards, 'netboot'],
  ]);
}

/** Puts the script that iPXE is told of into the folder; with it, iPXE loads Linux by itself. */
function writeScript(folder: string, base: string): void {
  const lines = ['#!ipxe', `kernel ${base}/vmlinuz console=ttyS0 initrd=initrd`, `initrd ${base}/initrd`, 'boot', ''];
  writeFileSync(join(folder, 'boot.ipxe'), lines.join('\n'));
}

async function expectLinux({ machine, com1 }: TestMachine): Promise<void> {
  machine.start();
  await com1.expect('iPXE initialising devices', { timeout: PATIENCE_MS });
  await com1.expect('webhyve guest ready', { timeout: PATIENCE_MS });
  expect(machine.deviceErrors).toBe(0);
}

test.each(['TFTP', 'HTTP'])(
  'virtio-net: the firmware loads iPXE, and that Linux by %s',
  { timeout: PATIENCE_MS },
  async (by) => {
    const folder = await bootFolder();
    const asked: string[] = [];
    const base = by === 'TFTP' ? 'tftp://10.0.2.2' : `http://10.0.2.2:${await serve(folder, asked)}`;
    const slirp = `slirp,open,allow=loopback,tftp=${folder},bootfile=ipxe.efi,ipxe=boot.ipxe`;
    writeScript(folder, base);
    await using guest = await firmwareMachine(['-s', `3,virtio-net,${slirp}`]);
    await expectLinux(guest);
    expect(asked).toEqual(by === 'TFTP' ? [] : ['/vmlinuz', '/initrd']);
  },
);

test.each(['TFTP', 'HTTP'])('e1000: iPXE from a disk loads Linux by %s', { timeout: PATIENCE_MS }, async (by) => {
  const folder = await bootFolder();
  const asked: string[] = [];
  const base = by === 'TFTP' ? 'tftp://10.0.2.2' : `http://10.0.2.2:${await serve(folder, asked)}`;
  const disk = join(scratch.path, 'esp.img');
  writeFileSync(disk, Buffer.alloc(48 * 1024 * 1024));
  const tool = (name: string, ...words: string[]): boolean =>
    spawnSync(name, words, { env: { ...process.env, MTOOLS_SKIP_CHECK: '1' } }).status === 0;
  const isMade =
    tool('mformat', '-i', disk, '-F', '::') &&
    tool('mmd', '-i', disk, '::/EFI', '::/EFI/BOOT') &&
    tool('mcopy', '-i', disk, program, '::/EFI/BOOT/BOOTX64.EFI');
  expect(isMade, 'the disk is made by mtools').toBe(true);
  const slirp = `slirp,open,allow=loopback,tftp=${folder},bootfile=boot.ipxe`;
  writeScript(folder, base);
  await using guest = await firmwareMachine(['-s', `3,e1000,${slirp}`, '-s', `4,ahci-hd,${disk}`]);
  await expectLinux(guest);
  expect(asked).toEqual(by === 'TFTP' ? [] : ['/vmlinuz', '/initrd']);
});
