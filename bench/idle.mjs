/** What an idle guest costs: processor time of its process, and how exactly it sleeps. Budgets are for a host with a free processor. */
import { readFileSync } from 'node:fs';

const SLEEP_SECONDS = 10;
/** 5 % of a processor, and what the processes of the command need. */
const CPU_SECONDS = SLEEP_SECONDS * 0.05 + 0.5;
/** 1 %, and the start of a process. */
const ELAPSED_SECONDS = SLEEP_SECONDS * 1.01 + 1;
/** Linux counts processor time in these units for user space (USER_HZ), whatever the kernel uses. */
const TICKS_PER_SECOND = 100;

/** User and system time of a process so far. */
function cpuSeconds(pid) {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

/** Lets the guest of a session at its prompt sleep. Resolves to lines to print and whether every budget was kept. */
export async function measureIdle(session) {
  const before = cpuSeconds(session.pid);
  const { seconds } = await session.run(`sleep ${SLEEP_SECONDS}`, SLEEP_SECONDS * 6000);
  const used = cpuSeconds(session.pid) - before;
  const kept = used <= CPU_SECONDS && seconds <= ELAPSED_SECONDS;
  return {
    kept,
    lines: [
      `${used <= CPU_SECONDS ? 'ok' : 'FAILED'}: ${SLEEP_SECONDS} idle seconds took ${used.toFixed(2)} s of a processor, limit ${CPU_SECONDS}`,
      `${seconds <= ELAPSED_SECONDS ? 'ok' : 'FAILED'}: sleep ${SLEEP_SECONDS} took ${seconds.toFixed(2)} s, limit ${ELAPSED_SECONDS}`,
    ],
  };
}
