/**
 * nmdm(4), FreeBSD's null-modem pairs, where the host has none: `/dev/nmdmNA` and `/dev/nmdmNB` are the two ends of a cable.
 *
 * Each end has a UNIX socket `nmdmNA` or `nmdmNB` in a folder of the user's own: whoever connects there _is_ that end. A machine at
 * end A offers the socket of end B. A machine at end B connects to that socket when it is there and offers the socket of end A
 * meanwhile; so either machine may come first, go, and come again, and a program (`socat`) may take the place of one.
 */
import { join } from 'node:path';
import type { CharacterBackend } from '../../devices/backends/character.ts';
import { openRuntimeDir } from '../registry/runtime-dir.ts';
import { LinkBackend } from './link.ts';
import { ClientDoor, Dialer, dialUnix, listenAtPath, socketEnd } from './socket.ts';

const NMDM_PATH = /^\/dev\/nmdm([^/]{1,80})([AB])$/;

export interface NmdmName {
  readonly pair: string;
  readonly end: 'A' | 'B';
}

/** The parts of a null modem's path; undefined for any other path. */
export function parseNmdm(path: string): NmdmName | undefined {
  const match = NMDM_PATH.exec(path);
  if (match?.[1] === undefined) return undefined;
  return { pair: match[1], end: match[2] === 'A' ? 'A' : 'B' };
}

/** Plugs into one end of a pair. Rejects when another machine has that end. */
export async function openNmdm(name: NmdmName, directory?: string): Promise<CharacterBackend> {
  const folder = directory ?? openRuntimeDir().path;
  const socketOf = (end: 'A' | 'B'): string => join(folder, `nmdm${name.pair}${end}`);
  const other = name.end === 'A' ? 'B' : 'A';
  const server = await listenAtPath(socketOf(other)).catch((error: unknown) => {
    const inUse = error instanceof Error && 'code' in error && error.code === 'EADDRINUSE';
    throw inUse ? new Error(`/dev/nmdm${name.pair}${name.end} is in use`) : error;
  });
  const link: LinkBackend = new LinkBackend(
    () => {
      door.next();
      dialer?.later();
    },
    async () => {
      dialer?.stop();
      await door.close();
    },
  );
  const door = new ClientDoor(server, link, true);
  const dialer =
    name.end === 'B'
      ? new Dialer(link, async () => {
          const socket = await dialUnix(socketOf('B'));
          return socket ? socketEnd(socket, true) : undefined;
        })
      : undefined;
  await dialer?.start();
  return link;
}
