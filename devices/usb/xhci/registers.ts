/** Registers and structures of the eXtensible Host Controller Interface (xHCI 1.2). */

/** Sizes of this controller, as bhyve's. */
export const MAX_SLOTS = 64;
export const MAX_PORTS = 8;
/** Ports 1-4 are SuperSpeed, 5-8 their USB 2 companions. */
export const USB3_PORTS = 4;

/** Where the register sets lie in BAR 0. */
export const OPERATIONAL = 0x20;
export const PORTS = OPERATIONAL + 0x400;
export const PORT_STRIDE = 0x10;
export const EXTENDED_CAPABILITIES = 0x800;
export const RUNTIME = 0x1000;
export const DOORBELLS = 0x2000;
export const BAR_BYTES = 0x4000;

/** Capability registers (5.3). */
export const CAP_LENGTH_VERSION = 0x00;
export const CAP_HCSPARAMS1 = 0x04;
export const CAP_HCSPARAMS2 = 0x08;
export const CAP_HCSPARAMS3 = 0x0c;
export const CAP_HCCPARAMS1 = 0x10;
export const CAP_DBOFF = 0x14;
export const CAP_RTSOFF = 0x18;
export const CAP_HCCPARAMS2 = 0x1c;
export const HCI_VERSION = 0x0100;
/** Isochronous scheduling threshold 4; one event ring segment; no scratchpad buffers. */
export const HCSPARAMS2 = 0x04;
/** 64-bit addresses (AC64), no secondary stream ids (NSS), short packets when stopped (SPC); no streams. */
export const HCCPARAMS1 = 0x01 | 0x80 | 0x200 | ((EXTENDED_CAPABILITIES >> 2) << 16);
/** Large ESIT payloads (LEC), U3 entry (U3C). */
export const HCCPARAMS2 = 0x11;

/** Operational registers (5.4). */
export const USBCMD = 0x00;
export const USBSTS = 0x04;
export const PAGESIZE = 0x08;
export const DNCTRL = 0x14;
export const CRCR = 0x18;
export const DCBAAP = 0x30;
export const CONFIG = 0x38;

export const CMD_RUN = 0x0001;
export const CMD_RESET = 0x0002;
export const CMD_INTERRUPTS = 0x0004;
export const CMD_LIGHT_RESET = 0x0080;
export const CMD_SAVE = 0x0100;
export const CMD_RESTORE = 0x0200;
export const CMD_WRITABLE = 0x0c0d;

export const STS_HALTED = 0x0001;
export const STS_SYSTEM_ERROR = 0x0004;
export const STS_EVENT_INTERRUPT = 0x0008;
export const STS_PORT_CHANGE = 0x0010;
export const STS_WRITE_1_TO_CLEAR = 0x041c;

export const CRCR_CYCLE = 0x1;
export const CRCR_STOP = 0x2;
export const CRCR_ABORT = 0x4;
export const CRCR_RUNNING = 0x8;

/** Port registers (5.4.8 to 5.4.11). */
export const PORTSC = 0x0;
export const PORTPMSC = 0x4;
export const PORTLI = 0x8;
export const PORTHLPMC = 0xc;

export const PORT_CONNECTED = 1 << 0;
export const PORT_ENABLED = 1 << 1;
export const PORT_RESET = 1 << 4;
export const PORT_LINK_STATE = 0xf << 5;
export const PORT_LINK_U0 = 0 << 5;
export const PORT_LINK_U3 = 3 << 5;
export const PORT_LINK_DISABLED = 4 << 5;
export const PORT_LINK_RX_DETECT = 5 << 5;
export const PORT_POWER = 1 << 9;
export const PORT_SPEED_SHIFT = 10;
export const PORT_INDICATOR = 3 << 14;
export const PORT_LINK_WRITE = 1 << 16;
export const PORT_CONNECT_CHANGE = 1 << 17;
export const PORT_WARM_RESET_CHANGE = 1 << 19;
export const PORT_RESET_CHANGE = 1 << 21;
export const PORT_LINK_CHANGE = 1 << 22;
export const PORT_CHANGES = 0xfe << 16;
export const PORT_WAKE = 7 << 25;
export const PORT_WARM_RESET = 0x8000_0000 | 0;

