/** Backends that Node has for every machine, by kind. Those of one machine alone (its terminal) are given to it by the program. */
import type { BackendOpeners } from '../devices/backends/kinds.ts';
import { openAudio } from './audio/open-audio.ts';
import { openNetwork } from './network/open-network.ts';
import { Swtpm } from './swtpm.ts';
import { FolderShare } from './share/folder.ts';

export const nodeBackends: BackendOpeners = {
  audio: openAudio,
  network: (settings) => openNetwork(settings),
  tpm: ({ path }) => Swtpm.open(path),
  share: ({ path }) => new Promise((resolve) => resolve(FolderShare.open(path))),
};
