import { describe, expect, it } from 'vitest';
import {
  BhyveExit,
  parseCommandLine,
  type ParsedCommandLine,
  pciFunctions,
  usageText,
} from '../../devices/config/index.ts';

const FILES: Readonly<Record<string, string>> = {
  'vm.conf': '# a machine\nname=filevm\n\ncpus=2\nmemory.size=1G\npci.0.3.0.device=virtio-rnd\n',
  'last-line.conf': 'cpus=3',
  'bad.conf': 'cpus=2\n bogus\n',
  'blank.conf': ' # not a comment=1\n',
  'crlf.conf': 'cpus=2\r\n',
  'sub/outer.conf': 'vcpu.0.cpuset=0\ninclude inner.conf\nadded+=text\n',
  'sub/inner.conf': 'vcpu.0.cpuset+=,2-3\ncpus=3\n',
  'loop.conf': 'include loop.conf\n',
};

function readTextFile(path: string): string {
  const text = FILES[path];
  if (text === undefined) throw Object.assign(new Error(`open ${path}`), { code: 'ENOENT' });
  return text;
}

const environment = { programName: 'bhyve', readTextFile };
const parse = (...argv: string[]): ParsedCommandLine => parseCommandLine(argv, environment);

function exitOf(action: () => unknown): { status: number; stderr: string; stdout: string } {
  try {
    action();
  } catch (error) {
    if (error instanceof BhyveExit) return { status: error.status, stderr: error.stderrText, stdout: error.stdoutText };
    throw error;
  }
  throw new Error('did not exit');
}

/** The dump without the lines that are always there. */
function variables(...argv: string[]): string[] {
  const usual = new Set(['acpi_tables=false', 'memory.size=256M', 'x86.strictmsr=true', 'config.dump=1', 'name=vm']);
  const { stdout } = exitOf(() => parse('-o', 'config.dump=1', ...argv, 'vm'));
  return stdout.split('\n').filter((line) => line !== '' && !usual.has(line));
}

describe('options that set variables', () => {
  it.each<[string[], string[]]>([
    [['-A'], ['acpi_tables=true']],
    [['-a'], ['x86.x2apic=false']],
    [['-x'], ['x86.x2apic=true']],
    [['-x', '-a'], ['x86.x2apic=false']],
    [['-C'], ['memory.guest_in_core=true']],
    [['-D'], ['destroy_on_poweroff=true']],
    [['-e'], ['x86.strictio=true']],
    [['-H'], ['x86.vmexit_on_hlt=true']],
    [['-I'], []],
    [['-g', '0'], []],
    [['-P'], ['x86.vmexit_on_pause=true']],
    [['-S'], ['memory.wired=true']],
    [['-u'], ['rtc.use_localtime=false']],
    [['-W'], ['virtio_msix=false']],
    [['-w'], ['x86.strictmsr=false']],
    [['-Y'], ['x86.mptable=false']],
    // The node x86 was there before; acpi_tables moves behind it.
    [['-AHP'], ['x86.vmexit_on_hlt=true', 'x86.vmexit_on_pause=true', 'acpi_tables=true']],
    [['-K', 'de'], ['keyboard.layout=de']],
    [['-U', 'abc'], ['uuid=abc']],
    [['-m', '1G'], ['memory.size=1G']],
    [['-m1G', '-m', 'junk'], ['memory.size=junk']],
    [['-c', '4'], ['cpus=4']],
    [
      ['-c', ''],
      ['sockets=1', 'cores=1', 'threads=1', 'cpus=1'],
    ],
    [
      ['-c', '4,cores=2'],
      ['cpus=4', 'cores=2'],
    ],
    [['-c', 'cpus=1,2'], ['cpus=2']],
    [
      ['-c', 'sockets=2,cores=2,threads=2'],
      ['sockets=2', 'cores=2', 'threads=2'],
    ],
    [['-G', '1234'], ['gdb.port=1234']],
    [
      ['-G', 'w1234'],
      ['gdb.wait=true', 'gdb.port=1234'],
    ],
    [
      ['-G', 'w0.0.0.0:99'],
      ['gdb.wait=true', 'gdb.address=0.0.0.0', 'gdb.port=99'],
    ],
    [
      ['-G', '::1:99'],
      ['gdb.address=::1', 'gdb.port=99'],
    ],
    [
      ['-p', '0:1', '-p', '0:3', '-p', '1:4junk'],
      ['vcpu.0.cpuset=1,3', 'vcpu.1.cpuset=4'],
    ],
    [['-o', 'a.b=c=d'], ['a.b=c=d']],
    [['-o', ' a = b'], [' a = b']],
    [
      ['-o', 'a=1', '-o', 'b=2', '-o', 'a=3'],
      ['b=2', 'a=3'],
    ],
    [
      ['-k', 'vm.conf'],
      ['memory.size=1G', 'cpus=2', 'pci.0.3.0.device=virtio-rnd'],
    ],
    [
      ['-c', '2,model=Haswell'],
      ['cpus=2', 'cpu.model=Haswell'],
    ],
    [['-c', '8', '-k', 'last-line.conf'], ['cpus=3']],
    [['-k', 'last-line.conf', '-c', '8'], ['cpus=8']],
    [['-k', 'blank.conf'], [' # not a comment=1']],
    [['-k', 'crlf.conf'], ['cpus=2\r']],
    [
      ['-k', 'sub/outer.conf'],
      ['vcpu.0.cpuset=0,2-3', 'cpus=3', 'added=text'],
    ],
    [
      ['-n', 'id=0,size=107,cpus=0-3'],
      ['domains.0.size=107', 'domains.0.cpus=0-3'],
    ],
    [
      ['-n', 'id=1,size=1G,cpus=4,6-7'],
      ['domains.1.size=1G', 'domains.1.cpus=4,6-7'],
    ],
  ])('%j', (argv, expected) => {
    expect(variables(...argv)).toEqual(expected);
  });
});

