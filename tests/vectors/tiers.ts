/** What runs a vector's instruction. */
export type Tier = 'interpreted' | 'compiled';

/** The tiers that vectors run in; TIER in the environment leaves one of them. */
export const TIERS: readonly Tier[] = (['interpreted', 'compiled'] as const).filter(
  (tier) => process.env.TIER === undefined || process.env.TIER === tier,
);
