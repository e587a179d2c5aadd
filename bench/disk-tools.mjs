/** The tests' image of Debian's programs for guests (tests/support/guest-tools.ts). */
import { testSupport } from './test-support.mjs';

export const { diskTools, diskToolsMissing, mountTools } = await testSupport('guest-tools.ts');
