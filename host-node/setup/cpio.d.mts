export class CpioWriter {
  directory(path: string, permissions?: number): void;
  file(path: string, data: Uint8Array | string, permissions?: number): void;
  symlink(path: string, target: string): void;
  characterDevice(path: string, major: number, minor: number, permissions?: number): void;
  finish(): Buffer;
}
