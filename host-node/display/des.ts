/** The one use of DES that is left: answers to VNC's challenge (RFC 6143, 7.2.2). */
import { createCipheriv } from 'node:crypto';

/** DES in ECB mode. OpenSSL 3 keeps it only as triple DES, which with three equal keys is the same. */
export function desEncrypt(key: Uint8Array, blocks: Uint8Array): Uint8Array {
  const cipher = createCipheriv('des-ede3', Buffer.concat([key, key, key]), null).setAutoPadding(false);
  return Buffer.concat([cipher.update(blocks), cipher.final()]);
}
