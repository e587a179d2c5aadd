/** BHYVE's firmware, which no Debian package has: WEBHYVE_FIRMWARE names the folder that it was built in. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';

const folder = process.env['WEBHYVE_FIRMWARE'] ?? '';

export const FIRMWARE_CODE = join(folder, 'BHYVE_CODE.fd');
export const FIRMWARE_VARIABLES = join(folder, 'BHYVE_VARS.fd');

/** Why there is none; undefined when there is. For `context.skip(reason)`. */
export const firmwareMissing =
  folder !== '' && existsSync(FIRMWARE_CODE) ? undefined : 'WEBHYVE_FIRMWARE names no folder with BHYVE_CODE.fd';