describe('-f', () => {
  it.each<[string, string[]]>([
    ['kexec,/k', ['loader.protocol=auto', 'loader.kernel=/k']],
    ['kexec,/k,/i', ['loader.protocol=auto', 'loader.kernel=/k', 'loader.initrd=/i']],
    [
      'kexec,/k,/i,console=ttyS0 a=b,c,d',
      ['loader.protocol=auto', 'loader.kernel=/k', 'loader.initrd=/i', 'loader.cmdline=console=ttyS0 a=b,c,d'],
    ],
    ['kexec,/k,,ro', ['loader.protocol=auto', 'loader.kernel=/k', 'loader.cmdline=ro']],
    ['multiboot,/k,/m', ['loader.protocol=multiboot', 'loader.kernel=/k', 'loader.initrd=/m']],
    ['bootrom,/rom.fd', ['lpc.bootrom=/rom.fd']],
  ])('%s', (argument, expected) => {
    expect(variables('-f', argument)).toEqual(expected);
  });

  it('takes its values as they are, whatever they hold', () => {
    const { settings, warnings } = parse('-f', 'kexec,/k,/i,a=%(name) b=\\x 100%', 'vm');
    expect(settings.loader.cmdline).toBe('a=%(name) b=\\x 100%');
    expect(warnings).toEqual([]);
  });

  it('adds modules in their order, each with its arguments', () => {
    const { settings } = parse('-f', 'multiboot,/xen', '-f', 'module,/k,root=/dev/a,b', '-f', 'module,/i', 'vm');
    expect(settings.loader.modules).toEqual([
      { path: '/k', args: 'root=/dev/a,b' },
      { path: '/i', args: undefined },
    ]);
    expect(() => parse('-f', 'module', 'vm')).toThrow();
  });

  it('keeps items for the firmware', () => {
    const { fwCfgItems } = parse('-f', 'opt/a,string=x,y', '-f', 'name=opt/b,file=/f', 'vm');
    expect(fwCfgItems).toEqual([
      { name: 'opt/a', text: 'x,y' },
      { name: 'opt/b', file: '/f' },
    ]);
  });
});

