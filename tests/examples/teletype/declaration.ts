/** `-s slot,teletype,path`: what there is to know about the device's options. */
import type { DeviceDeclaration } from '../../../devices/config/declare.ts';
import { firstField } from '../../../devices/config/legacy.ts';
import { PATH } from '../../../devices/config/variable-types.ts';

export const TELETYPE: DeviceDeclaration = {
  name: 'teletype',
  summary: 'One character at a time, to and from the host',
  legacy: firstField('path'),
  variables: [{ name: 'path', type: PATH, help: 'Where the line leads: stdio, a terminal, or tcp=ADDRESS:PORT' }],
};
