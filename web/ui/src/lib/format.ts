// Every number on a page is written here: three significant digits, two units
// at most, thin spaces. Times are in the reader's zone, which the full form names.

/** Narrow no-break space: between digits and before a unit. */
export const THIN = '\u202f'
const MINUS = '\u2212'

/** Three significant digits without exponent: 0.123, 1.23, 12.3, 123. */
function three(value: number): string {
  const digits = value >= 100 ? 0 : value >= 10 ? 1 : 2
  return value.toFixed(digits)
}

const SMALL: [number, string][] = [
  [1, 'ns'],
  [1e3, 'µs'],
  [1e6, 'ms'],
  [1e9, 's'],
]
const LARGE: [number, string, number, string][] = [
  [60, 'm', 1, 's'],
  [3600, 'h', 60, 'm'],
  [86400, 'd', 3600, 'h'],
]

/** A duration of ns nanoseconds: 480 ns, 3.25 ms, 2 m 05 s, 2 h 51 m, 3 d 02 h. */
export function duration(ns: number): string {
  if (!Number.isFinite(ns)) return 'unknown'
  if (ns < 0) return MINUS + duration(-ns)
  if (ns === 0) return '0' + THIN + 'ms'
  for (let i = 0; i < SMALL.length; i++) {
    const [size, unit] = SMALL[i]!
    const limit = unit === 's' ? 60 : 1000
    const value = ns / size
    const shown = unit === 'ns' ? value.toFixed(0) : three(value)
    if (Number(shown) < limit) return shown + THIN + unit
  }
  const seconds = ns / 1e9
  for (let i = LARGE.length - 1; i >= 0; i--) {
    const [big, bigUnit, small, smallUnit] = LARGE[i]!
    const inSmall = Math.round(seconds / small)
    const whole = Math.floor((inSmall * small) / big)
    if (whole < 1) continue
    const rest = Math.round((inSmall * small - whole * big) / small)
    return count(whole) + THIN + bigUnit + THIN + String(rest).padStart(2, '0') + THIN + smallUnit
  }
  return three(seconds) + THIN + 's'
}

/** 48 211 903 */
export function count(n: number): string {
  const s = Math.abs(Math.round(n)).toString()
  return (n < 0 ? MINUS : '') + s.replace(/\B(?=(\d{3})+$)/g, THIN)
}

/** Part of a whole in [0, 1]: 0.4 %, 12.3 %, 99.99 %. Never 100 % unless it is all. */
export function share(x: number): string {
  if (!Number.isFinite(x)) return 'unknown'
  const p = x * 100
  let s: string
  if (p > 0 && p < 0.01) s = '< 0.01'
  else if (p >= 99.995 && p < 100) s = '> 99.99'
  else if (p > 99.9 && p < 100) s = p.toFixed(2)
  else if (p > 99 && p < 100) s = Math.min(p, 99.9).toFixed(1)
  else if (p >= 10 || p === 0) s = p.toFixed(p >= 99.95 || p === 0 ? 0 : 1)
  else s = p.toPrecision(2)
  return s + THIN + '%'
}

/** 1 204/s, 18.4/s, 0.35/s; what is rarer by the minute or the hour. */
export function rate(perSecond: number): string {
  if (!Number.isFinite(perSecond)) return 'unknown'
  for (const [size, unit] of [
    [1, '/s'],
    [60, '/min'],
    [3600, '/h'],
  ] as const) {
    const value = perSecond * size
    if (value >= 0.1 || (unit === '/h' && value > 0)) return (value >= 999.5 ? count(value) : value < 0.01 ? '< 0.01' : value.toPrecision(value < 1 ? 2 : 3)) + unit
  }
  return '0/s'
}

/** 940 B, 1.18 kB, 12.4 MB: powers of 1000. */
export function bytes(n: number): string {
  // A size is whole; a rate may be less than some bytes.
  if (n > 0 && n < 9.95 && !Number.isInteger(n)) return (n < 0.01 ? '< 0.01' : n.toPrecision(2)) + THIN + 'B'
  let value = n
  for (const unit of ['B', 'kB', 'MB', 'GB']) {
    const shown = unit === 'B' ? String(Math.round(value)) : three(value)
    if (Number(shown) < 1000 || unit === 'GB') return shown + THIN + unit
    value /= 1000
  }
  return ''
}

/** Unix nanoseconds as a Date; the nanoseconds below a millisecond are lost. */
export function date(ns: string): Date {
  return new Date(Number(BigInt(ns) / 1_000_000n))
}

const clock: Intl.DateTimeFormatOptions = { hour: '2-digit', minute: '2-digit', second: '2-digit', hour12: false }

/** 14:02:11.039, and the day before it when it is not today. */
export function time(ns: string, now: Date = new Date()): string {
  const d = date(ns)
  const t = d.toLocaleTimeString('en-GB', { ...clock, fractionalSecondDigits: 3 })
  if (d.toDateString() === now.toDateString()) return t
  return d.toLocaleDateString('en-GB', { day: 'numeric', month: 'short', ...(d.getFullYear() === now.getFullYear() ? {} : { year: 'numeric' }) }) + ' ' + t.slice(0, 8)
}

/** 23 Nov 2026, 14:02:11.039 GMT+1, for tooltips. */
export function fullTime(ns: string): string {
  return date(ns).toLocaleString('en-GB', { dateStyle: undefined, day: 'numeric', month: 'short', year: 'numeric', ...clock, fractionalSecondDigits: 3, timeZoneName: 'short' })
}

/** 3 m ago; one unit. */
export function ago(ns: string, now: Date = new Date()): string {
  const seconds = Math.round((now.getTime() - date(ns).getTime()) / 1000)
  if (seconds < 0) return 'in the future'
  if (seconds < 5) return 'now'
  for (const [size, unit] of [
    [86400, 'd'],
    [3600, 'h'],
    [60, 'm'],
    [1, 's'],
  ] as const) {
    if (seconds >= size) return Math.floor(seconds / size) + THIN + unit + ' ago'
  }
  return 'now'
}

/** The same words with plain spaces, for names that are read aloud or searched. */
export function plain(s: string): string {
  return s.replaceAll(THIN, ' ')
}

/** to − from of two Unix times in ns, as a number; exact below 104 days. */
export function minus(to: string, from: string): number {
  return Number(BigInt(to) - BigInt(from))
}

/** The first digits of a long id. */
export function short(id: string): string {
  return id.length > 13 ? id.slice(0, 8) + '…' + id.slice(-4) : id
}
