/** Registers and bits of Intel's 82545EM (PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's Manual, chapter 13). */

export const CTRL = 0x0000;
export const STATUS = 0x0008;
export const EECD = 0x0010;
export const EERD = 0x0014;
export const CTRL_EXT = 0x0018;
export const FLA = 0x001c;
export const MDIC = 0x0020;
export const FCAL = 0x0028;
export const FCAH = 0x002c;
export const FCT = 0x0030;
export const VET = 0x0038;
export const ICR = 0x00c0;
export const ITR = 0x00c4;
export const ICS = 0x00c8;
export const IMS = 0x00d0;
export const IMC = 0x00d8;
export const RCTL = 0x0100;
export const FCTTV = 0x0170;
export const TXCW = 0x0178;
export const RXCW = 0x0180;
export const TCTL = 0x0400;
export const TIPG = 0x0410;
export const AIT = 0x0458;
export const LEDCTL = 0x0e00;
export const PBA = 0x1000;
export const FCRTL = 0x2160;
export const FCRTH = 0x2168;
export const RDBAL = 0x2800;
export const RDBAH = 0x2804;
export const RDLEN = 0x2808;
export const RDH = 0x2810;
export const RDT = 0x2818;
export const RDTR = 0x2820;
export const RXDCTL = 0x2828;
export const RADV = 0x282c;
export const RSRPD = 0x2c00;
export const TXDMAC = 0x3000;
export const TDBAL = 0x3800;
export const TDBAH = 0x3804;
export const TDLEN = 0x3808;
export const TDH = 0x3810;
export const TDT = 0x3818;
export const TIDV = 0x3820;
export const TXDCTL = 0x3828;
export const TADV = 0x382c;
export const TSPMT = 0x3830;
export const STATISTICS = 0x4000;
export const STATISTICS_END = 0x4100;
export const RXCSUM = 0x5000;
/** Multicast table: 128 words. */
export const MTA = 0x5200;
/** Receive addresses: 16 pairs of words. */
export const RAL = 0x5400;
/** VLAN filter: 128 words. */
export const VFTA = 0x5600;
export const WUC = 0x5800;
export const WUFC = 0x5808;
export const WUS = 0x5810;
export const WUPM_END = 0x5a80;
export const MANC = 0x5820;
/** The packet buffer memory, 64 KiB, which diagnostics read and write. */
export const PACKET_BUFFER = 0x10000;
export const REGISTERS_BYTES = 0x20000;

export const TABLE_WORDS = 128;
export const RECEIVE_ADDRESSES = 16;

/** CTRL */
export const CTRL_SLU = 1 << 6;
export const CTRL_RST = 1 << 26;
export const CTRL_VME = 1 << 30;
export const CTRL_PHY_RST = 2 ** 31;

/** STATUS: full duplex, link up, 1000 Mb/s. */
export const STATUS_FD = 1 << 0;
export const STATUS_LU = 1 << 1;
export const STATUS_SPEED_1000 = 2 << 6;

/** MDIC */
export const MDIC_OP_WRITE = 1 << 26;
export const MDIC_OP_READ = 2 << 26;
export const MDIC_READY = 1 << 28;
export const MDIC_INTERRUPT = 1 << 29;
export const MDIC_ERROR = 1 << 30;

/** Interrupt causes (ICR, ICS, IMS, IMC). */
export const INT_TXDW = 1 << 0;
export const INT_TXQE = 1 << 1;
export const INT_LSC = 1 << 2;
export const INT_RXDMT0 = 1 << 4;
export const INT_RXO = 1 << 6;
export const INT_RXT0 = 1 << 7;
export const INT_MDAC = 1 << 9;
export const INT_TXD_LOW = 1 << 15;
/** Causes that the chip knows. */
export const INT_ALL = 0x0001ffff;

/** RCTL */
export const RCTL_EN = 1 << 1;
export const RCTL_UPE = 1 << 3;
export const RCTL_MPE = 1 << 4;
export const RCTL_LPE = 1 << 5;
export const RCTL_LBM = 3 << 6;
export const RCTL_BAM = 1 << 15;
export const RCTL_VFE = 1 << 18;
export const RCTL_BSEX = 1 << 25;
export const RCTL_SECRC = 1 << 26;

/** TCTL */
export const TCTL_EN = 1 << 1;
export const TCTL_PSP = 1 << 3;

/** RXCSUM */
export const RXCSUM_IPOFLD = 1 << 8;
export const RXCSUM_TUOFLD = 1 << 9;

export const RAH_VALID = 2 ** 31;

export const DESCRIPTOR_BYTES = 16;

/** Bits that a driver may write, of registers that are plain memory. What is not here reads as zero. */
export const PLAIN_REGISTERS: readonly (readonly [offset: number, writable: number])[] = [
  [CTRL_EXT, 0xffffffff],
  [FLA, 0xffffffff],
  [FCAL, 0xffffffff],
  [FCAH, 0x0000ffff],
  [FCT, 0x0000ffff],
  [VET, 0x0000ffff],
  [FCTTV, 0x0000ffff],
  [TXCW, 0xffffffff],
  [TIPG, 0x3fffffff],
  [AIT, 0x0000ffff],
  [LEDCTL, 0xffffffff],
  [PBA, 0x0000007f],
  [FCRTL, 0x8000fff8],
  [FCRTH, 0x0000fff8],
  [RDBAL, 0xfffffff0],
  [RDBAH, 0xffffffff],
  [RDLEN, 0x000fff80],
  [RDTR, 0x0000ffff],
  [RXDCTL, 0x013f3f3f],
  [RADV, 0x0000ffff],
  [RSRPD, 0x00000fff],
  [TXDMAC, 0x00000001],
  [TDBAL, 0xfffffff0],
  [TDBAH, 0xffffffff],
  [TDLEN, 0x000fff80],
  [TIDV, 0x0000ffff],
  [TXDCTL, 0xfe3f3f3f],
  [TADV, 0x0000ffff],
  [TSPMT, 0xffffffff],
  [RXCSUM, 0x000007ff],
  [WUC, 0x0000000f],
  [WUFC, 0x000f00ff],
];
