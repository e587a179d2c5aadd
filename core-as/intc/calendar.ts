/** The proleptic Gregorian calendar in integers, for the RTC. Nothing here keeps state. */

export const SECONDS_A_DAY: i64 = 86_400;

/** Division that rounds towards minus infinity; the divisor is positive. */
// @ts-ignore: decorator
@inline
function floorDivide(a: i64, b: i64): i64 {
  const quotient = a / b;
  return a % b < 0 ? quotient - 1 : quotient;
}

/** Days from 1970-01-01 to a date; the month is 1-12. */
export function daysFromDate(year: i64, month: i64, day: i64): i64 {
  // Years that begin in March put the leap day at their end.
  const marchYear = month <= 2 ? year - 1 : year;
  const era = floorDivide(marchYear, 400);
  const yearOfEra = marchYear - era * 400;
  const dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
  const dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear;
  return era * 146_097 + dayOfEra - 719_468;
}

/** The date of a day, packed as year * 512 + month * 32 + day. The year may be negative. */
export function dateFromDays(days: i64): i64 {
  const shifted = days + 719_468;
  const era = floorDivide(shifted, 146_097);
  const dayOfEra = shifted - era * 146_097;
  const yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365;
  const dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100);
  const shiftedMonth = (5 * dayOfYear + 2) / 153;
  const day = dayOfYear - (153 * shiftedMonth + 2) / 5 + 1;
  const month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9;
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0);
  return year * 512 + month * 32 + day;
}

/** Day number of a time in seconds since 1970-01-01. */
export function dayOf(seconds: i64): i64 {
  return floorDivide(seconds, SECONDS_A_DAY);
}

/** Seconds since midnight, 0 to 86399. */
export function secondOfDay(seconds: i64): i64 {
  return seconds - dayOf(seconds) * SECONDS_A_DAY;
}

/** Day of the week, 1 = Sunday to 7 = Saturday. */
export function weekdayOf(days: i64): i64 {
  const shifted = days + 4;
  return shifted - floorDivide(shifted, 7) * 7 + 1;
}
