/** The x87, MXCSR and the images of FXSAVE and XSAVE, run from machine code, against a real processor. */
import { x87Groups } from '../vectors/wide/groups.ts';
import { testGroups } from '../vectors/wide/suite.ts';

const groups = x87Groups();
testGroups('x87 instructions', [...groups.keys()], () => Promise.resolve(groups));
