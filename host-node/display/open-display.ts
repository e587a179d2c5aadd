/** The display backend of Node: an RFB server on sockets and, on request, in a web page. */
import { randomFillSync } from 'node:crypto';
import type { Server } from 'node:net';
import type { DisplayBackend, DisplaySettings, RfbAddress } from '../../devices/backends/display.ts';
import type { Display } from '../../devices/display/display.ts';
import { RfbServer } from '../../devices/display/rfb/server.ts';
import { viewerScript } from '../assets.ts';
import { createDeflater } from './deflater.ts';
import { desEncrypt } from './des.ts';
import { listenRfb, serveSockets } from './rfb-sockets.ts';
import { serveWeb, type RfbWeb } from './rfb-web.ts';

class RfbDisplay implements DisplayBackend {
  readonly firstViewer: Promise<void>;
  #viewerCame: () => void = () => {};
  #rfb: RfbServer | undefined;

  constructor(
    private readonly settings: DisplaySettings,
    private readonly listener: Server,
    private readonly message: (text: string) => void,
    private web: RfbWeb | undefined,
  ) {
    this.firstViewer = new Promise((resolve) => {
      this.#viewerCame = resolve;
    });
  }

  get rfb(): RfbServer {
    if (!this.#rfb) throw new Error('there is no display yet');
    return this.#rfb;
  }

  set page(web: RfbWeb) {
    this.web = web;
  }

  show(display: Display): void {
    const { password, viewers } = this.settings;
    const random = (into: Uint8Array<ArrayBuffer>): unknown => randomFillSync(into);
    this.#rfb = new RfbServer(display, {
      maxViewers: viewers,
      deflater: createDeflater,
      authentication: password === undefined ? undefined : { password, des: desEncrypt, random },
      log: this.message,
    });
    void this.#rfb.firstViewer.then(this.#viewerCame);
    serveSockets(this.listener, this.#rfb);
  }

  async close(): Promise<void> {
    this.#rfb?.close();
    await this.web?.close();
    await new Promise<void>((resolve) => this.listener.close(() => resolve()));
  }
}

function failure(address: RfbAddress, cause: unknown): Error {
  const where = address.kind === 'unix' ? address.path : `${address.host}:${address.port}`;
  return new Error(`fbuf: cannot listen at ${where}`, { cause });
}

/** Listens for viewers. Rejects with a message for the user when it cannot. */
export async function openDisplay(settings: DisplaySettings, message: (text: string) => void): Promise<DisplayBackend> {
  const listener = await listenRfb(settings.rfb).catch((error: unknown) => {
    throw failure(settings.rfb, error);
  });
  const display = new RfbDisplay(settings, listener, message, undefined);
  const { web } = settings;
  if (web) {
    try {
      const page = await serveWeb(web, () => display.rfb, viewerScript());
      display.page = page;
      message(`fbuf: the display is at ${page.url}`);
    } catch (error) {
      await display.close();
      throw failure(web, error);
    }
  }
  return display;
}
