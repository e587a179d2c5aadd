/** How tests bundle the programs, as host-node/setup/bundle.mjs does. */
export const PROGRAM_BUNDLE = {
  bundle: true,
  splitting: true,
  platform: 'node',
  format: 'esm',
  target: 'node20',
  logLevel: 'error',
  // Packages in CommonJS (ws) call require() for Node's own modules.
  banner: {
    js: "import { createRequire as nodeCreateRequire } from 'node:module';\nconst require = nodeCreateRequire(import.meta.url);",
  },
} as const;
