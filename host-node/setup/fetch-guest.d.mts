/** A kernel and an initramfs on this machine's disk. */
export interface Guest {
  readonly kernel: string;
  readonly initrd: string;
  /** Release of the kernel; undefined for one that the user named. */
  readonly release: string | undefined;
  /** Modules that /init loads. */
  readonly modules: readonly string[];
}

/** Directory of the cache: .cache/guests, or below WEBHYVE_CACHE. */
export function cacheDirectory(): string;

/** See fetch-guest.mjs. Rejects with a one-sentence message. */
export function fetchGuest(options?: {
  offline?: boolean;
  variant?: 'small' | 'generic' | 'i386' | 'i386-pae';
}): Promise<Guest>;
