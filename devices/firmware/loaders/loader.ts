/** Direct kernel boot: picks the protocol by the file's content. */
import { LoaderError, type BootImage, type BootRequest } from './boot-image.ts';
import { isElf } from './elf.ts';
import { loadFreebsd } from './freebsd.ts';
import { isFreebsdKernel } from './freebsd-elf.ts';
import { hasLinuxEntry64, isLinuxImage, isRealModeImage, loadLinux } from './linux.ts';
import { loadLinuxRealMode } from './linux-real-mode.ts';
import { isMultiboot, loadMultiboot } from './multiboot.ts';
import { loadPvh } from './pvh.ts';

/** Values of the configuration variable `loader.protocol`. */
export const LOADER_PROTOCOLS = ['auto', 'linux64', 'linux32', 'linux16', 'multiboot', 'pvh', 'freebsd'] as const;
export type LoaderProtocol = (typeof LOADER_PROTOCOLS)[number];

export function isLoaderProtocol(text: string): text is LoaderProtocol {
  return (LOADER_PROTOCOLS as readonly string[]).includes(text);
}

/**
 * The protocol that `auto` takes for a file. A Linux image wins, since its first 8 KiB may hold a multiboot header as
 * well (memtest86+); multiboot wins over PVH, since a kernel with both (Xen) expects module strings.
 */
export function detectProtocol(kernel: Uint8Array): Exclude<LoaderProtocol, 'auto'> {
  if (isRealModeImage(kernel)) return 'linux16';
  if (isLinuxImage(kernel)) return hasLinuxEntry64(kernel) ? 'linux64' : 'linux32';
  if (isMultiboot(kernel)) return 'multiboot';
  if (isFreebsdKernel(kernel)) return 'freebsd';
  // An ELF file that is damaged or has no PVH note gets its precise error from the PVH loader.
  if (isElf(kernel)) return 'pvh';
  if (kernel.length === 0) throw new LoaderError('The kernel file is empty.');
  throw new LoaderError('The kernel file is neither a Linux bzImage, nor a multiboot kernel, nor an ELF file.');
}

/** Turns a kernel file into what the machine writes before its first instruction. Throws only {@link LoaderError}. */
export function loadKernel(request: BootRequest, protocol: LoaderProtocol = 'auto'): BootImage {
  const chosen = protocol === 'auto' ? detectProtocol(request.kernel) : protocol;
  switch (chosen) {
    case 'linux64':
    case 'linux32':
      return loadLinux(request, chosen);
    case 'linux16':
      return loadLinuxRealMode(request);
    case 'multiboot':
      return loadMultiboot(request);
    case 'pvh':
      return loadPvh(request);
    case 'freebsd':
      return loadFreebsd(request);
  }
}
