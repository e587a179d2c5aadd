/** What a fid stands for when a snapshot was restored and its object is no longer there: everything fails with ESTALE. */
import { ShareError, type ShareNode } from '../backends/share.ts';

function stale(): never {
  throw new ShareError('ESTALE');
}

export class StaleNode implements ShareNode {
  readonly attributes = stale;
  readonly setAttributes = stale;
  readonly readLink = stale;
  readonly open = stale;
  readonly space = stale;
  readonly syncDirectory = stale;
  readonly lookup = stale;
  readonly list = stale;
  readonly create = stale;
  readonly makeDirectory = stale;
  readonly makeSymlink = stale;
  readonly makeSpecial = stale;
  readonly makeLink = stale;
  readonly remove = stale;
  readonly rename = stale;
  readonly listXattrs = stale;
  readonly getXattr = stale;
  readonly setXattr = stale;
  readonly removeXattr = stale;

  place(): undefined {
    return undefined;
  }

  hold(): this {
    return this;
  }

  release(): void {}
}
