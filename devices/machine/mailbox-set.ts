/** The mailboxes of all vCPUs, served by the devices' thread in the order in which requests were left. */
import { MAILBOX_TICKETS } from '../../core-as/layout.ts';
import type { CoreState } from './core.ts';
import { MailboxServer, ringHostDoorbell, type MailboxTarget } from './mailbox.ts';

export class MailboxSet {
  /** By vCPU. */
  readonly mailboxes: readonly MailboxServer[];

  constructor(
    private readonly state: CoreState,
    vcpus: number,
    private readonly target: MailboxTarget,
  ) {
    this.mailboxes = Array.from({ length: vcpus }, (_, vcpu) => new MailboxServer(state, vcpu, target));
    target.ports.watchPosted((changed, posted) => {
      for (const mailbox of this.mailboxes) {
        for (const { first, lengthBytes } of changed) mailbox.setPostedPorts(first, lengthBytes, posted);
      }
    });
    target.mmio.watchPosted((changed, posted, all) => {
      // Where ranges overlap, the quiet one counts: the first that a vCPU finds.
      const ranges = [...all].sort((a, b) => Number(b.quiet) - Number(a.quiet));
      for (const mailbox of this.mailboxes) mailbox.setPostedMmio(ranges);
      // What was left quietly until now may be waited for.
      if (!posted && changed.some(({ quiet }) => quiet)) ringHostDoorbell(state);
    });
  }

  /**
   * Serves what is waiting, at most a ring full of each vCPU, and nothing while a device is busy with a reset; returns how many requests that
   * were.
   */
  serve(): number {
    // The tickets before the mailboxes: whatever led to a request with a ticket below the limit is in the mailboxes by then. A later one may have
    // a predecessor in a mailbox that was looked at too early, and waits for the next call.
    const limit = Atomics.load(this.state.i32, MAILBOX_TICKETS >> 2);
    for (const mailbox of this.mailboxes) mailbox.look();
    let served = 0;
    while (!this.target.stalled()) {
      let oldest: MailboxServer | undefined;
      let oldestTicket = limit;
      for (const mailbox of this.mailboxes) {
        const { ticket } = mailbox;
        // Tickets wrap: their distance tells which is older.
        if (ticket === undefined || ((ticket - oldestTicket) | 0) >= 0) continue;
        oldest = mailbox;
        oldestTicket = ticket;
      }
      if (!oldest) break;
      if (oldest.serveOldest()) served++;
    }
    return served;
  }
}
