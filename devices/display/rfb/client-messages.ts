/** Messages of a client after the handshake (RFC 6143, 7.5; QEMU extended key event), read field by field. */
import type { Rectangle } from '../tile-map.ts';
import type { ByteParser } from './byte-parser.ts';
import { PIXEL_FORMAT_BYTES, PixelFormat } from './pixel-format.ts';
import * as P from './protocol.ts';

/** More encodings than this cannot be meant: fewer than 64 are registered in use. */
const MAX_ENCODINGS = 1024;

export interface ClientHandler {
  setPixelFormat(format: PixelFormat): void;
  /** Encodings that the client takes, the preferred ones first. */
  setEncodings(encodings: readonly number[]): void;
  updateRequest(rectangle: Rectangle, incremental: boolean): void;
  /** `code` is an XT code with 0x80 for the E0 prefix, or 0 when the client only knows the keysym. */
  key(keysym: number, code: number, down: boolean): void;
  pointer(buttons: number, x: number, y: number): void;
}

/** Reads messages for ever. Throws {@link P.RfbError} out of ByteParser.receive() at the first that is none. */
export class ClientMessages {
  constructor(
    private readonly parser: ByteParser,
    private readonly handler: ClientHandler,
  ) {}

  next(): void {
    this.parser.field(1, (field) => this.#message(field.getUint8(0)));
  }

  #message(type: number): void {
    const { parser, handler } = this;
    switch (type) {
      case P.CLIENT_SET_PIXEL_FORMAT:
        parser.field(3 + PIXEL_FORMAT_BYTES, (field) => {
          handler.setPixelFormat(PixelFormat.parse(field, 3));
          this.next();
        });
        break;
      case P.CLIENT_SET_ENCODINGS:
        parser.field(3, (field) => this.#encodings(field.getUint16(1), []));
        break;
      case P.CLIENT_UPDATE_REQUEST:
        parser.field(9, (field) => {
          const x = field.getUint16(1);
          const y = field.getUint16(3);
          const rectangle = { x, y, width: field.getUint16(5), height: field.getUint16(7) };
          handler.updateRequest(rectangle, field.getUint8(0) !== 0);
          this.next();
        });
        break;
      case P.CLIENT_KEY_EVENT:
        parser.field(7, (field) => {
          handler.key(field.getUint32(3), 0, field.getUint8(0) !== 0);
          this.next();
        });
        break;
      case P.CLIENT_POINTER_EVENT:
        parser.field(5, (field) => {
          handler.pointer(field.getUint8(0), field.getUint16(1), field.getUint16(3));
          this.next();
        });
        break;
      case P.CLIENT_CUT_TEXT:
        parser.field(7, (field) => {
          parser.skip(field.getUint32(3));
          this.next();
        });
        break;
      case P.CLIENT_QEMU:
        parser.field(11, (field) => {
          const submessage = field.getUint8(0);
          if (submessage !== P.QEMU_EXTENDED_KEY) throw new P.RfbError(`unknown QEMU message ${submessage}`);
          handler.key(field.getUint32(3), field.getUint32(7), field.getUint16(1) !== 0);
          this.next();
        });
        break;
      default:
        throw new P.RfbError(`rfb unknown cli-code ${type}!`);
    }
  }

  #encodings(count: number, encodings: number[]): void {
    if (count === 0) {
      this.handler.setEncodings(encodings);
      this.next();
      return;
    }
    this.parser.field(4, (field) => {
      if (encodings.length < MAX_ENCODINGS) encodings.push(field.getInt32(0));
      this.#encodings(count - 1, encodings);
    });
  }
}
