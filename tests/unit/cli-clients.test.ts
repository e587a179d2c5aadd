import { describe, expect, it } from 'vitest';
import { BhyveExit, parseCommandLine, type ParsedCommandLine, pciFunctions } from '../../devices/config/index.ts';

/** Command lines that libvirt, vm-bhyve, the manual and others use, as recorded from their tests and logs. */

const environment = {
  programName: 'bhyve',
  readTextFile: (path: string): string => {
    throw new Error(`unexpected read of ${path}`);
  },
};

/** Splits a command line at blanks; single quotes keep a word together. */
function words(line: string): string[] {
  return [...line.matchAll(/(?:'[^']*'|[^\s'])+/g)].map(([word]) => word.replaceAll("'", ''));
}

const parse = (line: string): ParsedCommandLine => parseCommandLine(words(line), environment);

/** The functions as `slot:func device variables`. */
function functionsOf(line: string): string[] {
  return pciFunctions(parse(line).tree).map(({ bus, slot, func, device, variables }) => {
    const settings = [...variables.variables()].filter(([path]) => path !== 'device').map((pair) => pair.join('='));
    return [`${bus === 0 ? '' : `${bus}:`}${slot}:${func}`, device, ...settings].join(' ');
  });
}

const C = '-c 1 -m 214 -u -H -P -s 0:0,hostbridge';
const DISK = '-s 2:0,ahci,hd:/tmp/freebsd.img';
const DISK_FUNCTION = '2:0 ahci port.0.type=hd port.0.path=/tmp/freebsd.img';
const NET = '-s 3:0,virtio-net,faketapdev,mac=52:54:00:00:00:00';
const NET_FUNCTION = '3:0 virtio-net backend=faketapdev mac=52:54:00:00:00:00';
const BRIDGE = '0:0 hostbridge';
const LPC = '1:0 lpc';

