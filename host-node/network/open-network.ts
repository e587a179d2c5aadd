/** Opens what a network card's `backend` names on this host. */
import WebSocket from 'ws';
import type { NetworkBackend, NetworkSettings } from '../../devices/backends/network.ts';
import { networkBackendKind } from '../../devices/config/network-backend.ts';
import { natSettings } from '../../devices/net/nat/options.ts';
import { UserNetwork } from '../../devices/net/nat/network.ts';
import { WebSocketBackend, type FrameSocket } from '../../devices/net/websocket-backend.ts';
import { createNodeNatHost } from './nat-host.ts';
import { SocketBackend } from './socket-backend.ts';
import { TapBackend } from './tap-backend.ts';

async function openSlirp(settings: NetworkSettings): Promise<NetworkBackend> {
  const network = new UserNetwork(createNodeNatHost({ tftpFolder: settings.tftp }), natSettings(settings));
  try {
    await network.startForwards();
  } catch (error) {
    await network.close();
    throw error;
  }
  return network;
}

function openWebSocket(url: string): NetworkBackend {
  return new WebSocketBackend(
    {
      connect: (address) => new WebSocket(address, { perMessageDeflate: false }) as unknown as FrameSocket,
      after: (delayMs, callback) => {
        const timer = setTimeout(callback, delayMs);
        timer.unref();
        return () => clearTimeout(timer);
      },
    },
    url,
  );
}

/** Rejects with a sentence for the user. */
export async function openNetwork(settings: NetworkSettings): Promise<NetworkBackend> {
  const { backend, type } = settings;
  switch (networkBackendKind(backend, type)) {
    case 'tap':
    case 'vmnet':
      return TapBackend.open(backend);
    case 'slirp':
      return openSlirp(settings);
    case 'socket':
      return SocketBackend.open(settings.socket ?? '');
    case 'ws':
      return openWebSocket(settings.ws ?? '');
    case 'netgraph':
      throw new Error('netgraph: its nodes exist on FreeBSD only; socket=NAME joins machines on this host');
    case 'netmap':
    case 'vale':
      throw new Error(`${backend}: netmap needs FreeBSD's driver; socket=NAME joins machines on this host`);
    case 'channel':
    case 'fetch':
      throw new Error(`${backend}: this backend is for browsers; slirp and socket=NAME are those of this host`);
    default:
      throw new Error(`unknown network backend "${backend}"`);
  }
}
