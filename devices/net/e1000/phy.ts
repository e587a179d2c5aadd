/** The transceiver behind MDIC: a Marvell 88E1011 that has agreed on 1000 Mb/s (IEEE 802.3, 22.2.4; manual, 8.6). */
const ADDRESS = 1;

const BMCR = 0;
const BMSR = 1;
const ID1 = 2;
const ID2 = 3;
const ADVERTISEMENT = 4;
const PARTNER_ABILITY = 5;
const STATUS_1000 = 10;
const SPECIFIC_STATUS = 17;

/** Autonegotiation enabled, full duplex, 1000 Mb/s. */
const BMCR_VALUE = 0x1140;
const BMSR_LINK = 1 << 2;
const BMSR_AUTONEGOTIATES = 1 << 3;
const BMSR_COMPLETE = 1 << 5;
/** All modes of 10 and 100 Mb/s, extended capabilities and status. */
const BMSR_MODES = 0x7901;
const ID1_MARVELL = 0x0141;
const ID2_88E1011 = 0x0c24;
/** IEEE 802.3 and all modes. */
const ABILITIES = 0x01e1;
const PARTNER_ACKNOWLEDGED = 0x4000;
/** Partner does 1000 Mb/s full duplex, both receivers work. */
const STATUS_1000_VALUE = 0x3800;
/** 1000 Mb/s, full duplex, resolved, link up. */
const SPECIFIC_STATUS_VALUE = 0xac00;
const SPECIFIC_LINK = 0x0400;

/** A register's 16 bits; other addresses than that of the card's own transceiver answer with ones. */
export function readPhy(address: number, register: number, linkUp: boolean): number {
  if (address !== ADDRESS) return 0xffff;
  switch (register) {
    case BMCR:
      return BMCR_VALUE;
    case BMSR:
      return BMSR_MODES | BMSR_AUTONEGOTIATES | (linkUp ? BMSR_LINK | BMSR_COMPLETE : 0);
    case ID1:
      return ID1_MARVELL;
    case ID2:
      return ID2_88E1011;
    case ADVERTISEMENT:
      return ABILITIES;
    case PARTNER_ABILITY:
      return linkUp ? ABILITIES | PARTNER_ACKNOWLEDGED : 0;
    case STATUS_1000:
      return linkUp ? STATUS_1000_VALUE : 0;
    case SPECIFIC_STATUS:
      return linkUp ? SPECIFIC_STATUS_VALUE : SPECIFIC_STATUS_VALUE & ~SPECIFIC_LINK;
    default:
      return 0;
  }
}
