/** The ACPI power-management timer (ACPI 6.5, 4.8.2.1): 32 bits at 3,579,545 Hz, free-running and stateless. */
import { machineNowNs, ticksAt } from '../time';

export const PM_TIMER_HZ: u64 = 3_579_545;

/** What a read of the timer's port gives now. */
export function pmTimerValue(): u32 {
  return <u32>ticksAt(machineNowNs(), PM_TIMER_HZ);
}
