/** The audio backends of Node, by how `play=` and `rec=` are spelled (docs/display.md). */
import { access, constants, readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Readable } from 'node:stream';
import type { AudioBackend, AudioSettings } from '../../devices/backends/audio.ts';
import { openPath, openProgram, PcmRecorder } from './pcm-streams.ts';
import { parseWav, WavWriter } from './wav.ts';

/** What plays and records for the names of OSS devices, which only FreeBSD has. */
const PLAY_PROGRAM = 'aplay -q -t raw -f S16_LE -r 48000 -c 2';
const RECORD_PROGRAM = 'arecord -q -t raw -f S16_LE -r 48000 -c 2';
const OSS_DEVICE = /^\/dev\/dsp\d*(\.\d+)?$/;
/** Of a file in memory, one piece that a stream hands out. */
const PIECE_BYTES = 64 * 1024;

function* pieces(bytes: Buffer): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += PIECE_BYTES) yield bytes.subarray(at, at + PIECE_BYTES);
}

async function openWav(path: string, direction: 'play' | 'record'): Promise<AudioBackend> {
  if (direction === 'play') return WavWriter.create(path);
  const { format, samples } = parseWav(await readFile(path));
  return new PcmRecorder(Readable.from(pieces(samples), { objectMode: false }), format);
}

/** Opens what sound is played to or recorded from. Rejects with a message for the user. */
export async function openAudio({ direction, path }: AudioSettings): Promise<AudioBackend> {
  try {
    if (path.startsWith('|')) return await openProgram(path.slice(1), direction);
    if (OSS_DEVICE.test(path))
      return await openProgram(direction === 'play' ? PLAY_PROGRAM : RECORD_PROGRAM, direction);
    if (/\.wav$/i.test(path)) return await openWav(path, direction);
    await access(direction === 'play' ? dirname(path) : path, direction === 'play' ? constants.W_OK : constants.R_OK);
    return openPath(path, direction);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`hda: cannot ${direction === 'play' ? 'play to' : 'record from'} ${path}: ${reason}`, {
      cause: error,
    });
  }
}