describe('-s and -l', () => {
  const slot = 'pci.0.3.0';
  it.each<[string, string[]]>([
    ['3,virtio-rnd', ['device=virtio-rnd']],
    ['3,virtio-blk,/img', ['device=virtio-blk', 'path=/img']],
    [
      '3:0,virtio-blk,/img,ro,sectorsize=512/4096,',
      ['device=virtio-blk', 'path=/img', 'ro=true', 'sectorsize=512/4096'],
    ],
    ['0:3:0,virtio-blk', ['device=virtio-blk']],
    // What sscanf(3) leaves over is nobody's.
    ['3junk,virtio-rnd', ['device=virtio-rnd']],
    ['0:3:0:9,virtio-rnd', ['device=virtio-rnd']],
    ['3,ahci-hd,/img,nmrr=1', ['device=ahci', 'port.0.type=hd', 'port.0.path=/img', 'port.0.nmrr=1']],
    ['3,ahci-cd,/iso', ['device=ahci', 'port.0.type=cd', 'port.0.path=/iso']],
    ['3,ahci', ['device=ahci']],
    [
      '3,ahci,hd:/a,ser=1,cd:/b,hd:,hd:/c',
      [
        'device=ahci',
        ...['port.0.type=hd', 'port.0.path=/a', 'port.0.ser=1'],
        ...['port.1.type=cd', 'port.1.path=/b'],
        ...['port.3.type=hd', 'port.3.path=/c'],
      ],
    ],
    ['3,nvme,/img,maxq=2', ['device=nvme', 'path=/img', 'maxq=2']],
    ['3,nvme,ram=64,ser=x', ['device=nvme', 'ram=64', 'ser=x']],
    ['3,virtio-net', ['device=virtio-net']],
    ['3,virtio-net,tap0,mac=00:be:fa:76:45:00', ['device=virtio-net', 'backend=tap0', 'mac=00:be:fa:76:45:00']],
    ['3,e1000,mac=x,slirp,open', ['device=e1000', 'backend=slirp', 'mac=x', 'open=true']],
    ['3,virtio-9p,share=/dir,ro', ['device=virtio-9p', 'sharename=share', 'path=/dir', 'ro=true']],
    [
      '3,virtio-console,a=/x,b=/y',
      ['device=virtio-console', 'port.0.name=a', 'port.0.path=/x', 'port.1.name=b', 'port.1.path=/y'],
    ],
    ['3,virtio-input,/dev/input/event0', ['device=virtio-input', 'path=/dev/input/event0']],
    ['3,virtio-scsi,/dev/cam/ctl1.2,iid=3', ['device=virtio-scsi', 'dev=/dev/cam/ctl1.2', 'iid=3']],
    ['3,uart,/dev/x,y', ['device=uart', 'path=/dev/x,y']],
    ['3,xhci,tablet', ['device=xhci', 'slot.1.device=tablet']],
    ['3,xhci', ['device=xhci']],
    ['3,fbuf,tcp=0.0.0.0:5900,w=800,wait', ['device=fbuf', 'tcp=0.0.0.0:5900', 'w=800', 'wait=true']],
    ['3,fbuf,password=', ['device=fbuf', 'password=']],
    ['3,hda,play=/dev/dsp0', ['device=hda', 'play=/dev/dsp0']],
    ['3,passthru,3/0/1', ['device=passthru', 'bus=3', 'slot=0', 'func=1']],
    ['3,passthru,pci0:4:5:6', ['device=passthru', 'bus=4', 'slot=5', 'func=6']],
    ['3,passthru,pci4:5:6,rom=/r', ['device=passthru', 'bus=4', 'slot=5', 'func=6', 'rom=/r']],
    ['3,passthru,ppt7', ['device=passthru', 'pptdev=ppt7']],
    ['3,hostbridge', ['device=hostbridge']],
    ['3,amd_hostbridge', ['device=hostbridge', 'pcireg.vendor=1022', 'pcireg.device=7432']],
    ['3,lpc,pcireg.revid=02', ['device=lpc', 'pcireg.revid=02']],
    ['3,dummy', ['device=dummy']],
  ])('-s %s', (argument, expected) => {
    expect(variables('-s', argument)).toEqual(expected.map((line) => `${slot}.${line}`));
  });

  it.each<[string, string[]]>([
    ['com1,stdio', ['lpc.com1.path=stdio']],
    ['COM4,/dev/nmdm0A,x', ['lpc.com4.path=/dev/nmdm0A,x']],
    ['com2', []],
    ['pc-testdev', ['lpc.pc-testdev=true']],
    ['bootrom,/r', ['lpc.bootrom=/r']],
    ['BootROM,/r', ['lpc.bootrom=/r']],
    ['bootrom,/r,/v', ['lpc.bootrom=/r', 'lpc.bootvars=/v']],
    ['bootrom,/r,fwcfg=qemu', ['lpc.bootrom=/r', 'lpc.fwcfg=qemu']],
    ['bootrom,/r,opfs:v?base=/b', ['lpc.bootrom=/r', 'lpc.bootvars=opfs:v?base=/b']],
    ['bootrom,/r,/v,fwcfg=qemu', ['lpc.bootrom=/r', 'lpc.bootvars=/v', 'lpc.fwcfg=qemu']],
    ['tpm,swtpm,/s,version=2.0', ['tpm.type=swtpm', 'tpm.path=/s', 'tpm.version=2.0']],
  ])('-l %s', (argument, expected) => {
    expect(variables('-l', argument)).toEqual(expected);
  });

  it('can be extended by -o afterwards', () => {
    expect(variables('-s', '3,virtio-blk,/img', '-o', 'pci.0.3.0.ro=true').at(-1)).toBe('pci.0.3.0.ro=true');
  });

  const deviceNames =
    'ahci ahci-cd ahci-hd amd_hostbridge dummy e1000 fbuf hda hostbridge lpc nvme passthru uart virtio-9p virtio-blk ' +
    'virtio-console virtio-input virtio-net virtio-rnd virtio-scsi xhci';
  it.each([
    ['-s', 'help', deviceNames],
    ['-s', 'h', deviceNames],
    ['-s', 'hel', deviceNames],
    ['-s', '', deviceNames],
    ['-l', 'help', 'bootrom com1 com2 com3 com4 tpm pc-testdev'],
    ['-l', '', 'bootrom com1 com2 com3 com4 tpm pc-testdev'],
  ])('%s %j lists', (option, argument, names) => {
    expect(exitOf(() => parse(option, argument))).toEqual({
      status: 0,
      stderr: '',
      stdout: names.split(' ').join('\n') + '\n',
    });
  });
});

describe('the usage', () => {
  const lines = usageText('bhyve').split('\n');

  it('begins as that of bhyve, whose lines stand below each other', () => {
    expect(lines.slice(0, 4)).toEqual([
      'Usage: bhyve [-AaCDeHhPSuWwxY]',
      '             [-c [[cpus=]numcpus][,sockets=n][,cores=n][,threads=n]]',
      '             [-f loader] [-G port] [-k config_file] [-l lpc] [-m mem] [-o var=value]',
      '             [-p vcpu:hostcpu] [-r file] [-s pci] [-U uuid] vmname',
    ]);
  });

  it('has a line for each option, in its order and words', () => {
    const expected = [
      ...[
        'A: create ACPI tables',
        'a: local apic is in xAPIC mode (deprecated)',
        'C: include guest memory in core file',
      ],
      ...['c: number of CPUs and/or topology specification', 'D: destroy on power-off'],
      ...['e: exit on unhandled I/O access', 'G: start a debug server', 'H: vmexit from the guest on HLT', 'h: help'],
      ...['K: PS2 keyboard layout', 'k: key=value flat config file', 'l: LPC device configuration'],
      ...['m: memory size in MB', "o: set config 'var' to 'value'", 'P: vmexit from the guest on pause'],
      ...["p: pin 'vcpu' to 'hostcpu'", 'r: path to checkpoint file', 'S: guest memory cannot be swapped'],
      ...['s: <slot,driver,configinfo> PCI slot config', 'U: UUID', 'u: RTC keeps UTC time'],
      ...['W: force virtio to use single-vector MSI', 'w: ignore unimplemented MSRs'],
      ...['x: local APIC is in x2APIC mode', 'Y: disable MPtable generation'],
    ].map((line) => `       -${line}`);
    expect(lines.slice(4).filter((line) => !line.startsWith('       -f: '))).toEqual([...expected, '']);
  });
});

