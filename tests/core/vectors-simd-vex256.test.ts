/** 256-bit VEX-encoded instructions, run from their machine code, against a real processor. */
import { testSimdGroups } from '../vectors/wide/suite.ts';

testSimdGroups('vex256');
