/**
 * The milliseconds of a `Retry-After` header (RFC 9110, 10.2.3): seconds, or a date. Undefined if it
 * is missing or neither.
 */
export function retryAfterMs(value: string | null, nowMs: number): number | undefined {
  if (value === null) return undefined;
  if (/^\d{1,9}$/.test(value.trim())) return Number(value) * 1000;
  const date = Date.parse(value);
  return Number.isNaN(date) ? undefined : Math.max(0, date - nowMs);
}
