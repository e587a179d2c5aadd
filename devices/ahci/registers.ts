/** Registers of an AHCI host bus adapter (AHCI 1.3.1, section 3). */

/** Generic host control. */
export const REG_CAP = 0x00;
export const REG_GHC = 0x04;
export const REG_IS = 0x08;
export const REG_PI = 0x0c;
export const REG_VS = 0x10;
export const REG_CAP2 = 0x24;
export const PORTS_OFFSET = 0x100;
export const PORT_STRIDE = 0x80;
export const MAX_PORTS = 32;
export const SLOT_COUNT = 32;

const CAP_S64A = 1 << 31;
const CAP_SNCQ = 1 << 30;
const CAP_SSNTF = 1 << 29;
const CAP_SMPS = 1 << 28;
const CAP_SSS = 1 << 27;
const CAP_SALP = 1 << 26;
const CAP_SAL = 1 << 25;
const CAP_SCLO = 1 << 24;
const CAP_ISS_GEN3 = 3 << 20;
const CAP_PMD = 1 << 15;
const CAP_SSC = 1 << 14;
const CAP_PSC = 1 << 13;
const CAP_SXS = 1 << 5;

/** CAP as bhyve shows it, for a number of ports. */
export function capabilities(ports: number): number {
  const features = CAP_S64A | CAP_SNCQ | CAP_SSNTF | CAP_SMPS | CAP_SSS | CAP_SALP | CAP_SAL | CAP_SCLO;
  const rest = CAP_ISS_GEN3 | CAP_PMD | CAP_SSC | CAP_PSC | ((SLOT_COUNT - 1) << 8) | CAP_SXS | (ports - 1);
  return (features | rest) >>> 0;
}

export const GHC_HR = 1 << 0;
export const GHC_IE = 1 << 1;
export const GHC_MRSM = 1 << 2;
export const GHC_AE = 0x80000000;
export const VERSION_1_3 = 0x00010300;
export const CAP2_APST = 0x04;

/** Port registers. */
export const PX_CLB = 0x00;
export const PX_CLBU = 0x04;
export const PX_FB = 0x08;
export const PX_FBU = 0x0c;
export const PX_IS = 0x10;
export const PX_IE = 0x14;
export const PX_CMD = 0x18;
export const PX_TFD = 0x20;
export const PX_SIG = 0x24;
export const PX_SSTS = 0x28;
export const PX_SCTL = 0x2c;
export const PX_SERR = 0x30;
export const PX_SACT = 0x34;
export const PX_CI = 0x38;
export const PX_SNTF = 0x3c;

/** Port interrupt status and enable. */
export const IS_DHRS = 1 << 0;
export const IS_PSS = 1 << 1;
export const IS_DSS = 1 << 2;
export const IS_SDBS = 1 << 3;
export const IS_DPS = 1 << 5;
export const IS_PCS = 1 << 6;
export const IS_PRCS = 1 << 22;
export const IS_OFS = 1 << 24;
export const IS_HBFS = 1 << 29;
export const IS_TFES = 1 << 30;
/** Bits that software clears; PCS and PRCS follow PxSERR. */
export const IS_WRITABLE = 0xfdc000af >>> 0;
export const IE_WRITABLE = 0xfdc000ff >>> 0;

export const CMD_ST = 1 << 0;
export const CMD_SUD = 1 << 1;
export const CMD_POD = 1 << 2;
export const CMD_CLO = 1 << 3;
export const CMD_FRE = 1 << 4;
export const CMD_CCS_SHIFT = 8;
export const CMD_FR = 1 << 14;
export const CMD_CR = 1 << 15;
export const CMD_CPS = 1 << 16;
export const CMD_ATAPI = 1 << 24;
/** ST, SUD, POD, FRE, and the link's power settings, which are remembered and mean nothing. */
export const CMD_WRITABLE = (CMD_ST | CMD_SUD | CMD_POD | CMD_FRE | CMD_ATAPI | 0x0e000000) >>> 0;

export const SERR_DIAG_N = 1 << 16;
export const SERR_DIAG_X = 1 << 26;

export const SCTL_DET_MASK = 0xf;
export const SCTL_DET_RESET = 1;
export const SCTL_DET_OFFLINE = 4;
export const SSTS_DET_PRESENT = 1;
export const SSTS_DET_ONLINE = 3;
export const SSTS_DET_OFFLINE = 4;
export const SSTS_IPM_ACTIVE = 0x100;
export const SSTS_GEN3 = 0x30;

/** Received FIS structure (section 4.2.1). */
export const RECEIVED_FIS_BYTES = 256;
export const RFIS_PIO_SETUP = 0x20;
export const RFIS_D2H = 0x40;
export const RFIS_SET_DEVICE_BITS = 0x58;

/** Command list and table (section 4.2.2, 4.2.3). */
export const HEADER_BYTES = 32;
export const HEADER_ATAPI = 1 << 5;
export const HEADER_WRITE = 1 << 6;
export const HEADER_RESET = 1 << 8;
export const HEADER_CLEAR_BUSY = 1 << 10;
export const TABLE_PACKET = 0x40;
export const TABLE_PRDT = 0x80;
export const PRD_BYTES = 16;
export const PRD_INTERRUPT = 0x80000000;
export const PRD_COUNT_MASK = 0x3fffff;
