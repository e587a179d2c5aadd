/** Controller registers (NVM Express 1.4, 3.1). */

export const REG_CAP_LOW = 0x00;
export const REG_CAP_HIGH = 0x04;
export const REG_VS = 0x08;
export const REG_INTMS = 0x0c;
export const REG_INTMC = 0x10;
export const REG_CC = 0x14;
export const REG_CSTS = 0x1c;
export const REG_NSSR = 0x20;
export const REG_AQA = 0x24;
export const REG_ASQ = 0x28;
export const REG_ASQ_HIGH = 0x2c;
export const REG_ACQ = 0x30;
export const REG_ACQ_HIGH = 0x34;
export const DOORBELLS = 0x1000;
export const DOORBELL_BYTES = 4;

export const VERSION_1_4 = 0x00010400;

export const CC_EN = 1;
export const CC_SHN_SHIFT = 14;
export const CC_WRITABLE = 0x00fffff1;
export const CSTS_RDY = 1;
export const CSTS_CFS = 2;
export const CSTS_SHST_SHIFT = 2;
export const SHUTDOWN_OCCURRING = 1;
export const SHUTDOWN_COMPLETE = 2;

/** Queues need physically contiguous memory (CQR); 30 seconds to become ready; NVM command set; pages of 4 KiB. */
export function capabilityLow(queueEntries: number): number {
  return (((queueEntries - 1) & 0xffff) | (1 << 16) | (60 << 24)) >>> 0;
}
export const CAPABILITY_HIGH = 1 << 5;

export const PAGE_BYTES = 4096;
export const SQ_ENTRY_BYTES = 64;
export const CQ_ENTRY_BYTES = 16;
/** 2^9 pages: the longest transfer. */
export const MDTS = 9;
export const MAX_TRANSFER_BYTES = PAGE_BYTES << MDTS;

/** Admin commands (5). */
export const ADMIN_DELETE_SQ = 0x00;
export const ADMIN_CREATE_SQ = 0x01;
export const ADMIN_GET_LOG_PAGE = 0x02;
export const ADMIN_DELETE_CQ = 0x04;
export const ADMIN_CREATE_CQ = 0x05;
export const ADMIN_IDENTIFY = 0x06;
export const ADMIN_ABORT = 0x08;
export const ADMIN_SET_FEATURES = 0x09;
export const ADMIN_GET_FEATURES = 0x0a;
export const ADMIN_ASYNC_EVENT_REQUEST = 0x0c;
export const ADMIN_FORMAT_NVM = 0x80;

/** I/O commands (6). */
export const IO_FLUSH = 0x00;
export const IO_WRITE = 0x01;
export const IO_READ = 0x02;
export const IO_DATASET_MANAGEMENT = 0x09;

/** Status field without the phase bit: type in bits 10:8, code in 7:0, "do not retry" in bit 14. */
const DNR = 1 << 14;
const generic = (code: number): number => DNR | code;
const specific = (code: number): number => DNR | 0x100 | code;
const media = (code: number): number => DNR | 0x200 | code;

export const SC_SUCCESS = 0;
export const SC_INVALID_OPCODE = generic(0x01);
export const SC_INVALID_FIELD = generic(0x02);
export const SC_DATA_TRANSFER_ERROR = generic(0x04);
/** May be tried again: no DNR. */
export const SC_ABORTED_SQ_DELETION = 0x08;
export const SC_INVALID_NAMESPACE = generic(0x0b);
export const SC_COMMAND_SEQUENCE = generic(0x0c);
export const SC_INVALID_PRP_OFFSET = generic(0x13);
export const SC_LBA_OUT_OF_RANGE = generic(0x80);
export const SC_CQ_INVALID = specific(0x00);
export const SC_INVALID_QUEUE_ID = specific(0x01);
export const SC_INVALID_QUEUE_SIZE = specific(0x02);
export const SC_ASYNC_LIMIT_EXCEEDED = specific(0x05);
export const SC_INVALID_INTERRUPT_VECTOR = specific(0x08);
export const SC_INVALID_LOG_PAGE = specific(0x09);
export const SC_INVALID_FORMAT = specific(0x0a);
export const SC_INVALID_QUEUE_DELETION = specific(0x0c);
export const SC_NOT_SAVEABLE = specific(0x0d);
export const SC_NOT_CHANGEABLE = specific(0x0e);
export const SC_WRITE_TO_READ_ONLY = specific(0x82);
export const SC_WRITE_FAULT = media(0x80);
export const SC_UNRECOVERED_READ = media(0x81);

/** Features (5.21.1). */
export const FEATURE_ARBITRATION = 0x01;
export const FEATURE_POWER_MANAGEMENT = 0x02;
export const FEATURE_TEMPERATURE = 0x04;
export const FEATURE_ERROR_RECOVERY = 0x05;
export const FEATURE_WRITE_CACHE = 0x06;
export const FEATURE_QUEUE_COUNT = 0x07;
export const FEATURE_COALESCING = 0x08;
export const FEATURE_VECTOR = 0x09;
export const FEATURE_WRITE_ATOMICITY = 0x0a;
export const FEATURE_ASYNC_EVENTS = 0x0b;

/** Asynchronous events (5.2.1): type in bits 2:0, information in 15:8, log page in 23:16. */
export const EVENT_ERROR = 0;
export const EVENT_HEALTH = 1;
export const EVENT_NOTICE = 2;
export const EVENT_INVALID_DOORBELL_REGISTER = 0x00;
export const EVENT_INVALID_DOORBELL_VALUE = 0x01;
export const EVENT_TEMPERATURE = 0x01;
export const EVENT_NAMESPACE_CHANGED = 0x00;

export const LOG_ERROR = 0x01;
export const LOG_HEALTH = 0x02;
export const LOG_FIRMWARE = 0x03;
export const LOG_CHANGED_NAMESPACES = 0x04;
