/** Mutated bhyve(8) command lines: what people really write, with everything that can go wrong in it. */
import { PCI_DEVICES } from '../../devices/config/index.ts';
import type { FakeRandom } from './fake-random.ts';

/** Lines of libvirt, vm-bhyve, the manual and xhyve, and one for every option that they leave out. Paths are relative. */
const LINES = [
  '-c 1 -m 214 -u -H -P -s 0:0,hostbridge -s 2:0,ahci,hd:a.img -s 3:0,virtio-net,tap0,mac=52:54:00:b9:94:02 vm',
  '-c cpus=2,sockets=1,cores=2,threads=1 -m 214 -w -u -H -P -s 0:0,hostbridge -s 4:0,virtio-9p,shared=dir,ro vm',
  '-c 8 -n id=0,size=107,cpus=0-3 -n id=1,size=107,cpus=4-7 -m 214 -S -s 1,lpc -l com1,tcp=127.0.0.1:0 vm',
  '-c 2 -m 2G -Hwl bootrom,rom.fd,vars.fd,fwcfg=qemu -U b34ee350-051a-11e9-b6db-000bab896163 -s 31,lpc vm',
  '-c 2 -p 0:1 -p 0:3 -p 1:0 -AHP -s 0,amd_hostbridge -s 6:0,fbuf,tcp=[::1]:5901,w=1600,h=900,vga=off,wait vm',
  '-s 7:0,xhci,tablet -s 3:0,ahci-cd,a.iso -s 10,hda,play=dsp,rec=dsp -s 9:0,virtio-rnd -s 7:1,passthru,3/0/4 vm',
  '-s 2:0,nvme,a.img,maxq=2,qsz=256,dsm=auto -s 3,nvme,ram=64,ser=x -s 4:0,virtio-scsi,ctl,iid=3 -Y -x -a -C -D -e vm',
  '-s 2:0,ahci,hd:a.img,nmrr=1,ser=S,hd:b.img,bootindex=1,cd:c.iso -s 5,virtio-console,a=a.sock,b=b.sock -s 6,uart,tty vm',
  '-s 3:0,e1000,mac=52:54:00:00:00:00,slirp,open,hostfwd=tcp::1-:2 -s 1:0:0,virtio-input,event0 -s 12,dummy -W -I -M vm',
  '-A -m 1G -s 0,hostbridge,pcireg.vendor=1234 -s 3,virtio-blk,a.img,ro,sectorsize=512/4096,nocache,direct,nodelete vm',
  '-f kexec,vmlinuz,initrd.gz,console=ttyS0,115200 -f opt/x,string=y -f name=opt/z,file=f -l pc-testdev -l tpm,swtpm,s vm',
  '-k vm.conf -o memory.size=%(size)M -o size=64 -o x86.strictmsr=off -o pci.0.3.0.ro=true -o config.dump=0 -K de -g 0 vm',
  '-G w127.0.0.1:1234 -r snapshot -o loader.protocol=linux64 -o cpu.model=v1 -o cpu.features=-avx,+aes -o name=x',
  '-f multiboot,kernel,module,words -o acpi_tables=yes -o vcpu.0.cpuset=0,2-4 -o domains.0.size=1G -o lpc.com2.path=x vm',
].map((line) => line.split(' '));

const PIECES = [
  ...PCI_DEVICES.map(({ name }) => name),
  ...['hd:', 'cd:', 'img', 'path', 'ro', 'ram=', 'port.0', 'slot', 'tablet', 'name', 'lpc', 'com1', 'bootrom', 'help'],
  ...[
    'pci.0.3.0',
    'device',
    'memory.size',
    'cpus',
    'domains.0',
    'true',
    'stdio',
    'tcp=',
    'kexec',
    'string=',
    '-s',
    '-l',
  ],
  ...['%(name)', '%(', '%', '\\', '=', ',', ',', ':', '.', '-', '--', '0', '1', '3', '31', '32', '0x10', '010', '-1'],
  ...['99999999999999999999', 'G', '', ' ', '\n', '\r', '\t', 'é', '\u{1f600}', '__proto__', 'constructor', 'toString'],
] as const;
const OPTION_LETTERS = 'AaCcDeGgHhIKkfLlMmnoPprSsUuWwxYz:';

/** One command line, the words after the program's name. No word holds a NUL, which no program can be given. */
export function mutatedCommandLine(random: FakeRandom): string[] {
  const at = <T>(items: readonly T[]): T => items[random.below(items.length)] as T;
  const letter = (): string => OPTION_LETTERS[random.below(OPTION_LETTERS.length)] ?? 'A';
  const words = [...at(LINES)];
  for (let left = random.below(5); left > 0; left--) {
    const index = random.below(words.length);
    const word = words[index] ?? '';
    const cut = random.below(word.length + 1);
    switch (random.below(9)) {
      case 0:
        words.splice(index, 1);
        break;
      case 1:
        words.splice(index, 0, at(at(LINES)));
        break;
      case 2:
        words.splice(index, 0, ...at(LINES).slice(0, 2 * random.below(6)));
        break;
      case 3:
        words[index] = word.slice(0, cut) + at(PIECES) + word.slice(cut);
        break;
      case 4:
        words[index] = word.slice(0, cut) + word.slice(cut + 1 + random.below(3));
        break;
      case 5: {
        // A field of a comma list by another line's.
        const fields = word.split(',');
        fields[random.below(fields.length)] = at(at(at(LINES)).split(','));
        words[index] = fields.join(',');
        break;
      }
      case 6:
        words[index] = word.replace(/\d+/, String(random.below(2) ? random.nasty() : -random.below(300)));
        break;
      case 7:
        words.splice(index, 0, `-${letter()}${letter()}`, at(PIECES));
        break;
      default:
        words[index] = Array.from({ length: random.below(8) }, () => at(PIECES)).join('');
    }
  }
  return words;
}

/** What no output of a program shows when everything in it was meant. */
export const UNINTENDED = /undefined|\[object|NaN|\n\s+at \S+ |node:internal|Infinity|TypeError|RangeError/;