describe('libvirt', () => {
  it.each<[string, string, string[]]>([
    [
      'base',
      `${C} ${DISK} -s 3:0,virtio-net,faketapdev,mac=52:54:00:b9:94:02 bhyve`,
      [BRIDGE, DISK_FUNCTION, '3:0 virtio-net backend=faketapdev mac=52:54:00:b9:94:02'],
    ],
    [
      'base of 2014',
      '-c 1 -m 214 -H -P -s 0:0,hostbridge -s 1:0,virtio-net,faketapdev,mac=52:54:00:00:00:00 -s 2:0,ahci-hd,/tmp/freebsd.img bhyve',
      [BRIDGE, '1:0 virtio-net backend=faketapdev mac=52:54:00:00:00:00', DISK_FUNCTION],
    ],
    [
      'acpi and apic',
      `-c 1 -m 214 -A -I -u -H -P -s 0:0,hostbridge ${DISK} ${NET} bhyve`,
      [BRIDGE, DISK_FUNCTION, NET_FUNCTION],
    ],
    ['serial', `${C} ${DISK} ${NET} -s 1,lpc -l com1,/dev/nmdm0A bhyve`, [BRIDGE, LPC, DISK_FUNCTION, NET_FUNCTION]],
    [
      'cdrom',
      `${C} -s 2:0,ahci,cd:/tmp/cdrom.iso bhyve`,
      [BRIDGE, '2:0 ahci port.0.type=cd port.0.path=/tmp/cdrom.iso'],
    ],
    [
      '9p',
      `${C} ${DISK} -s 4:0,virtio-9p,shared_dir=/shared/dir,ro bhyve`,
      [BRIDGE, DISK_FUNCTION, '4:0 virtio-9p sharename=shared_dir path=/shared/dir ro=true'],
    ],
    [
      'tablet',
      `${C} -s 2:0,xhci,tablet -s 3:0,ahci-hd,/tmp/freebsd.img bhyve`,
      [BRIDGE, '2:0 xhci slot.1.device=tablet', '3:0 ahci port.0.type=hd port.0.path=/tmp/freebsd.img'],
    ],
    [
      'e1000',
      `${C} ${DISK} -s 3:0,e1000,faketapdev,mac=52:54:00:00:00:00 bhyve`,
      [BRIDGE, DISK_FUNCTION, '3:0 e1000 backend=faketapdev mac=52:54:00:00:00:00'],
    ],
    [
      'two nvme controllers',
      `${C} -s 2:0,nvme,/tmp/freebsd.img,maxq=2,qsz=256 -s 3:0,nvme,/tmp/b.img bhyve`,
      [BRIDGE, '2:0 nvme path=/tmp/freebsd.img maxq=2 qsz=256', '3:0 nvme path=/tmp/b.img'],
    ],
    [
      'passthru',
      '-c 1 -m 214 -u -S -H -P -s 0:0,hostbridge -s 7:1,passthru,3/0/4 -s 3:0,passthru,4/0/0 -s 4:0,passthru,5/2/0 bhyve',
      [
        BRIDGE,
        '3:0 passthru bus=4 slot=0 func=0',
        '4:0 passthru bus=5 slot=2 func=0',
        '7:1 passthru bus=3 slot=0 func=4',
      ],
    ],
    [
      'slirp, not in the first field',
      `${C} ${DISK} -s 3:0,e1000,mac=52:54:00:00:00:00,slirp,open bhyve`,
      [BRIDGE, DISK_FUNCTION, '3:0 e1000 backend=slirp mac=52:54:00:00:00:00 open=true'],
    ],
    [
      'sound',
      `${C} ${DISK} -s 4:0,hda,play=/dev/dsp0,rec=/dev/dsp0 bhyve`,
      [BRIDGE, DISK_FUNCTION, '4:0 hda play=/dev/dsp0 rec=/dev/dsp0'],
    ],
    ['rng', `${C} -s 4:0,virtio-rnd bhyve`, [BRIDGE, '4:0 virtio-rnd']],
    ['scsi', `${C} -s 2:0,virtio-scsi,/dev/cam/ctl bhyve`, [BRIDGE, '2:0 virtio-scsi dev=/dev/cam/ctl']],
    ...(
      [
        ['', ''],
        [',password=s3cr3t', ' password=s3cr3t'],
        [',w=1920,h=1080', ' w=1920 h=1080'],
        [',vga=off', ' vga=off'],
        [',vga=io', ' vga=io'],
        [',wait', ' wait=true'],
      ] as const
    ).map(([text, variables]): [string, string, string[]] => [
      `vnc${text}`,
      `${C} -l bootrom,/path/to/test.fd -s 4:0,fbuf,tcp=127.0.0.1:5904${text} -s 1:0,lpc bhyve`,
      [BRIDGE, LPC, `4:0 fbuf tcp=127.0.0.1:5904${variables}`],
    ]),
    [
      'guest agent',
      `${C} -s 2:0,virtio-console,org.qemu.guest_agent.0=/var/run/libvirt/bhyve/bhyve.agent bhyve`,
      [BRIDGE, '2:0 virtio-console port.0.name=org.qemu.guest_agent.0 port.0.path=/var/run/libvirt/bhyve/bhyve.agent'],
    ],
    [
      'disk serials',
      `${C} -s 2:0,ahci,hd:/tmp/freebsd1.img,nmrr=7200,ser=BHYVE-SER01-0001,hd:/tmp/freebsd2.img,nmrr=5400,ser=BHYVE-SER02-0004,hd:/tmp/freebsd3.img,nmrr=1,ser=BHYVE-SER03-1234 bhyve`,
      [
        BRIDGE,
        '2:0 ahci port.0.type=hd port.0.path=/tmp/freebsd1.img port.0.nmrr=7200 port.0.ser=BHYVE-SER01-0001 ' +
          'port.1.type=hd port.1.path=/tmp/freebsd2.img port.1.nmrr=5400 port.1.ser=BHYVE-SER02-0004 ' +
          'port.2.type=hd port.2.path=/tmp/freebsd3.img port.2.nmrr=1 port.2.ser=BHYVE-SER03-1234',
      ],
    ],
    [
      'boot order',
      `${C} -l bootrom,/t.fd,fwcfg=qemu -s 2:0,ahci,hd:/tmp/freebsd1.img,bootindex=2,hd:/tmp/freebsd2.img,bootindex=1 -s 4:0,virtio-blk,/tmp/freebsd2.img,bootindex=3 -s 1:0,lpc bhyve`,
      [
        BRIDGE,
        LPC,
        '2:0 ahci port.0.type=hd port.0.path=/tmp/freebsd1.img port.0.bootindex=2 ' +
          'port.1.type=hd port.1.path=/tmp/freebsd2.img port.1.bootindex=1',
        '4:0 virtio-blk path=/tmp/freebsd2.img bootindex=3',
      ],
    ],
  ])('%s', (_title, line, expected) => {
    expect(functionsOf(line)).toEqual(expected);
    expect(parse(line).warnings).toEqual([]);
  });

  it('four consoles', () => {
    const line = `${C} -s 1,lpc -l com1,/dev/nmdmUUIDA -l com2,tcp=127.0.0.1:12345 -l com3,tcp=0.0.0.0:54321 -l com4,/dev/nmdm0A bhyve`;
    const com = ['/dev/nmdmUUIDA', 'tcp=127.0.0.1:12345', 'tcp=0.0.0.0:54321', '/dev/nmdm0A'];
    expect(parse(line).settings.lpc.com).toEqual(com);
  });

  it('topology, memory and clock', () => {
    const { settings } = parse(`-c cpus=2,sockets=1,cores=2,threads=1 -m 214 -u -H -P -s 0:0,hostbridge ${DISK} bhyve`);
    expect(settings.topology).toEqual({ cpus: 2, sockets: 1, cores: 2, threads: 1 });
    expect(settings.memoryBytes).toBe(214 << 20);
    expect(settings.flags).toMatchObject({ rtcUseLocalTime: false, vmexitOnHlt: true, vmexitOnPause: true });
  });

  it('ignored MSRs, wired memory', () => {
    expect(parse('-c 1 -m 214 -w -u -H -P -s 0:0,hostbridge bhyve').settings.flags.strictMsr).toBe(false);
    expect(parse('-c 1 -m 214 -S -u -H -P -s 0:0,hostbridge bhyve').settings.flags.wired).toBe(true);
  });

  it('firmware and its variables', () => {
    const withFwcfg = parse(`${C} -l bootrom,/path/to/test.fd,fwcfg=qemu -s 1:0,lpc bhyve`).settings.lpc;
    expect(withFwcfg).toMatchObject({ bootrom: '/path/to/test.fd', bootvars: undefined, fwcfg: 'qemu' });
    const withVariables = parse(`${C} -l bootrom,/path/to/test.fd,/path/to/nvram/guest_VARS.fd -s 1:0,lpc bhyve`);
    expect(withVariables.settings.lpc).toMatchObject({ bootvars: '/path/to/nvram/guest_VARS.fd', fwcfg: 'bhyve' });
  });

  it('NUMA domains', () => {
    const line = `-c 8 -n id=0,size=107,cpus=0-3 -n id=1,size=107,cpus=4-7 -m 214 -u -H -P -s 0:0,hostbridge -l bootrom,fakefirmwaredir/BHYVE_UEFI.fd,fakenvramdir/bhyve_VARS.fd -s 1:0,lpc bhyve`;
    const { settings, tree } = parse(line);
    expect(settings.memoryBytes).toBe(214 << 20);
    expect(tree.get('domains.1.cpus')).toBe('4-7');
  });

  it('pinning', () => {
    const line = `-c 2 -m 214 -p 0:1 -p 0:3 -p 0:4 -p 1:0 -p 1:4 -u -H -P -s 0:0,hostbridge bhyve`;
    expect(parse(line).settings.cpusets).toEqual(['1,3,4', '0,4']);
  });

  it('SMBIOS strings', () => {
    const { tree } = parse(
      `${C} -o bios.vendor=LENOVO -o bios.version=14.1 -o bios.release_date=11/24/2025 -o system.manufacturer=Fedora ` +
        `-o system.product_name=Virt-Manager -o system.serial_number=xxx-yyy-zzz -o system.sku=0000 ` +
        `-o system.version=0.9.4 -o 'board.version=0B98401 Pro' -o 'chassis.manufacturer=Dell Inc.' bhyve`,
    );
    expect(tree.get('board.version')).toBe('0B98401 Pro');
    expect(tree.get('chassis.manufacturer')).toBe('Dell Inc.');
    expect(tree.get('bios.release_date')).toBe('11/24/2025');
  });

  it('more than 32 disks, on two controllers', () => {
    const disks = Array.from({ length: 32 }, (_, index) => `hd:/tmp/d${index}.img`).join(',');
    const functions = functionsOf(`${C} -s 2:0,ahci,${disks} -s 3:0,ahci,hd:/tmp/d32.img bhyve`);
    expect(functions[1]).toContain('port.31.path=/tmp/d31.img');
    expect(functions[2]).toBe('3:0 ahci port.0.type=hd port.0.path=/tmp/d32.img');
  });

  it('other consoles of later versions', () => {
    const { tree } = parse(
      `-c 1 -m 214 -o console=/dev/nmdm0A -s 0:0,hostbridge -s 2:0,virtio-blk,/img -s 3:0,virtio-net,t bhyve`,
    );
    expect(tree.get('console')).toBe('/dev/nmdm0A');
  });

  it('operands of its own in front of the name end in usage, as with bhyve', () => {
    expect(() => parse(`${C} ARGUMENT1 ARGUMENT2 bhyve`)).toThrow(/^Usage: bhyve /);
  });

  describe('probes', () => {
    const probe = (line: string): BhyveExit => {
      try {
        parse(line);
      } catch (error) {
        if (error instanceof BhyveExit) return error;
        throw error;
      }
      throw new Error('the probe did not end');
    };

    it('finds the UTC clock and topologies in the help', () => {
      const { stderrText, stdoutText, status } = probe('-h');
      expect(stderrText).toMatch(/^ {7}-u: /m);
      expect(stderrText).not.toContain('-c vcpus');
      expect([stdoutText, status]).toEqual(['', 0]);
    });

    it.each(['ahci', 'e1000', 'fbuf', 'xhci', 'hda', 'virtio-rnd', 'virtio-9p', 'fbuf,password='])(
      'finds the device %s',
      (device) => {
        const { stderrText, status } = probe(`-s 0,${device}`);
        expect(stderrText).not.toContain('unknown device');
        expect(stderrText).not.toContain('Invalid fbuf emulation');
        expect(status).toBe(1);
      },
    );

    it('finds that boot ROMs are supported', () => {
      expect(probe('-l bootrom').stderrText).not.toContain("invalid lpc device configuration 'bootrom'");
    });
  });
});

