/** What a command line ends in that is well formed and describes a machine that cannot be: the text and the status of each. */
import { NETWORK_BACKEND_KINDS } from '../../devices/config/network-backend.ts';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PCI_DEVICES } from '../../devices/config/index.ts';
import { BUILT_DEVICES } from '../../devices/catalog.ts';
import { SerialOpener } from '../../host-node/console/open-serial.ts';
import { BhyveExit, Machine } from '../../host-node/index.ts';
import { compileCore } from '../support/compile-core.ts';

let directory: string;
let core: WebAssembly.Module;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'webhyve-errors-'));
  core = await compileCore('tests/support/machine-fake-core.entry.ts');
  writeFileSync(join(directory, 'text'), 'a small text\n');
  writeFileSync(join(directory, 'rom'), Buffer.alloc(4096));
  writeFileSync(join(directory, 'large'), Buffer.alloc(16 * 2 ** 20 + 4096));
  writeFileSync(join(directory, 'empty'), '');
  writeFileSync(join(directory, 'page'), Buffer.alloc(4096));
  writeFileSync(join(directory, 'half'), Buffer.alloc(8 * 2 ** 20));
  writeFileSync(join(directory, 'full'), Buffer.alloc(16 * 2 ** 20));
  writeFileSync(join(directory, 'img'), Buffer.alloc(65536));
}, 120_000);
afterAll(() => rmSync(directory, { recursive: true, force: true }));

interface Outcome {
  readonly status: number | undefined;
  readonly stderr: string;
  readonly messages: readonly string[];
}

/** `@` stands for the folder with the files. */
async function outcomeOf(line: string): Promise<Outcome> {
  const messages: string[] = [];
  const argv = line.split(' ').map((word) => word.replaceAll('@', directory));
  const serial = new SerialOpener(() => undefined, join(directory, 'nmdm'));
  try {
    const machine = await Machine.fromArgs(argv, {
      core,
      backend: 'inline',
      message: (text) => messages.push(text),
      backends: { character: (address) => serial.open(address) },
    });
    await machine.destroy();
    return { status: undefined, stderr: '', messages };
  } catch (error) {
    if (!(error instanceof BhyveExit)) throw error;
    return { status: error.status, stderr: error.stderrText.replaceAll(directory, '@'), messages };
  }
}

const ROM = '-l bootrom,@/rom -s 0,hostbridge -s 31,lpc';
const NOTHING_TO_BOOT =
  'virtual machine cannot be booted\n' +
  'Name a kernel with -f kexec,KERNEL[,INITRD[,CMDLINE]], or a boot ROM with -l bootrom,ROM.\n';
/** Network backends, in the order of their messages. */
const KINDS = NETWORK_BACKEND_KINDS.join(', ');
const INITIALIZATION = 'device emulation initialization error: ';

