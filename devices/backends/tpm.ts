/** What a TPM device needs from the one that computes: a software TPM of the host. */

/** Where the software TPM answers. */
export interface TpmSettings {
  /** A UNIX socket on which it takes commands and answers them (swtpm's data channel). */
  readonly path: string;
}

export interface TpmBackend {
  /** Sends a command and resolves with the whole answer. One at a time. Rejects when the TPM is gone. */
  execute(command: Uint8Array): Promise<Uint8Array>;
  close(): Promise<void> | void;
}
