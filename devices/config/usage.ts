/** The text of `-h` and of every usage error. libvirt looks for `-u:` in it. */

const SYNOPSIS = [
  '[-AaCDeHhPSuWwxY]',
  '[-c [[cpus=]numcpus][,sockets=n][,cores=n][,threads=n]]',
  '[-f loader] [-G port] [-k config_file] [-l lpc] [-m mem] [-o var=value]',
  '[-p vcpu:hostcpu] [-r file] [-s pci] [-U uuid] vmname',
];

/** bhyve(8)'s options; `-f` is the one that it has only in later versions and in xhyve. */
export const COMMAND_LINE_OPTIONS: readonly (readonly [option: string, help: string])[] = [
  ['A', 'create ACPI tables'],
  ['a', 'local apic is in xAPIC mode (deprecated)'],
  ['C', 'include guest memory in core file'],
  ['c', 'number of CPUs and/or topology specification'],
  ['D', 'destroy on power-off'],
  ['e', 'exit on unhandled I/O access'],
  ['f', 'kernel to boot: kexec,KERNEL[,INITRD[,CMDLINE]] or multiboot,KERNEL[,MODULE[,CMDLINE]]'],
  ['G', 'start a debug server'],
  ['H', 'vmexit from the guest on HLT'],
  ['h', 'help'],
  ['K', 'PS2 keyboard layout'],
  ['k', 'key=value flat config file'],
  ['l', 'LPC device configuration'],
  ['m', 'memory size in MB'],
  ['o', "set config 'var' to 'value'"],
  ['P', 'vmexit from the guest on pause'],
  ['p', "pin 'vcpu' to 'hostcpu'"],
  ['r', 'path to checkpoint file'],
  ['S', 'guest memory cannot be swapped'],
  ['s', '<slot,driver,configinfo> PCI slot config'],
  ['U', 'UUID'],
  ['u', 'RTC keeps UTC time'],
  ['W', 'force virtio to use single-vector MSI'],
  ['w', 'ignore unimplemented MSRs'],
  ['x', 'local APIC is in x2APIC mode'],
  ['Y', 'disable MPtable generation'],
];

/** The usage text for a program of this name. */
export function usageText(programName: string): string {
  const [first, ...others] = SYNOPSIS;
  const indent = ' '.repeat('Usage: '.length + programName.length + 1);
  const lines = [`Usage: ${programName} ${first}`, ...others.map((part) => indent + part)];
  for (const [option, help] of COMMAND_LINE_OPTIONS) lines.push(`       -${option}: ${help}`);
  return `${lines.join('\n')}\n`;
}
