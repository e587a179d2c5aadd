/** The header in front of every frame of virtio-net and of Linux's tap devices (virtio 1.2, 5.1.6; struct virtio_net_hdr). */
import type { FrameOffload } from '../backends/network.ts';
import { tcpLayout } from './offload.ts';
import { joined, sliceParts } from './wire.ts';

/** Without the count of merged buffers. */
export const VIRTIO_HEADER_BYTES = 10;
/** With it: VIRTIO_NET_F_MRG_RXBUF or any modern device. */
export const VIRTIO_HEADER_BYTES_MERGEABLE = 12;

const HDR_F_NEEDS_CSUM = 1;
const HDR_F_DATA_VALID = 2;
const GSO_NONE = 0;
const GSO_TCPV4 = 1;
const GSO_TCPV6 = 4;
/** Or-ed to the kind: congestion marks are in use (RFC 3168); segments keep them. */
const GSO_ECN = 0x80;
const MAX_HEADER_BYTES = 256;

/** What a header asks for. Fields are little-endian, as every host that runs this and every modern device has them. */
export function readVirtioHeader(bytes: Uint8Array): FrameOffload | undefined {
  const flags = bytes[0] ?? 0;
  const kind = (bytes[1] ?? 0) & ~GSO_ECN;
  const u16 = (at: number): number => (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8);
  // Segmentation without the checksum's place is not allowed (virtio 1.2, 5.1.6.2.1).
  if ((flags & HDR_F_NEEDS_CSUM) === 0) return undefined;
  const segmentBytes = u16(4);
  const isTcp = (kind === GSO_TCPV4 || kind === GSO_TCPV6) && segmentBytes > 0;
  return {
    checksumStart: u16(6),
    checksumOffset: u16(8),
    segmentation: isTcp ? { kind: kind === GSO_TCPV4 ? 'tcp4' : 'tcp6', segmentBytes } : undefined,
  };
}

/** Writes the first {@link VIRTIO_HEADER_BYTES} for a frame; `valid` says that its checksum was looked at and is right. */
export function writeVirtioHeader(
  bytes: Uint8Array,
  offload: FrameOffload | undefined,
  parts: readonly Uint8Array[],
  valid = false,
): void {
  bytes.fill(0, 0, VIRTIO_HEADER_BYTES);
  if (!offload) {
    bytes[0] = valid ? HDR_F_DATA_VALID : 0;
    bytes[1] = GSO_NONE;
    return;
  }
  const set = (at: number, value: number): void => {
    bytes[at] = value;
    bytes[at + 1] = value >>> 8;
  };
  bytes[0] = HDR_F_NEEDS_CSUM;
  if (offload.segmentation) {
    bytes[1] = offload.segmentation.kind === 'tcp4' ? GSO_TCPV4 : GSO_TCPV6;
    set(2, tcpLayout(joined(sliceParts(parts, 0, MAX_HEADER_BYTES)))?.payload ?? 0);
    set(4, offload.segmentation.segmentBytes);
  }
  set(6, offload.checksumStart);
  set(8, offload.checksumOffset);
}
