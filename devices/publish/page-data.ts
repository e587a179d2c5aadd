/** What a page is made for: JSON in its element #webhyve-page, written by webhyve-web and webhyve-site, read by the page. */

/** Every member may be missing. */
export interface PageData {
  /** Words of the command line. */
  readonly argv?: readonly string[];
  readonly title?: string;
  /** The machine starts with the page. */
  readonly autostart?: boolean;
  /** Folder of the workers and the core, relative to the page. */
  readonly assets?: string;
  /** Script of the service worker that adds headers, for servers that send none. */
  readonly serviceWorker?: string;
}
