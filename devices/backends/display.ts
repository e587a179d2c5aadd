/** What shows a display to a user: an RFB server, a canvas, a test. */
import type { Display } from '../display/display.ts';

/** Where an RFB server listens. */
export type RfbAddress =
  /** `host` is a name or an address without brackets, with `%zone` where it has one. */
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }
  | { readonly kind: 'unix'; readonly path: string };

/** How a display is to be shown: the options of fbuf. A host without sockets leaves out what it cannot do. */
export interface DisplaySettings {
  readonly rfb: RfbAddress;
  /** Where a page with a viewer is served as well. */
  readonly web: RfbAddress | undefined;
  readonly password: string | undefined;
  /** Viewers at a time. */
  readonly viewers: number;
}

export interface DisplayBackend {
  /** Shows the display, from now until {@link close}. Called once, before the machine starts. */
  show(display: Display): void;
  /** Resolves when a user sees the display for the first time. */
  readonly firstViewer: Promise<void>;
  close(): Promise<void>;
}