describe('vm-bhyve and other clients', () => {
  it.each<[string, string, string[]]>([
    [
      'a cluster with an argument',
      '-c 2 -m 2G -Hwl bootrom,/usr/local/share/uefi-firmware/BHYVE_UEFI.fd -U b34ee350-051a-11e9-b6db-000bab896163 -u -s 0,hostbridge -s 31,lpc -s 4:0,ahci-hd,/vms/winguest/disk0.img -s 5:0,e1000,tap0,mac=58:9c:fc:04:b5:89 -s 6:0,fbuf,tcp=192.168.8.1:5901,w=1600,h=900,wait -s 7:0,xhci,tablet -l com1,/dev/nmdm-winguest.1A -s 3:0,ahci-cd,/vms/.iso/2019.iso winguest',
      [
        '0:0 hostbridge',
        '3:0 ahci port.0.type=cd port.0.path=/vms/.iso/2019.iso',
        '4:0 ahci port.0.type=hd port.0.path=/vms/winguest/disk0.img',
        '5:0 e1000 backend=tap0 mac=58:9c:fc:04:b5:89',
        '6:0 fbuf tcp=192.168.8.1:5901 w=1600 h=900 wait=true',
        '7:0 xhci slot.1.device=tablet',
        '31:0 lpc',
      ],
    ],
    [
      'sixteen vCPUs',
      '-c 16 -m 16G -AHPw -l bootrom,/usr/local/share/uefi-firmware/BHYVE_UEFI.fd -U 87dd1da9-516c-4111-a1bb-57a61bd63c90 -u -s 0,hostbridge -s 31,lpc -s 4:0,virtio-blk,/usr/local/bhyve/rpdev/disk0.img -s 5:0,ahci-cd,/usr/local/bhyve/rpdev/seed.iso -s 6:0,virtio-net,tap0,mac=58:9c:fc:03:86:69 -l com1,/dev/nmdm-rpdev.1A rpdev',
      [
        '0:0 hostbridge',
        '4:0 virtio-blk path=/usr/local/bhyve/rpdev/disk0.img',
        '5:0 ahci port.0.type=cd port.0.path=/usr/local/bhyve/rpdev/seed.iso',
        '6:0 virtio-net backend=tap0 mac=58:9c:fc:03:86:69',
        '31:0 lpc',
      ],
    ],
    [
      'sound and display',
      '-S -c sockets=1,cores=2,threads=2 -m 4G -w -H -A -s 0,hostbridge -s 1,ahci-hd,/dev/nvd0 -s 2,virtio-blk,/dev/da4p2 -s 8,virtio-net,tap4 -s 10,hda,play=/dev/dsp,rec=/dev/dsp -s 29,fbuf,tcp=0.0.0.0:5904,w=1440,h=900 -s 30,xhci,tablet -s 31,lpc -l bootrom,/usr/local/share/uefi-firmware/BHYVE_BHF_CODE.fd vm4',
      [
        '0:0 hostbridge',
        '1:0 ahci port.0.type=hd port.0.path=/dev/nvd0',
        '2:0 virtio-blk path=/dev/da4p2',
        '8:0 virtio-net backend=tap4',
        '10:0 hda play=/dev/dsp rec=/dev/dsp',
        '29:0 fbuf tcp=0.0.0.0:5904 w=1440 h=900',
        '30:0 xhci slot.1.device=tablet',
        '31:0 lpc',
      ],
    ],
    [
      'shares',
      '-A -s 0,hostbridge -s 15,virtio-9p,sharename=/storage/movies -s 5:0,virtio-9p,other=/path,ro vm',
      [
        '0:0 hostbridge',
        '5:0 virtio-9p sharename=other path=/path ro=true',
        '15:0 virtio-9p sharename=sharename path=/storage/movies',
      ],
    ],
    [
      'passed-through functions',
      '-S -s 6,passthru,4/0/0 -s 8:0,passthru,2/0/0 -s 8:3,passthru,2/0/3 vm',
      ['6:0 passthru bus=4 slot=0 func=0', '8:0 passthru bus=2 slot=0 func=0', '8:3 passthru bus=2 slot=0 func=3'],
    ],
    ['a second bus', '-Y -s 0,hostbridge -s 1:0:0,virtio-rnd vm', ['0:0 hostbridge', '1:0:0 virtio-rnd']],
    [
      'entropy, sound, console',
      '-s 9:0,virtio-rnd -s 10:0,hda,play=/dev/dsp0 -s 11:0,virtio-console,agent=/vm/x/vtcon.agent vm',
      [
        '9:0 virtio-rnd',
        '10:0 hda play=/dev/dsp0',
        '11:0 virtio-console port.0.name=agent port.0.path=/vm/x/vtcon.agent',
      ],
    ],
    [
      'xhyve, with a kernel',
      "-A -m 1G -s 0:0,hostbridge -s 31,lpc -l com1,stdio -s 2:0,virtio-net -f 'kexec,vmlinuz,initrd.gz,earlyprintk=serial console=ttyS0' vm",
      ['0:0 hostbridge', '2:0 virtio-net', '31:0 lpc'],
    ],
    [
      'vmrun.sh with the debug port of its time',
      '-c 2 -m 512M -a -A -H -P -g 0 -s 0:0,hostbridge -s 1:0,lpc -s 2:0,virtio-net,tap0 -s 3:0,virtio-blk,./diskdev -l com1,stdio -s 31:0,ahci-cd,./release.iso vm',
      [
        '0:0 hostbridge',
        '1:0 lpc',
        '2:0 virtio-net backend=tap0',
        '3:0 virtio-blk path=./diskdev',
        '31:0 ahci port.0.type=cd port.0.path=./release.iso',
      ],
    ],
  ])('%s', (_title, line, expected) => {
    expect(functionsOf(line)).toEqual(expected);
    expect(parse(line).warnings).toEqual([]);
  });

  it('-p com1,stdio for -l com1,stdio, which many have copied, ends with the status of a usage error', () => {
    expect(() => parse('-p com1,stdio -s 31,lpc vm')).toThrow("invalid vcpu pinning configuration 'com1,stdio'");
  });

  it('the count before the topology', () => {
    expect(parse('-c 1,sockets=1,cores=1 vm').settings.topology.cpus).toBe(1);
    expect(
      parse('-A -H -w -c 1 -m 512 -s 0:0,hostbridge -s 31,lpc -l com1,/dev/nmdm14A -l bootrom,/x.fd vm').settings,
    ).toMatchObject({
      memoryBytes: 512 << 20,
      flags: { acpiTables: true },
    });
  });

  it('code and variables of the firmware', () => {
    const line =
      '-l bootrom,/usr/local/share/uefi-firmware/BHYVE_UEFI_CODE.fd,/path/to/guest/BHYVE_UEFI_VARS.fd -s 31,lpc vm';
    expect(parse(line).settings.lpc.bootvars).toBe('/path/to/guest/BHYVE_UEFI_VARS.fd');
  });
});

