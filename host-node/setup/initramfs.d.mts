export const INIT_SCRIPT: string;
export function buildInitramfs(contents: {
  busybox: Uint8Array;
  modules?: readonly (readonly [name: string, bytes: Uint8Array])[];
}): Buffer;
