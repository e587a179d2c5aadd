/** A network backend whose traffic is counted for the page's status line: bytes of frames, both ways. */
import type { NetworkBackend, NetworkFrame, NetworkPort } from '../../devices/backends/network.ts';

function frameLength({ parts }: NetworkFrame): number {
  return parts.reduce((sum, part) => sum + part.length, 0);
}

export class CountedNetwork implements NetworkBackend {
  sentBytes = 0;
  receivedBytes = 0;

  constructor(private readonly network: NetworkBackend) {}

  get offload(): NetworkBackend['offload'] {
    return this.network.offload;
  }

  open(port: NetworkPort): void {
    this.network.open({
      get offload() {
        return port.offload;
      },
      receive: (frame) => {
        const taken = port.receive(frame);
        if (taken) this.receivedBytes += frameLength(frame);
        return taken;
      },
      drained: () => port.drained(),
      linkChanged: (up) => port.linkChanged(up),
    });
  }

  send(frame: NetworkFrame): boolean {
    const taken = this.network.send(frame);
    if (taken) this.sentBytes += frameLength(frame);
    return taken;
  }

  receiveReady(): void {
    this.network.receiveReady();
  }

  counters(): Readonly<Record<string, number>> {
    return this.network.counters();
  }

  close(): Promise<void> {
    return this.network.close();
  }
}