describe('examples of the manual', () => {
  it.each<[string, number]>([
    ['-c 2 -s 0,hostbridge -s 1,lpc -s 2,virtio-blk,/my/image -l com1,stdio -A -H -P -m 1G vm1', 3],
    [
      '-s 0,hostbridge -s 1,lpc -s 2:0,virtio-net,tap0 -s 2:1,virtio-net,tap1 -s 2:2,virtio-net,tap2,mac=00:be:fa:76:45:00 -s 3,virtio-blk,/my/image -l com1,stdio -A -H -P -m 24G bigvm',
      6,
    ],
    [
      '-c 2 -m 4G -w -H -s 0,hostbridge -s 3,ahci-cd,/path/to/uefi-OS-install.iso -s 4,ahci-hd,disk.img -s 5,virtio-net,tap0 -s 29,fbuf,tcp=0.0.0.0:5900,w=800,h=600,wait -s 30,xhci,tablet -s 31,lpc -l com1,stdio -l bootrom,/usr/local/share/uefi-firmware/BHYVE_UEFI.fd uefivm',
      7,
    ],
    [
      '-c 2 -m 4G -w -H -s 0,hostbridge -s 4,ahci-hd,disk.img -s 5,virtio-net,tap0 -s 29,fbuf,tcp=[::]:5900,w=800,h=600 -s 30,xhci,tablet -s 31,lpc -l com1,stdio -l bootrom,/usr/local/share/uefi-firmware/BHYVE_UEFI.fd uefivm',
      6,
    ],
  ])('%s', (line, count) => {
    expect(functionsOf(line)).toHaveLength(count);
    expect(parse(line).warnings).toEqual([]);
  });

  it('its eight disks take the slot of the lpc bridge, which bhyve refuses', () => {
    const line =
      '-c 4 -s 0,amd_hostbridge -s 1,lpc -s 1:0,ahci,hd:/images/disk.1,cd:/images/install.iso ' +
      '-s 3,virtio-net,tap0 -l com1,/dev/nmdm0A -A -H -P -m 8G';
    expect(() => parse(line)).toThrow('pci slot 0:1:0 already occupied!');
  });
});
