/**
 * Assembles the guests and records what they print under QEMU's TCG, with its known deviations corrected:
 *
 *     node tests/system/record.mjs [guest ...]
 *
 * Needs nasm and qemu-system-x86. Guests whose expectation is written from the manuals are assembled only.
 */
import { writeFileSync } from 'node:fs';
import { SYSTEM_GUESTS, corrected } from './guests.ts';
import { assemble, expectedFile, guestImage, runOnQemu } from './qemu.ts';

export function record(wanted: readonly string[]): void {
  for (const guest of SYSTEM_GUESTS) {
    if (wanted.length && !wanted.includes(guest.name)) continue;
    const image = guestImage(guest.name);
    assemble(guest.name, image);
    if (!guest.writtenFromManuals)
      writeFileSync(expectedFile(guest.name), corrected(guest, runOnQemu(image, guest.vcpus)), 'latin1');
    process.stdout.write(`${guest.name}\n`);
  }
}
