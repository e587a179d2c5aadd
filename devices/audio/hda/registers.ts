/** Registers of a High Definition Audio controller (HDA specification 1.0a, chapter 3). */

export const BAR_BYTES = 0x4000;

/** Four input and four output streams, 64-bit addresses. */
export const INPUT_STREAMS = 4;
export const OUTPUT_STREAMS = 4;
export const STREAMS = INPUT_STREAMS + OUTPUT_STREAMS;
export const GCAP = 0x4401;
export const OUTPAY = 0x3c;
export const INPAY = 0x1d;

export const GCTL_RUNNING = 0x001;
export const GCTL_FLUSH = 0x002;
export const GCTL_UNSOLICITED = 0x100;
export const GSTS_FLUSHED = 0x0002;
export const INTCTL_GLOBAL = 0x8000_0000;
export const INTCTL_CONTROLLER = 0x4000_0000;

export const CORBCTL_RUN = 0x02;
export const CORBCTL_WRITABLE = 0x03;
export const CORBRP_RESET = 0x8000;
export const RIRBCTL_INTERRUPT = 0x01;
export const RIRBCTL_RUN = 0x02;
export const RIRBCTL_WRITABLE = 0x07;
export const RIRBWP_RESET = 0x8000;
export const RIRBSTS_RESPONSE = 0x01;
export const RIRBSTS_WRITE_1_TO_CLEAR = 0x05;
/** Both rings have 256 entries, and no other size. */
export const RING_SIZE_256 = 0x42;
export const RING_ENTRIES = 256;

export const ICIS_BUSY = 0x1;
export const ICIS_VALID = 0x2;

export const STREAM_BASE = 0x80;
export const STREAM_STRIDE = 0x20;
export const SDCTL_RESET = 0x01;
export const SDCTL_RUN = 0x02;
export const SDCTL_COMPLETION_INTERRUPT = 0x04;
export const SDCTL_ERROR_INTERRUPT = 0x10;
export const SDCTL_LOW_WRITABLE = 0x1f;
export const SDSTS_COMPLETION = 0x04;
export const SDSTS_DESCRIPTOR_ERROR = 0x10;
export const SDSTS_FIFO_READY = 0x20;
export const SDSTS_WRITE_1_TO_CLEAR = 0x1c;
export const BDL_ENTRY_BYTES = 16;
export const BDL_INTERRUPT = 0x1;

/** Aliases of WALCLK and the streams' positions, on pages of their own. */
export const WALCLK_ALIAS = 0x2030;
export const LPIB_ALIAS = 0x2084;

/** WALCLK counts at 24 MHz. */
export const WALL_TICKS_PER_US = 24;
