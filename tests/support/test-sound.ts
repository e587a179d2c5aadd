/** A sound in which every missing or doubled sample shows: 16 bits, two channels. */

export const TEST_SOUND_RATE_HZ = 48_000;

/** Two channels that are nowhere alike: a rising tone, and noise. */
export function testSound(frames: number): Buffer {
  const samples = Buffer.alloc(frames * 4);
  let noise = 1;
  for (let i = 0; i < frames; i++) {
    noise = (Math.imul(noise, 1103515245) + 12345) | 0;
    const t = i / TEST_SOUND_RATE_HZ;
    samples.writeInt16LE(Math.round(20_000 * Math.sin(2 * Math.PI * (200 + 300 * t) * t)), 4 * i);
    samples.writeInt16LE((noise >> 17) & ~1, 4 * i + 2);
  }
  return samples;
}

/** The samples as a WAV file. */
export function wavFile(samples: Buffer): Buffer {
  const header = Buffer.alloc(44);
  header.write('RIFF....WAVEfmt ', 0, 'latin1');
  header.writeUInt32LE(36 + samples.length, 4);
  header.writeUInt32LE(16, 16);
  header.writeUInt16LE(1, 20);
  header.writeUInt16LE(2, 22);
  header.writeUInt32LE(TEST_SOUND_RATE_HZ, 24);
  header.writeUInt32LE(TEST_SOUND_RATE_HZ * 4, 28);
  header.writeUInt16LE(4, 32);
  header.writeUInt16LE(16, 34);
  header.write('data', 36, 'latin1');
  header.writeUInt32LE(samples.length, 40);
  return Buffer.concat([header, samples]);
}
