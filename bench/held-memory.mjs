/** What a process that runs for long may hold: limits of `npm run bench -- --hour`. */

/** The process may hold what the guest has touched and so much more. */
const MOST_EXTRA_MIB = 300;
/** Mean of the last quarter over that of the third one; what the guest touched for the first time meanwhile is taken off. */
const MOST_GROWTH = 1.03;
/** Fewer samples in a quarter say nothing about growth. */
const FEWEST_IN_QUARTER = 2;

/** MiB that the process holds beyond what its guest has touched. */
export const extraOf = ({ residentMib, touchedMib }) => residentMib - touchedMib;

const mean = (samples, of) => samples.reduce((sum, one) => sum + of(one), 0) / samples.length;

/** Of samples in the order of their times: lines to print, and whether both limits were kept. */
export function judge(samples) {
  const most = Math.max(...samples.map(extraOf));
  const small = most <= MOST_EXTRA_MIB;
  const lines = [
    `${small ? 'ok' : 'FAILED'}: at most ${most.toFixed(0)} MiB beyond what the guest touched, limit ${MOST_EXTRA_MIB}`,
  ];
  const quarter = Math.floor(samples.length / 4);
  if (quarter < FEWEST_IN_QUARTER) return { kept: small, lines: [...lines, 'too short to say whether it grows'] };
  const third = samples.slice(-2 * quarter, -quarter);
  const last = samples.slice(-quarter);
  const touchedMib = mean(last, (one) => one.touchedMib) - mean(third, (one) => one.touchedMib);
  const growth = (mean(last, (one) => one.residentMib) - touchedMib) / mean(third, (one) => one.residentMib);
  const flat = growth <= MOST_GROWTH;
  const percent = (ratio) => `${((ratio - 1) * 100).toFixed(1)} %`;
  lines.push(
    `${flat ? 'ok' : 'FAILED'}: the last quarter holds ${percent(growth)} more than the third one, limit ${percent(MOST_GROWTH)}`,
  );
  return { kept: small && flat, lines };
}
