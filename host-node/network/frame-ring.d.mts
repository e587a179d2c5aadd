export function createRing(): SharedArrayBuffer;
export function push(ring: SharedArrayBuffer, frame: Uint8Array): boolean;
export function mustTell(ring: SharedArrayBuffer): boolean;
export function waitForRoom(ring: SharedArrayBuffer, milliseconds: number): void;
export function peek(ring: SharedArrayBuffer): Uint8Array | undefined;
export function consume(ring: SharedArrayBuffer): void;
export function stop(ring: SharedArrayBuffer): void;
export function isStopped(ring: SharedArrayBuffer): boolean;