describe('errors', () => {
  const usage = usageText('bhyve');
  it.each<[string[], number, string]>([
    [[], 1, usage],
    [['-h'], 0, usage],
    [['-z', 'vm'], 1, `bhyve: illegal option -- z\n${usage}`],
    [['-c'], 1, `bhyve: option requires an argument -- c\n${usage}`],
    [['vm', 'extra'], 1, usage],
    [['vm', '-A'], 1, usage],
    [['-s', '0,ahci'], 1, usage],
    [['-c', 'foo=1', 'vm'], 64, "bhyve: invalid cpu topology 'foo=1'\n"],
    [['-c', '0', 'vm'], 4, "bhyve: Invalid value for cpus: '0'\n"],
    [['-c', ',,', 'vm'], 4, "bhyve: Invalid value for cpus: ''\n"],
    [['-c', '2x', 'vm'], 4, "bhyve: Invalid value for cpus: '2x'\n"],
    [['-c', 'cores=65536', 'vm'], 4, "bhyve: Invalid value for cores: '65536'\n"],
    [['-c', '4,cores=2', 'vm'], 4, 'bhyve: Topology (4 sockets, 2 cores, 1 threads) does not match 4 vCPUs\n'],
    [['-c', 'sockets=1000,cores=1000', 'vm'], 4, 'bhyve: Computed number of vCPUs too high: 1000000\n'],
    [['-c', '17', 'vm'], 4, '17 vCPUs requested but only 16 available\n'],
    // The order in which bhyve looks: topology, pinning, memory, then what the machine can hold.
    [['-c', '17', '-m', 'lots', 'vm'], 64, "bhyve: invalid memsize 'lots'\n"],
    [['-c', '17', '-m', '0', 'vm'], 4, '17 vCPUs requested but only 16 available\n'],
    [['-c', '0', '-m', 'lots', 'vm'], 4, "bhyve: Invalid value for cpus: '0'\n"],
    [['-m', 'lots', '-o', 'vcpu.0.cpuset=x', 'vm'], 4, "bhyve: invalid cpuset for vcpu 0: 'x'\n"],
    // Errors of one option come before those of the machine, and before usage.
    [['-m', 'lots', '-l', 'x', 'vm'], 64, "bhyve: invalid lpc device configuration 'x'\n"],
    [['-s', '3,nothing'], 4, 'pci slot 0:3:0: unknown device "nothing"\n'],
    [['-m', 'lots'], 1, usage],
    [['-:'], 1, `bhyve: illegal option -- :\n${usage}`],
    [['--help'], 1, `bhyve: illegal option -- -\n${usage}`],
    [['-AHc'], 1, `bhyve: option requires an argument -- c\n${usage}`],
    [['-AHq', 'vm'], 1, `bhyve: illegal option -- q\n${usage}`],
    [['-b', 'vm'], 1, `bhyve: illegal option -- b\n${usage}`],
    [['-c', 'cpus=4,socket=2', 'vm'], 64, "bhyve: invalid cpu topology 'cpus=4,socket=2'\n"],
    [['-c', '-1', 'vm'], 4, "bhyve: Invalid value for cpus: '-1'\n"],
    [['-c', '4,sockets=', 'vm'], 4, "bhyve: Invalid value for sockets: ''\n"],
    [['-c', '4,threads=x', 'vm'], 4, "bhyve: Invalid value for threads: 'x'\n"],
    [['-m', '1GG', 'vm'], 64, "bhyve: invalid memsize '1GG'\n"],
    [['-m', '-1', 'vm'], 64, "bhyve: invalid memsize '-1'\n"],
    [['-m', '1 G', 'vm'], 64, "bhyve: invalid memsize '1 G'\n"],
    [['-m', '99999999999G', 'vm'], 64, "bhyve: invalid memsize '99999999999G'\n"],
    [['-n', 'id=0,size=x,cpus=0', 'vm'], 64, "bhyve: invalid memsize 'x'\n"],
    [['-o', 'config.dump=maybe', 'vm'], 4, 'bhyve: Invalid value maybe for boolean variable config.dump\n'],
    [['-o', 'lpc.fwcfg=uefi', 'vm'], 4, 'bhyve: Invalid value uefi for lpc.fwcfg: one of bhyve, qemu is expected\n'],
    [['-G', '70000', 'vm'], 4, 'bhyve: Invalid value 70000 for gdb.port: an integer from 0 to 65535 is expected\n'],
    [['-f', 'multiboot,,m', 'vm'], 64, "bhyve: -f multiboot,,m: a kernel's path is expected\n"],
    [['-f', 'bootrom', 'vm'], 4, 'bhyve: invalid bootrom option "bootrom"\n'],
    [
      ['-f', `${'n'.repeat(56)},string=x`, 'vm'],
      64,
      `Invalid fw_cfg option "${'n'.repeat(56)},string=x"\n-f [name=]<name>,(string|file)=<value>\n` +
        `bhyve: invalid fwcfg item '${'n'.repeat(56)},string=x'\n`,
    ],
    [['-m', 'lots', 'vm'], 64, "bhyve: invalid memsize 'lots'\n"],
    [['-m', '', 'vm'], 64, "bhyve: invalid memsize ''\n"],
    [['-m', '0', 'vm'], 4, 'bhyve: Unable to setup memory (22)\n'],
    [['-m', '1048577', 'vm'], 4, 'bhyve: Unable to setup memory (22)\n'],
    [['-o', 'novalue', 'vm'], 64, "bhyve: invalid configuration option 'novalue'\n"],
    [['-o', 'empty=', 'vm'], 64, "bhyve: invalid configuration option 'empty='\n"],
    [
      ['-o', 'x86.mptable.y=1', '-o', 'x86.mptable=1', 'vm'],
      4,
      'bhyve: Attempting to add value 1 to existing node x86.mptable\n',
    ],
    [
      ['-o', 'name.x=1', '-o', 'a..b=1', 'vm'],
      4,
      'bhyve: Invalid configuration node: a.\nbhyve: Failed to create configuration node a.\n',
    ],
    [
      ['-o', 'acpi_tables.x=1', 'vm'],
      4,
      'bhyve: Configuration node acpi_tables is a child of existing variable acpi_tables\n' +
        'bhyve: Failed to create configuration node acpi_tables\n',
    ],
    [['-o', 'virtio_msix=maybe', 'vm'], 4, 'bhyve: Invalid value maybe for boolean variable virtio_msix\n'],
    [['-k', 'loop.conf', 'vm'], 4, 'bhyve: loop.conf: too many files include each other\n'],
    [['-k', 'none.conf', 'vm'], 4, 'bhyve: Failed to open configuration file none.conf: No such file or directory\n'],
    [['-k', 'bad.conf', 'vm'], 4, "bhyve: bad.conf line 2: invalid config option ' bogus'\n"],
    [['-p', '1', 'vm'], 64, "invalid format: 1\nbhyve: invalid vcpu pinning configuration '1'\n"],
    [
      ['-p', 'com1,stdio', 'vm'],
      64,
      "invalid format: com1,stdio\nbhyve: invalid vcpu pinning configuration 'com1,stdio'\n",
    ],
    [['-p', '-1:0', 'vm'], 64, "invalid vcpu '-1'\nbhyve: invalid vcpu pinning configuration '-1:0'\n"],
    [
      ['-p', '0:256', 'vm'],
      64,
      "hostcpu '256' outside valid range from 0 to 255\nbhyve: invalid vcpu pinning configuration '0:256'\n",
    ],
    [['-o', 'vcpu.0.cpuset=x', 'vm'], 4, "bhyve: invalid cpuset for vcpu 0: 'x'\n"],
    [['-n', 'id=9,size=1,cpus=0', 'vm'], 64, "bhyve: invalid NUMA configuration 'id=9,size=1,cpus=0'\n"],
    [['-G', 'port', 'vm'], 4, 'bhyve: Invalid value port for gdb.port: an integer from 0 to 65535 is expected\n'],
    [['-U', 'abc', 'vm'], 4, "bhyve: Invalid UUID 'abc'\n"],
    [
      ['-o', 'loader.protocol=efi', 'vm'],
      4,
      'bhyve: Invalid value efi for loader.protocol: one of auto, linux64, linux32, linux16, multiboot, pvh, freebsd is expected\n',
    ],
    [['-f', 'kexec', 'vm'], 64, "bhyve: -f kexec: a kernel's path is expected\n"],
    [
      ['-f', 'opt/x', 'vm'],
      64,
      'Invalid fw_cfg option "opt/x"\n-f [name=]<name>,(string|file)=<value>\nbhyve: invalid fwcfg item \'opt/x\'\n',
    ],
    [['-l', 'bootrom', 'vm'], 4, 'bhyve: invalid bootrom option "bootrom"\n'],
    [['-l', 'com5,stdio', 'vm'], 64, "bhyve: invalid lpc device configuration 'com5,stdio'\n"],
    [['-l', 'tpm,', 'vm'], 4, 'bhyve: invalid tpm type "tpm,"\n'],
    [['-l', 'tpm,swtpm', 'vm'], 4, 'bhyve: invalid tpm path "tpm,swtpm"\n'],
    [['-s', '3', 'vm'], 4, 'Invalid PCI slot info field "3"\n'],
    [['-s', 'x,virtio-rnd', 'vm'], 4, 'Invalid PCI slot info field "x,virtio-rnd"\n'],
    [['-s', '32,virtio-rnd', 'vm'], 4, 'Invalid PCI slot info field "32,virtio-rnd"\n'],
    [['-s', '0:8,virtio-rnd', 'vm'], 4, 'Invalid PCI slot info field "0:8,virtio-rnd"\n'],
    [['-s', '256:0:0,virtio-rnd', 'vm'], 4, 'Invalid PCI slot info field "256:0:0,virtio-rnd"\n'],
    [['-s', '-1,virtio-rnd', 'vm'], 4, 'Invalid PCI slot info field "-1,virtio-rnd"\n'],
    [['-s', '1:2:3,Virtio-rnd', 'vm'], 4, 'pci slot 1:2:3: unknown device "Virtio-rnd"\n'],
    [['-s', '3,virtio-rnd', '-s', '0:3:0,lpc', 'vm'], 4, 'pci slot 0:3:0 already occupied!\n'],
    [['-k', 'vm.conf', '-s', '3,lpc', 'vm'], 4, 'pci slot 0:3:0 already occupied!\n'],
    [['-o', 'pci.0.3.0.ro=true', '-s', '3,virtio-blk,/i', 'vm'], 4, 'pci slot 0:3:0 already occupied!\n'],
    [['-s', 'helpx', 'vm'], 4, 'Invalid PCI slot info field "helpx"\n'],
    [['-s', '0:32:0,virtio-rnd', 'vm'], 4, 'Invalid PCI slot info field "0:32:0,virtio-rnd"\n'],
    [['-l', 'helpx', 'vm'], 64, "bhyve: invalid lpc device configuration 'helpx'\n"],
    [['-s', '3,ahci,/img', 'vm'], 4, 'Missing or invalid type for port 0: "/img"\n'],
    [['-s', `3,ahci${',hd:/x'.repeat(33)}`, 'vm'], 4, 'ahci: more than 32 ports\n'],
    [['-s', '3,virtio-9p,a=/x,b=/y', 'vm'], 4, 'virtio-9p: more than one share name given\n'],
    [['-s', '3,virtio-console,a', 'vm'], 4, 'virtio-console: port a requires a path\n'],
    [['-s', '3,passthru,x', 'vm'], 4, 'passthru: invalid options "x"\n'],
  ])('%j', (argv, status, stderr) => {
    expect(exitOf(() => parse(...argv))).toEqual({ status, stderr, stdout: '' });
  });

  it('carries the name by which the program was called', () => {
    const text = exitOf(() => parseCommandLine(['-m', 'x', 'vm'], { programName: 'webhyve', readTextFile })).stderr;
    expect(text).toBe("webhyve: invalid memsize 'x'\n");
    expect(usageText('webhyve').split('\n')[1]).toMatch(/^ {15}\[-c /);
  });
});

describe('errors found when the functions are initialized', () => {
  const after = '\ndevice emulation initialization error: Invalid argument\n';
  it.each<[string[], string]>([
    [['-o', 'pci.0.3.0.x=1'], `pci slot 0:3:0: missing "device" value${after}`],
    [['-o', 'pci.0.3.0.device=foo'], `pci slot 0:3:0: unknown device "foo"${after}`],
    [['-o', 'pci.0.3.0.device=ahci-hd'], `pci slot 0:3:0: legacy device "ahci-hd", use "ahci" instead${after}`],
    [['-s', '3,virtio-blk'], `Missing "path" for block device.${after}`],
    [['-s', '3,nvme'], `Missing "path" for block device.${after}`],
    [['-s', '3,ahci-hd,,ro'], `Missing "path" for block device.${after}`],
    [['-s', '3,virtio-blk,/i,sectorsize=9'], `Invalid sector size 9/9${after}`],
    [['-s', '3,virtio-blk,/i,ro=x'], 'bhyve: Invalid value x for boolean variable ro\n'],
    [['-s', '3,ahci-hd,/i,nocache=x'], 'bhyve: Invalid value x for boolean variable nocache\n'],
    [['-s', '3,virtio-blk,/i,sectorsize=x'], `Invalid sector size "x"${after}`],
    [['-s', '3,virtio-blk,/i,sectorsize=4096/512'], `Invalid sector size 4096/512${after}`],
    [['-s', '3,virtio-blk,/i,sectorsize=512/513'], `Invalid sector size 512/513${after}`],
    [['-s', `3,virtio-blk,/i,ser=${'s'.repeat(21)}`], `Value of ser is longer than 20 characters${after}`],
    [
      ['-s', '3,virtio-blk,/i,bootindex=-1'],
      `Invalid value -1 for bootindex: an integer from 0 to 2147483647 is expected${after}`,
    ],
    [['-s', '3,ahci', '-o', 'pci.0.3.0.port.0.type=hd'], `Missing "path" for block device.${after}`],
    [['-s', '3,ahci', '-o', 'pci.0.3.0.port.32.path=/i'], `ahci: invalid port "32"${after}`],
    [
      ['-s', '3,ahci-hd,/i', '-o', 'pci.0.3.0.port.0.type=tape'],
      `Invalid value tape for type: one of hd, cd is expected${after}`,
    ],
    [['-s', '3,nvme,/i,maxq=0'], `Invalid value 0 for maxq: an integer from 1 to 2047 is expected${after}`],
    [['-s', '3,virtio-net,tap0,mtu=67'], `Invalid value 67 for mtu: an integer from 68 to 65535 is expected${after}`],
    [['-s', '3,virtio-net,tap0,mac=00:00:00:00:00:00'], `Invalid MAC 00:00:00:00:00:00${after}`],
    [['-s', '3,e1000,tap0,mac=1:2:3:4:5'], `Invalid MAC 1:2:3:4:5${after}`],
    [['-s', '3,virtio-9p', '-o', 'pci.0.3.0.sharename=s'], `virtio-9p: path required${after}`],
    [
      ['-s', `3,virtio-console${Array.from({ length: 17 }, (_, n) => `,p${n}=/p${n}`).join('')}`],
      `virtio-console: more than 16 ports${after}`,
    ],
    [['-s', '3,xhci,mouse'], `Invalid value mouse for device: one of tablet is expected${after}`],
    [['-s', '3,xhci,tablet', '-s', '4,xhci'], `pci_xhci controller already defined${after}`],
    [['-s', '3,fbuf', '-s', '4,fbuf'], `Only one frame buffer device is allowed.${after}`],
    [['-s', '3,fbuf,tcp=0.0.0.0:'], `fbuf: Missing port number: "0.0.0.0:"${after}`],
    [['-s', '3,fbuf,rfb=[::1]:'], `fbuf: Missing port number: "[::1]:"${after}`],
    [['-s', '3,fbuf,rfb='], `fbuf: Missing port number: ""${after}`],
    [['-s', '3,fbuf,rfb=[::1'], `fbuf: Invalid IPv6 address: "[::1"${after}`],
    [['-s', '3,fbuf,rfb=[]:5900'], `fbuf: Invalid IPv6 address: "[]:5900"${after}`],
    [['-s', '3,fbuf,rfb=[::1]5900'], `fbuf: Invalid IPv6 address: "[::1]5900"${after}`],
    [['-s', '3,fbuf,rfb=host'], `fbuf: Invalid port number: "host"${after}`],
    [['-s', '3,fbuf,rfb=unix:'], `fbuf: Missing path of the socket: "unix:"${after}`],
    [['-s', '3,fbuf,vga=yes'], `fbuf: Invalid vga setting: "yes"${after}`],
    [['-s', '3,fbuf,w=639'], `fbuf: minimum resolution is 640x480${after}`],
    [['-s', '3,fbuf,h=479'], `fbuf: minimum resolution is 640x480${after}`],
    [['-s', '3,fbuf,h=2161'], `fbuf: max resolution is 3840x2160${after}`],
    [['-s', '3,fbuf,w=wide'], `Invalid value wide for w: a number of pixels is expected${after}`],
    [
      ['-s', '0,hostbridge,pcireg.vendor=12345'],
      `Invalid value 12345 for vendor: a hexadecimal number of at most four digits is expected${after}`,
    ],
    [
      ['-s', '3,passthru,1/2/3', '-o', 'pci.0.3.0.slot=32'],
      `Invalid value 32 for slot: an integer from 0 to 31 is expected${after}`,
    ],
    [['-s', '3,virtio-net,tap0,mac=01:0:0:0:0:0'], `Invalid MAC 01:0:0:0:0:0${after}`],
    [['-s', '3,virtio-9p'], `virtio-9p: share name required${after}`],
    [['-s', `3,virtio-9p,${'x'.repeat(257)}=/d`], `virtio-9p: share name too long${after}`],
    [['-s', '3,fbuf,vga=on'], `pci_fbuf: VGA rendering not enabled${after}`],
    [['-s', '3,fbuf,w=4000'], `fbuf: max resolution is 3840x2160${after}`],
    [['-s', '1:0:0,lpc', '-Y'], `pci slot 1:0:0: the lpc bridge can only be configured on bus 0${after}`],
    [['-s', '3,lpc', '-s', '4,lpc'], `lpc: only one LPC bridge is allowed${after}`],
    [
      ['-s', '1:0:0,virtio-rnd'],
      'MPtable is incompatible with multiple PCI hierarchies.\n' +
        'MPtable generation can be disabled by passing the -Y option to bhyve(8).\n',
    ],
  ])('%j', (argv, stderr) => {
    const { tree } = parse(...argv, 'vm');
    expect(exitOf(() => pciFunctions(tree))).toEqual({ status: 4, stderr, stdout: '' });
  });
});

describe('settings', () => {
  it('have the defaults of the manual', () => {
    expect(parse('vm').settings).toEqual({
      name: 'vm',
      uuid: undefined,
      topology: { cpus: 1, sockets: 1, cores: 1, threads: 1 },
      memoryBytes: 256 << 20,
      residentBytes: undefined,
      swapPath: undefined,
      domains: [],
      cpusets: [undefined],
      flags: {
        acpiTables: false,
        acpiTablesInMemory: true,
        guestInCore: false,
        monitor: false,
        destroyOnPoweroff: false,
        mptable: true,
        rtcUseLocalTime: true,
        strictIo: false,
        strictMsr: true,
        virtioMsix: true,
        vmexitOnHlt: false,
        vmexitOnPause: false,
        wired: false,
        x2apic: false,
        stats: false,
        enableBars: true,
      },
      lpc: {
        bootrom: undefined,
        bootvars: undefined,
        com: [undefined, undefined, undefined, undefined],
        fwcfg: 'bhyve',
        pcTestdev: false,
      },
      virtioTransport: 'transitional',
      loader: { kernel: undefined, initrd: undefined, cmdline: '', modules: [], protocol: 'auto' },
      gdb: undefined,
      keyboardLayout: undefined,
      runFolder: undefined,
      tpm: undefined,
      cpu: { model: undefined, features: undefined, vendor: 'intel', jit: 'hot', shownRegion: 0n, cpuid: [] },
    });
  });

  it.each<[string, Partial<Record<'cpus' | 'sockets' | 'cores' | 'threads', number>>]>([
    ['4', { cpus: 4, sockets: 4, cores: 1 }],
    ['4,sockets=2,cores=2', { cpus: 4, sockets: 2, cores: 2 }],
    ['sockets=2,cores=2', { cpus: 4 }],
    ['sockets=1,cores=2,threads=2', { cpus: 4 }],
    ['0x10', { cpus: 16 }],
    [' 010', { cpus: 8 }],
  ])('-c %s', (argument, expected) => {
    expect(parse('-c', argument, 'vm').settings.topology).toMatchObject(expected);
  });

  it('read the rest of the tree', () => {
    const { settings, tree } = parse(
      ...['-AHx', '-G', 'w:1234', '-l', 'com2,/dev/x', '-l', 'pc-testdev', '-l', 'bootrom,/r,/v', '-m', '24G'],
      ...['-l', 'tpm,swtpm,/s', '-o', 'cpu.features=+avx', '-s', '31,lpc', '-K', 'de', '-c', '2', '-p', '1:3', 'vm'],
    );
    expect(settings.flags).toMatchObject({ acpiTables: true, vmexitOnHlt: true, x2apic: true, enableBars: false });
    expect(settings.gdb).toEqual({ address: '', port: 1234, wait: true });
    expect(settings.lpc).toMatchObject({ bootrom: '/r', bootvars: '/v', pcTestdev: true });
    expect(settings.lpc.com).toEqual([undefined, '/dev/x', undefined, undefined]);
    expect(settings.memoryBytes).toBe(24 * 2 ** 30);
    expect(settings.tpm).toEqual({ type: 'swtpm', path: '/s', version: '2.0' });
    expect(settings.cpu.features).toBe('+avx');
    expect(settings.keyboardLayout).toBe('de');
    expect(settings.cpusets).toEqual([undefined, '3']);
    expect(pciFunctions(tree)).toHaveLength(1);
  });

  it('list the functions in the order of bus, slot and function', () => {
    const { tree } = parse(
      ...['-Y', '-s', '1:0:0,virtio-rnd', '-s', '10,virtio-rnd', '-s', '2:1,virtio-rnd'],
      ...['-s', '2,virtio-blk,/img,ro', '-o', 'pci.0.99.0.device=x', 'vm'],
    );
    const functions = pciFunctions(tree);
    expect(functions.map(({ bus, slot, func }) => [bus, slot, func])).toEqual([
      [0, 2, 0],
      [0, 2, 1],
      [0, 10, 0],
      [1, 0, 0],
    ]);
    expect(functions[0]?.variables.get('path')).toBe('/img');
    expect(functions[0]?.variables.getBoolean('ro', false)).toBe(true);
  });

  it('add up the memory of NUMA domains', () => {
    const domains = ['-n', 'id=0,size=107,cpus=0', '-n', 'id=1,size=107,cpus=1-2'];
    const { settings, warnings } = parse('-c', '3', ...domains, '-m', '9', 'vm');
    expect(settings.memoryBytes).toBe(214 << 20);
    expect(settings.domains).toEqual([
      { id: 0, memoryBytes: 107 << 20, cpus: [0] },
      { id: 1, memoryBytes: 107 << 20, cpus: [1, 2] },
    ]);
    expect(warnings).toEqual(['bhyve: NUMA domains have no effect without ACPI tables (-A)']);
    expect(parse('-A', '-c', '3', ...domains, 'vm').warnings).toEqual([]);
    const wrong = (...argv: string[]) => exitOf(() => parse(...argv, 'vm'));
    expect(wrong('-c', '2', ...domains)).toMatchObject({
      status: 64,
      stderr: 'bhyve: NUMA domain 1: there are no vCPUs 1-2\n',
    });
    expect(wrong('-c', '2', '-n', 'id=0,size=1,cpus=0', '-n', 'id=1,size=1,cpus=0-1').stderr).toContain(
      'vCPU 0 belongs to another one',
    );
  });

  it('take the name from the operand, else from the configuration, else from a snapshot', () => {
    expect(parse('-k', 'vm.conf').settings.name).toBe('filevm');
    expect(parse('-k', 'vm.conf', 'other').settings.name).toBe('other');
    const restored = parse('-r', 'snap');
    expect(restored.restoreFile).toBe('snap');
    expect(restored.settings.name).toBe('');
  });
});

describe('warnings', () => {
  it.each<[string[], string[]]>([
    [['-s', '3,virtio-blk,/i,notrim'], ['bhyve: pci slot 0:3:0: virtio-blk has no option "notrim"']],
    [['-l', 'com1,stdio'], ['bhyve: lpc.com1.path has no effect without an lpc bridge (-s 31,lpc)']],
    [['-l', 'com1,stdio', '-s', '31,lpc'], []],
    [['-l', 'bootrom,/r,/v,fwcfg=qemu'], []],
    [['-l', 'pc-testdev'], ['bhyve: lpc.pc-testdev has no effect without an lpc bridge (-s 31,lpc)']],
    [['-g', '1234'], ['bhyve: -g 1234 has no effect; -G starts a debug server']],
    [['-s', '3,fbuf,rfb=5900'], []],
    [
      ['-o', 'loader.cmdline=%(a', '-o', 'gdb.address=x\\', '-o', 'keyboard.layout=%()\\'],
      [
        'bhyve: Invalid reference in configuration value "%(a"',
        'bhyve: Empty reference in configuration value "%()\\"',
        'bhyve: Trailing \\ in configuration value "%()\\"',
      ],
    ],
    [['-o', 'memory.size=%(zz)64M'], ['bhyve: Failed to fetch referenced configuration variable zz']],
  ])('%j', (argv, expected) => {
    expect(parse(...argv, 'vm').warnings).toEqual(expected);
  });
});
