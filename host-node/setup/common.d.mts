/** The newest modification time, in milliseconds, of a file or of the files below a folder; 0 when there is none. */
export function newestMs(path: string, filter?: (path: string) => boolean): number;
