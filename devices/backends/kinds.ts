/**
 * The kinds of backends: for each kind the interface that devices use, and the settings by which a host opens one. A new kind is a file
 * in this folder and a line in each of the two interfaces below; hosts offer openers for the kinds they have.
 */
import type { AudioBackend, AudioSettings } from './audio.ts';
import type { BlockBackend, BlockSettings } from './block.ts';
import type { CharacterAddress, CharacterBackend } from './character.ts';
import type { DisplayBackend, DisplaySettings } from './display.ts';
import type { ShareBackend, ShareSettings } from './share.ts';
import type { NetworkBackend, NetworkSettings } from './network.ts';
import type { TpmBackend, TpmSettings } from './tpm.ts';

export interface Backends {
  readonly audio: AudioBackend;
  readonly block: BlockBackend;
  readonly character: CharacterBackend;
  readonly display: DisplayBackend;
  readonly share: ShareBackend;
  readonly network: NetworkBackend;
  readonly tpm: TpmBackend;
}

export interface BackendSettings {
  readonly audio: AudioSettings;
  readonly block: BlockSettings;
  readonly character: CharacterAddress;
  readonly display: DisplaySettings;
  readonly share: ShareSettings;
  readonly network: NetworkSettings;
  readonly tpm: TpmSettings;
}

export type BackendKind = keyof Backends;

/** Opens a backend. Rejects with a message for the user. Undefined: there is deliberately nothing at the far end. */
export type BackendOpener<K extends BackendKind> = (settings: BackendSettings[K]) => Promise<Backends[K] | undefined>;

/** What a host can open. */
export type BackendOpeners = { readonly [K in BackendKind]?: BackendOpener<K> | undefined };

/** The host has no backends of a kind at all. */
export class NoBackendError extends Error {
  override readonly name = 'NoBackendError';
  constructor(readonly kind: BackendKind) {
    super(`nothing here opens ${kind} backends`);
  }
}

/** Opens a backend with the opener that the host has for its kind; rejects with {@link NoBackendError} when it has none. */
export async function openBackend<K extends BackendKind>(
  openers: BackendOpeners,
  kind: K,
  settings: BackendSettings[K],
): Promise<Backends[K] | undefined> {
  const opener: BackendOpener<K> | undefined = openers[kind];
  if (!opener) throw new NoBackendError(kind);
  return opener(settings);
}
