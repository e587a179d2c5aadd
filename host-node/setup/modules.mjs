/** Which kernel modules a guest needs, and in which order: read from the modules themselves, since packages ship no index. */
import { basename } from 'node:path';
import { decompress } from './deb.mjs';

/** Drivers of the devices that a Linux guest finds here; what a kernel has built in is not among its modules. */
export const WANTED_MODULES = [
  ...['virtio_pci', 'virtio_blk', 'virtio_rng', 'virtio_net', 'virtio_console'],
  // The sockets of DHCP clients.
  'af_packet',
  // The power button, and the event device from which acpid hears of it.
  ...['button', 'evdev'],
];

/** Drivers besides those, for the kernel that has all: the other disk controllers, disks and CDs, their file systems. */
export const GENERIC_MODULES = [
  ...['crc32c_generic', 'ext4', 'ahci', 'nvme', 'virtio_scsi', 'sd_mod', 'sr_mod', 'sg', 'isofs', 'loop'],
  // The other network card.
  'e1000',
  // Shared folders.
  ...['9p', '9pnet_virtio'],
];

/** Name as the kernel knows it: modprobe(8) takes "-" and "_" for the same. */
const moduleName = (path) =>
  basename(path)
    .replace(/\.ko(\.\w+)?$/, '')
    .replaceAll('-', '_');

/** The modules named in the `depends=` of a module's .modinfo section. */
export function moduleDependencies(bytes) {
  const start = bytes.indexOf('\0depends=');
  if (start === -1) return [];
  const end = bytes.indexOf(0, start + 1);
  const list = bytes.toString('latin1', start + '\0depends='.length, end);
  return list
    .split(',')
    .filter((name) => name !== '')
    .map((name) => name.replaceAll('-', '_'));
}

/**
 * Picks modules and all that they depend on out of a package's files (path to bytes). Returns [name, bytes] in the order
 * in which they must be loaded, decompressed. Wanted names that the kernel does not have as modules are left out.
 */
export function selectModules(files, wanted = WANTED_MODULES) {
  const available = new Map();
  for (const [path, bytes] of files) if (/\.ko(\.\w+)?$/.test(path)) available.set(moduleName(path), [path, bytes]);
  const selected = new Map();
  const visit = (name) => {
    const found = available.get(name);
    if (!found || selected.has(name)) return;
    const bytes = decompress(...found);
    // Reserves the name first, so that a circle of dependencies ends.
    selected.set(name, undefined);
    for (const dependency of moduleDependencies(bytes)) visit(dependency);
    selected.delete(name);
    selected.set(name, bytes);
  };
  for (const name of wanted) visit(name);
  return [...selected];
}
