/** Network cards' backends of a browser: a relay, a network between tabs, and plain HTTP by fetch(). None needs a server of ours. */
import type { NetworkBackend, NetworkSettings } from '../../devices/backends/network.ts';
import { networkBackendKind } from '../../devices/config/network-backend.ts';
import { ChannelBackend, channelName, type FrameChannel } from '../../devices/net/channel-backend.ts';
import { natSettings } from '../../devices/net/nat/options.ts';
import { UserNetwork } from '../../devices/net/nat/network.ts';
import { WebSocketBackend, type FrameSocket } from '../../devices/net/websocket-backend.ts';
import { createFetchNatHost, FETCH_PREFIX } from './fetch-network.ts';

function after(delayMs: number, callback: () => void): () => void {
  const timer = setTimeout(callback, delayMs);
  return () => clearTimeout(timer);
}

/** Rejects with a sentence for the user. */
export function openBrowserNetwork(settings: NetworkSettings): Promise<NetworkBackend> {
  const { backend, type } = settings;
  switch (networkBackendKind(backend, type)) {
    case 'ws': {
      const connect = (url: string): FrameSocket => new WebSocket(url) as unknown as FrameSocket;
      return Promise.resolve(new WebSocketBackend({ connect, after }, settings.ws ?? ''));
    }
    case 'channel': {
      const channel = new BroadcastChannel(channelName(settings.channel ?? ''));
      return Promise.resolve(new ChannelBackend(channel as unknown as FrameChannel));
    }
    case 'fetch': {
      const nat = natSettings(settings);
      const policy = { open: false, allowed: [...nat.policy.allowed, FETCH_PREFIX] };
      return Promise.resolve(new UserNetwork(createFetchNatHost(after), { ...nat, policy, forwards: [] }));
    }
    default:
      return Promise.reject(new Error(`${backend}: a page has no such backend; it has ws=URL, channel=NAME and fetch`));
  }
}
