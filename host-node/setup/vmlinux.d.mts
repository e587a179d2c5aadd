/** The ELF kernel in a bzImage. Throws SetupError. */
export function uncompressedKernel(bzImage: Buffer): Buffer;
