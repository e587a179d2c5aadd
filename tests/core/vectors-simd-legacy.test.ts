/** MMX, SSE to SSE4.2, AES, PCLMULQDQ and SHA instructions, run from their machine code, against a real processor. */
import { testSimdGroups } from '../vectors/wide/suite.ts';

testSimdGroups('legacy');
