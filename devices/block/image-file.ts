/** A file that holds a disk image in some format: bytes at any offset, and room to grow. */
export interface ImageFile {
  readonly readOnly: boolean;
  /** Size of the file now. */
  sizeBytes(): Promise<number>;
  /** Fills the views from `offset`; bytes beyond the end are zeros. */
  read(offset: number, into: Uint8Array[]): Promise<void>;
  /** Stores the views at `offset`; the file grows when it must. */
  write(offset: number, from: Uint8Array[]): Promise<void>;
  flush(): Promise<void>;
  close(): Promise<void>;
}
