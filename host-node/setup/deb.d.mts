export function tarFiles(tar: Buffer): Generator<[path: string, bytes: Buffer]>;
export function arMembers(archive: Buffer): Generator<[name: string, bytes: Buffer]>;
export function decompress(name: string, bytes: Buffer): Buffer;
export function packageFiles(path: string, filter: (path: string) => boolean): Map<string, Buffer>;