/** Runtime registers (5.5): MFINDEX, then the one interrupter. */
export const MFINDEX = 0x00;
export const IMAN = 0x20;
export const IMOD = 0x24;
export const ERSTSZ = 0x28;
export const ERSTBA = 0x30;
export const ERDP = 0x38;
export const IMAN_PENDING = 0x1;
export const IMAN_ENABLE = 0x2;
export const ERDP_BUSY = 0x8;

/** TRBs (6.4). */
export const TRB_BYTES = 16;
export const TRB_CYCLE = 0x0001;
/** In a link TRB. */
export const TRB_TOGGLE_CYCLE = 0x0002;
export const TRB_SHORT_INTERRUPT = 0x0004;
export const TRB_CHAIN = 0x0010;
export const TRB_INTERRUPT = 0x0020;
export const TRB_IMMEDIATE = 0x0040;
/** In a data stage TRB: device to host. */
export const TRB_DIRECTION_IN = 1 << 16;
/** In an address device command: leave the device's address alone. */
export const TRB_BLOCK_SET_ADDRESS = 0x0200;
/** In a configure endpoint command. */
export const TRB_DECONFIGURE = 0x0200;
/** In a transfer event: the parameter is event data, not an address. */
export const TRB_EVENT_DATA = 0x0004;

export const TRB_NORMAL = 1;
export const TRB_SETUP = 2;
export const TRB_DATA = 3;
export const TRB_STATUS = 4;
export const TRB_ISOCH = 5;
export const TRB_LINK = 6;
export const TRB_EVENT_DATA_TYPE = 7;
export const TRB_NO_OP = 8;
export const CMD_ENABLE_SLOT = 9;
export const CMD_DISABLE_SLOT = 10;
export const CMD_ADDRESS_DEVICE = 11;
export const CMD_CONFIGURE_ENDPOINT = 12;
export const CMD_EVALUATE_CONTEXT = 13;
export const CMD_RESET_ENDPOINT = 14;
export const CMD_STOP_ENDPOINT = 15;
export const CMD_SET_DEQUEUE = 16;
export const CMD_RESET_DEVICE = 17;
export const CMD_SET_LATENCY = 20;
export const CMD_PORT_BANDWIDTH = 21;
export const CMD_NO_OP = 23;
export const EVENT_TRANSFER = 32;
export const EVENT_COMMAND = 33;
export const EVENT_PORT = 34;
export const EVENT_HOST = 37;

/** Completion codes (6.4.5). */
export const SUCCESS = 1;
export const TRANSACTION_ERROR = 4;
export const TRB_ERROR = 5;
export const STALL = 6;
export const NO_SLOTS = 9;
export const SLOT_NOT_ENABLED = 11;
export const ENDPOINT_NOT_ENABLED = 12;
export const SHORT_PACKET = 13;
export const PARAMETER_ERROR = 17;
export const CONTEXT_STATE_ERROR = 19;
export const EVENT_RING_FULL = 21;
export const COMMAND_RING_STOPPED = 24;
export const STOPPED = 26;

/** Contexts (6.2). */
export const CONTEXT_BYTES = 32;
export const ENDPOINTS = 32;
export const SLOT_DISABLED = 0;
export const SLOT_DEFAULT = 1;
export const SLOT_ADDRESSED = 2;
export const SLOT_CONFIGURED = 3;
export const EP_DISABLED = 0;
export const EP_RUNNING = 1;
export const EP_HALTED = 2;
export const EP_STOPPED = 3;
export const EP_ERROR = 4;
export const EP_TYPE_CONTROL = 4;
export const EP_TYPE_INTERRUPT_IN = 7;
