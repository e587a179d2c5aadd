/** Numbers of the Remote Framebuffer protocol (RFC 6143; the community's rfbproto for Zlib and the QEMU extension). */

/** What the server says first. */
export const SERVER_VERSION = 'RFB 003.008\n';
export const VERSION_BYTES = 12;

/** Security types (7.1.2). */
export const SECURITY_NONE = 1;
export const SECURITY_VNC = 2;
export const CHALLENGE_BYTES = 16;

/** Client to server (7.5). */
export const CLIENT_SET_PIXEL_FORMAT = 0;
export const CLIENT_SET_ENCODINGS = 2;
export const CLIENT_UPDATE_REQUEST = 3;
export const CLIENT_KEY_EVENT = 4;
export const CLIENT_POINTER_EVENT = 5;
export const CLIENT_CUT_TEXT = 6;
export const CLIENT_QEMU = 255;
export const QEMU_EXTENDED_KEY = 0;

/** Server to client (7.6). */
export const SERVER_FRAMEBUFFER_UPDATE = 0;
export const SERVER_SET_COLOUR_MAP = 1;

/** Encodings (7.7) and pseudo-encodings (7.8), as signed 32-bit numbers. */
export const ENCODING_RAW = 0;
export const ENCODING_COPY_RECT = 1;
export const ENCODING_HEXTILE = 5;
export const ENCODING_ZLIB = 6;
export const ENCODING_ZRLE = 16;
export const ENCODING_DESKTOP_SIZE = -223;
export const ENCODING_CURSOR = -239;
export const ENCODING_QEMU_EXTENDED_KEY = -258;

/** Buttons of a pointer event (7.5.5). */
export const BUTTON_WHEEL_UP = 0x08;
export const BUTTON_WHEEL_DOWN = 0x10;

/** The client broke the protocol; the session ends. */
export class RfbError extends Error {
  override readonly name = 'RfbError';
}
