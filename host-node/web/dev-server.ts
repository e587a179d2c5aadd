/** `npm run web`: the page on an address of this machine, open on the machine of a command line. */
import { join } from 'node:path';
import { replaceLocalFiles } from './local-files.ts';
import { browserFolder, contentSecurityPolicy, pageAssets, renderIndex } from './page-files.ts';
import { ISOLATION_HEADERS, serveStatic, type Content, type RunningServer } from './static-server.ts';

export interface DevServerOptions {
  /** Words of the command line. Files of this machine that it names are served; no others are. */
  readonly argv: readonly string[];
  /** Where relative names are looked up. */
  readonly directory: string;
  readonly host: string;
  /** 0: any. */
  readonly port: number;
  readonly title?: string | undefined;
  readonly autostart?: boolean | undefined;
  /** Folder of the page's files; by default that of this package. */
  readonly browserFolder?: string | undefined;
  /** False: as a server that knows nothing of shared memory. */
  readonly isolated?: boolean | undefined;
}

/** Sources that a user may name in the command line: images on other servers, consoles of other machines. */
const CONNECT_SOURCES = ['https:', 'http://localhost:*', 'http://127.0.0.1:*', 'ws:', 'wss:', 'data:', 'blob:'];
const INDEX_TYPE = 'text/html; charset=utf-8';

export function startDevServer(options: DevServerOptions): Promise<RunningServer> {
  const folder = options.browserFolder ?? browserFolder();
  const { argv, files } = replaceLocalFiles(options.argv, options.directory, ({ name }) => `files/${name}`);
  const served = new Map<string, string>();
  for (const name of pageAssets(folder)) served.set(`/${name}`, join(folder, name));
  for (const { name, path, snapshot } of files) {
    served.set(`/files/${name}`, path);
    if (snapshot) served.set(`/files/${name}.meta`, `${path}.meta`);
  }
  const index: Content = {
    type: INDEX_TYPE,
    bytes: Buffer.from(
      renderIndex(folder, {
        argv,
        ...(options.title === undefined ? {} : { title: options.title }),
        autostart: options.autostart ?? false,
      }),
    ),
  };
  return serveStatic(
    {
      find: (path) => {
        if (path === '/' || path === '/index.html') return index;
        const file = served.get(path);
        return file === undefined ? undefined : { file };
      },
      headers: {
        ...(options.isolated === false ? {} : ISOLATION_HEADERS),
        'content-security-policy': contentSecurityPolicy(CONNECT_SOURCES),
        'x-content-type-options': 'nosniff',
      },
    },
    options.host,
    options.port,
  );
}
