/** A writer of cpio archives in the "newc" format, which the Linux kernel unpacks as its first root file system. */

const DIRECTORY = 0o040000;
const REGULAR = 0o100000;
const SYMLINK = 0o120000;
const CHARACTER_DEVICE = 0o020000;

const padding = (length) => Buffer.alloc((4 - (length & 3)) & 3);

export class CpioWriter {
  #parts = [];
  #inode = 1;
  #directories = new Set();

  #entry(path, mode, data = Buffer.alloc(0), major = 0, minor = 0) {
    const name = Buffer.from(`${path}\0`);
    const links = (mode & 0o170000) === DIRECTORY ? 2 : 1;
    // Documentation/driver-api/early-userspace/buffer-format.rst: 13 fields of eight hexadecimal digits after the magic.
    // Owner and modification time are zero, so that the same input gives the same bytes.
    const fields = [this.#inode++, mode, 0, 0, links, 0, data.length, 0, 0, major, minor, name.length, 0];
    const header = Buffer.from(`070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`);
    this.#parts.push(header, name, padding(header.length + name.length), data, padding(data.length));
  }

  #parents(path) {
    const slash = path.lastIndexOf('/');
    if (slash > 0) this.directory(path.slice(0, slash));
  }

  /** Adds a directory and its parents, once. Paths have no leading slash. */
  directory(path, permissions = 0o755) {
    if (this.#directories.has(path)) return;
    this.#parents(path);
    this.#directories.add(path);
    this.#entry(path, DIRECTORY | permissions);
  }

  file(path, data, permissions = 0o644) {
    this.#parents(path);
    this.#entry(path, REGULAR | permissions, Buffer.from(data));
  }

  symlink(path, target) {
    this.#parents(path);
    this.#entry(path, SYMLINK | 0o777, Buffer.from(target));
  }

  characterDevice(path, major, minor, permissions = 0o600) {
    this.#parents(path);
    this.#entry(path, CHARACTER_DEVICE | permissions, undefined, major, minor);
  }

  /** The whole archive. */
  finish() {
    this.#inode = 0;
    this.#entry('TRAILER!!!', 0);
    return Buffer.concat(this.#parts);
  }
}