describe('a machine that cannot be built', () => {
  it.each<[string, string]>([
    ['vm', NOTHING_TO_BOOT],
    ['-m 4K vm', NOTHING_TO_BOOT],
    ['-f kexec,@/none vm', 'Could not open kernel: @/none: No such file or directory\n'],
    ['-f kexec,@ vm', 'Could not open kernel: @: Is a directory\n'],
    [
      '-f kexec,@/text vm',
      '@/text: The kernel file is neither a Linux bzImage, nor a multiboot kernel, nor an ELF file.\n',
    ],
    ['-f multiboot,@/text vm', '@/text: The file has no multiboot header in its first 8 KiB.\n'],
    ['-f kexec,@/text,@/none vm', 'Could not open initial RAM disk: @/none: No such file or directory\n'],
    ['-m 4K -f kexec,@/text vm', 'mptable requires mapped mem\n'],
    ['-m 4K -Y -f kexec,@/text vm', 'smbios table requires mapped mem\n'],
    ['-m 968K -Y -A -f kexec,@/text vm', 'ACPI RSDP requires mapped mem\n'],
    ['-m 1000T vm', 'guest memory of 1099511627776000 bytes exceeds 136365211648\n'],
    ['-l bootrom,@/none vm', 'Error opening bootrom "@/none": No such file or directory\n'],
    ['-l bootrom,@/text vm', 'bhyve: ROM size 13 is not a multiple of the page size\n'],
    ['-l bootrom,@/empty vm', 'bhyve: ROM size 0 is invalid\n'],
    ['-l bootrom,@/large vm', 'Invalid bootrom and variable aggregate size 16781312\n'],
    ['-l bootrom,@/rom,@/none vm', 'Error opening bootrom variable file "@/none": No such file or directory\n'],
    ['-l bootrom,@/rom,@ vm', 'Error opening bootrom variable file "@": Is a directory\n'],
    ['-l bootrom,@/none,@/none vm', 'Error opening bootrom "@/none": No such file or directory\n'],
    ['-l bootrom,@/text,@/none vm', 'Error opening bootrom variable file "@/none": No such file or directory\n'],
    ['-l bootrom,@/rom,@/text vm', 'Invalid bootrom variable size 13\n'],
    ['-l bootrom,@/rom,@/empty vm', 'Invalid bootrom variable size 0\n'],
    ['-l bootrom,@/rom,@/large vm', 'Invalid bootrom variable size 16781312\n'],
    ['-l bootrom,@/rom,@/full vm', 'Invalid bootrom and variable aggregate size 16781312\n'],
    ['-l bootrom,@/text,@/page vm', 'bhyve: ROM size 13 is not a multiple of the page size\n'],
    ['-o bootrom=@/rom -o bootvars=@/text vm', 'Invalid bootrom variable size 13\n'],
    ['-l bootrom,@/half,@/half -s 31,lpc -l pc-testdev vm', 'boot ROM variables overlaps test memory\n'],
    [
      `${ROM} -s 3,virtio-blk,@/none vm`,
      `Could not open backing file: @/none: No such file or directory\n${INITIALIZATION}No such file or directory\n`,
    ],
    [
      `${ROM} -s 3,virtio-blk,@ vm`,
      `Could not open backing file: @: Is a directory\n${INITIALIZATION}Is a directory\n`,
    ],
    [
      `${ROM} -l com2,@/none vm`,
      "Unable to initialize backend '@/none' for LPC device COM2\nNo such file or directory\n",
    ],
    [`${ROM} -l com1,tcp=1 vm`, "Unable to initialize backend 'tcp=1' for LPC device COM1\ntcp=1: not ADDRESS:PORT\n"],
    [
      `${ROM} -l com1,@/text vm`,
      "Unable to initialize backend '@/text' for LPC device COM1\n@/text is not a terminal\n",
    ],
    [
      `${ROM} -l com1,stdio -l com2,stdio vm`,
      "Unable to initialize backend 'stdio' for LPC device COM2\nstdio is in use by another port\n",
    ],
    [
      `${ROM} -s 4:1,uart,@/none vm`,
      "Unable to initialize backend '@/none' for pci uart at 4:1\nNo such file or directory\n",
    ],
    [
      `${ROM} -s 3,uart -s 4,uart -s 5,uart -s 6,uart -s 7,uart vm`,
      `no more than 4 uart functions\n${INITIALIZATION}Invalid argument\n`,
    ],
    ...(
      [
        ['virtio-net,eth0', `unknown network backend "eth0"; known are ${KINDS}`],
        ['virtio-net,Tap0', `unknown network backend "Tap0"; known are ${KINDS}`],
        ['e1000,tap0,type=eth', `unknown network backend "eth"; known are ${KINDS}`],
        // Wrong values come before the backend.
        ['e1000,eth0,mac=1:2:3:4:5:6', 'Invalid MAC 1:2:3:4:5:6'],
        ['virtio-net,eth0,mtu=1', 'Invalid value 1 for mtu: an integer from 68 to 65535 is expected'],
        ['virtio-net,netgraph', 'path must be provided'],
        ['virtio-net,netgraph,path=a:', 'peer hook must be provided'],
        ...['tcp', 'tcp:1', 'tcp:1:22', 'tcp::22-:x', 'tcp::65536-:1', 'tcp:1.2.3:22-:1', 'tcp::22-[::1]:1', ''].map(
          (rule) =>
            [`e1000,slirp,hostfwd=${rule}`, `Unable to parse hostfwd rule '${rule}': Invalid argument`] as const,
        ),
        [
          'virtio-net,slirp,open,hostfwd=tcp:127.0.0.1:2222-:22;udp:x',
          "Unable to parse hostfwd rule 'udp:x': Invalid argument",
        ],
      ] as const
    ).map(([device, line]): [string, string] => [
      `${ROM} -s 3,${device} vm`,
      `${line}\n${INITIALIZATION}Invalid argument\n`,
    ]),
    // Devices are built in the order of their slots.
    [
      `${ROM} -s 4,e1000,eth0 -s 3,virtio-blk,@/none vm`,
      `Could not open backing file: @/none: No such file or directory\n${INITIALIZATION}No such file or directory\n`,
    ],
    ...(
      [
        ['tap77', 'tap77 does not exist; make it with "ip tuntap add tap77 mode tap user $USER"'],
        ['x77,type=tap', 'x77 does not exist; make it with "ip tuntap add x77 mode tap user $USER"'],
        [
          'netgraph,path=a:,peerhook=b',
          'netgraph: its nodes exist on FreeBSD only; socket=NAME joins machines on this host',
        ],
        ['netmap:em0', "netmap:em0: netmap needs FreeBSD's driver; socket=NAME joins machines on this host"],
        ['vale0:1', "vale0:1: netmap needs FreeBSD's driver; socket=NAME joins machines on this host"],
        ['fetch', 'fetch: this backend is for browsers; slirp and socket=NAME are those of this host'],
      ] as const
    ).flatMap(([backend, message]) =>
      ['virtio-net', 'e1000'].map((device): [string, string] => [
        `${ROM} -s 3,${device},${backend} vm`,
        `${message}\n${INITIALIZATION}Invalid argument\n`,
      ]),
    ),
    [
      `${ROM} -s 3,virtio-net,slirp,hostfwd=tcp:203.0.113.1:2222-:22 vm`,
      "Unable to add hostfwd rule 'tcp:203.0.113.1:2222-10.0.2.15:22': " +
        `listen EADDRNOTAVAIL: address not available 203.0.113.1:2222\n${INITIALIZATION}Can't assign requested address\n`,
    ],
    ...(
      [
        [
          'slirp,allow=lan',
          'allow: "lan" is neither loopback nor private nor a block of addresses such as 192.168.1.0/24',
        ],
        ['ws=http://x', 'ws: an address such as ws://127.0.0.1:8086/room is needed'],
        ['socket=a/b', 'socket: a name of letters, digits, dots and dashes is needed'],
      ] as const
    ).map(([backend, message]): [string, string] => [
      `${ROM} -s 3,virtio-net,${backend} vm`,
      `${message}\n${INITIALIZATION}Invalid argument\n`,
    ]),
    ...['3/0/1', 'ppt7', 'pci0:4:5:6', 'pci4:5:6', '3/0/1,rom=@/rom'].map((spelling): [string, string] => [
      `${ROM} -S -s 3,passthru,${spelling} vm`,
      'passthru: a device of the host cannot be handed to an emulated machine\n',
    ]),
    [`${ROM} -l tpm,swtpm,@/s vm`, 'tpm: cannot connect to @/s: No such file or directory\nFailed to init TPM\n'],
    [
      `${ROM} -l tpm,passthru,/dev/tpm0 vm`,
      'tpm: a TPM of the host cannot be handed to an emulated machine; use swtpm\nFailed to init TPM\n',
    ],
    [`${ROM} -l tpm,swtpm,@/s,version=1.2 vm`, 'tpm: unsupported version "1.2"\nFailed to init TPM\n'],
    [
      `${ROM} -o cpu.model=8086 vm`,
      'bhyve: unknown cpu.model "8086"; known are x86-64, x86-64-v1, x86-64-v2, x86-64-v3, v1, v2, v3, ' +
        'kvm64, qemu64, nehalem, westmere, sandybridge, ivybridge, haswell, broadwell, skylake-client, max\n',
    ],
    [`${ROM} -o cpu.features=avx vm`, 'bhyve: unknown cpu.features word "avx"\n'],
    [`${ROM} -o system.sku=\u00e9 vm`, '"\u00e9" is not printable ASCII\n'],
    [`${ROM} -o bios.vendor=${'v'.repeat(6000)} vm`, 'the SMBIOS strings are too long for the table area\n'],
    [
      `${ROM} -o lpc.fwcfg=qemu -f opt/a,file=@/none vm`,
      'Could not open fw_cfg file: @/none: No such file or directory\n',
    ],
    [`${ROM} -o lpc.fwcfg=qemu -f opt/a,string=x -f opt/a,string=y vm`, 'the fw_cfg file "opt/a" exists twice\n'],
    [
      `${ROM} -s 1:0:0,virtio-rnd vm`,
      'MPtable is incompatible with multiple PCI hierarchies.\n' +
        'MPtable generation can be disabled by passing the -Y option to bhyve(8).\n',
    ],
  ])('%s', async (line, stderr) => {
    expect(await outcomeOf(line)).toMatchObject({ status: 4, stderr });
  });

  it.each<[string, number, string]>([
    ['-r @/none vm', 1, "Failed to read checkpoint info from file: '@/none'.\nNo such file or directory\n"],
    ['-r @/text', 1, "Failed to read checkpoint info from file: '@/text'.\n@/text.meta: No such file or directory\n"],
  ])('%s', async (line, status, stderr) => {
    expect(await outcomeOf(line)).toMatchObject({ status, stderr });
  });

  it('a socket where there is no folder', async () => {
    const { status, stderr } = await outcomeOf(`${ROM} -s 3,virtio-console,a=@/none/a vm`);
    expect(status).toBe(4);
    // Node says "Permission denied" for some of them.
    expect(stderr).toMatch(/^virtio-console: cannot open @\/none\/a for port a: [A-Z][a-z ]+\ndevice emulation init/);
  });

  const notBuilt = PCI_DEVICES.filter(({ name, aliasOf }) => !BUILT_DEVICES.includes(aliasOf ?? name));
  const working: Readonly<Record<string, string>> = {
    ahci: ',hd:@/img',
    'ahci-hd': ',@/img',
    'ahci-cd': ',@/img',
    nvme: ',@/img',
    passthru: ',1/2/3',
    'virtio-9p': ',share=@',
  };
  it.each(notBuilt.map(({ name }) => name))('%s is not built, and says so in one sentence', async (name) => {
    const { status, stderr } = await outcomeOf(`${ROM} -s 3,${name}${working[name] ?? ''} vm`);
    expect(status).toBe(4);
    const device = name.replace(/^ahci-.*/, 'ahci');
    expect(stderr).toMatch(new RegExp(`^${device}: [^\n]+\n$`));
  });
});

describe('what is accepted and cannot be done here is told', () => {
  it.each<[string, string[]]>([
    [ROM, []],
    ['-l bootrom,@/rom', []],
    ['-l bootrom,@/rom,@/page', []],
    [`${ROM} -C`, []],
    [`${ROM} -p 0:1`, ['-p: vCPUs cannot be pinned to processors of the host here; the option has no effect']],
    [`${ROM} -K de`, []],
    [`${ROM} -K klingon`, ['-K: there is no keyboard layout klingon; keys are those of a US keyboard']],
  ])('%s', async (line, messages) => {
    expect(await outcomeOf(`${line} vm`)).toEqual({ status: undefined, stderr: '', messages });
  });
});
