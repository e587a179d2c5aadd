/** A CD drive from the user's side of the tray: media put in, changed and taken out while the machine runs. */
import type { BlockBackend } from '../backends/block.ts';
import type { ScsiCdrom } from './cdrom.ts';

export class CdDrive {
  readonly #drive: ScsiCdrom;
  readonly #open: (path: string) => Promise<BlockBackend>;

  constructor(drive: ScsiCdrom, open: (path: string) => Promise<BlockBackend>) {
    this.#drive = drive;
    this.#open = open;
  }

  /** True when the guest can read a medium. */
  get hasMedium(): boolean {
    return this.#drive.medium !== undefined;
  }

  get trayOpen(): boolean {
    return this.#drive.trayOpen;
  }

  /** The guest asked that the medium stay where it is, as it does while it has mounted it. */
  get isLocked(): boolean {
    return this.#drive.removalPrevented;
  }

  /**
   * Puts the image into the drive in place of what is there, whatever the guest wants; the guest is told. Rejects with a message for the user when
   * it cannot be opened: then the drive stays as it is.
   */
  async insert(path: string): Promise<void> {
    const medium = await this.#open(path);
    const old = this.#drive.remove();
    this.#drive.insert(medium);
    await old?.close();
  }

  /** Takes the medium out, whatever the guest wants; the guest is told. Reads in flight end first, or fail. */
  async remove(): Promise<void> {
    await this.#drive.remove()?.close();
  }

  /** Presses the drive's button: the tray opens, or the guest is asked for it while it holds the medium. */
  pressButton(): void {
    this.#drive.requestEject();
  }
}
