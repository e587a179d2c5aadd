/** The Debian that `npm run bench -- --debian-only` boots: systemd, and programs that people run. Made by debootstrap once, and kept in the cache. */
import { testSupport } from './test-support.mjs';

const { debianSystem, debianSystemMissing } = await testSupport('debian-system.ts');
export { debianSystemMissing };

/** Whose name changes with what it holds. */
const RECIPE = {
  name: 'debian-bench-bookworm-1',
  packages: [
    ...['gcc', 'libc6-dev', 'libstb-dev', 'python3-minimal', 'python3', 'sqlite3', 'lua5.4'],
    ...['openssl', 'perl', 'xz-utils'],
  ],
  root: '/dev/vda',
  finish: () => {},
};

/** Paths of its disk, kernel and initial RAM disk. */
export const benchSystem = () => debianSystem(RECIPE);
