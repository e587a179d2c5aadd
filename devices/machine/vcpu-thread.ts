/** The whole program of a vCPU's thread; hosts wrap it in whatever their threads are. */
import { Core, CoreState } from './core.ts';
import { hostRandom, hostWallSeconds, mailboxImports } from './core-imports.ts';
import type { VcpuThreadStart } from './host.ts';
import { MailboxClient } from './mailbox.ts';
import { runVcpuThread } from './vcpu-loop.ts';

/** Runs a vCPU until the machine tells it to quit. Blocks its thread. `nowNs` must agree with the devices' thread's; for `collectGarbage` see RegionModules. */
export function vcpuThreadMain(start: VcpuThreadStart, nowNs: () => number, collectGarbage?: () => void): void {
  const state = new CoreState(start.memory);
  const mailbox = new MailboxClient(state, start.vcpu);
  const imports = mailboxImports(mailbox, {
    nowNs,
    wallSeconds: () => hostWallSeconds(start.rtcUtc),
    random: hostRandom,
  });
  const core = Core.instantiate(start.module, state, start.vcpu, imports, collectGarbage);
  runVcpuThread(core, mailbox, nowNs);
}
