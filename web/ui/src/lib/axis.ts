import { duration, THIN } from './format'
import { textWidth } from './measure'

/** How time is laid on the axis. One key cycles them in this order. */
export const MODES = ['folded', 'linear', 'log'] as const
export type Mode = (typeof MODES)[number]

export interface Interval {
  from: number
  to: number
}

/** A stretch of the axis in which time runs evenly. */
interface Live extends Interval {
  x0: number
  x1: number
}

/** Where the axis is broken: dead time of length to − from. */
export interface Break extends Interval {
  x0: number
  x1: number
}

export interface Tick {
  x: number
  label: string
}

export interface Axis {
  mode: Mode
  /** Place of a time in [0, 1]. */
  x: (t: number) => number
  breaks: Break[]
  ticks: Tick[]
}

/** Sorted and joined. */
export function union(intervals: readonly Interval[]): Interval[] {
  const out: Interval[] = []
  for (const i of [...intervals].sort((a, b) => a.from - b.from)) {
    const last = out.at(-1)
    if (last && i.from <= last.to) last.to = Math.max(last.to, i.to)
    else out.push({ from: i.from, to: i.to })
  }
  return out
}

/** What of whole is in none of the intervals. */
export function subtract(whole: Interval, intervals: readonly Interval[]): Interval[] {
  const out: Interval[] = []
  let at = whole.from
  for (const i of union(intervals)) {
    if (i.from > at) out.push({ from: at, to: Math.min(i.from, whole.to) })
    at = Math.max(at, i.to)
    if (at >= whole.to) return out
  }
  if (at < whole.to) out.push({ from: at, to: whole.to })
  return out
}

/**
 * The waits that are longer than the rest of the page: all that is not folded
 * itself. At an edge one wait ends and another begins (backlog, then fetch queue).
 */
export function deadTime(total: number, work: readonly Interval[], edges: readonly number[] = []): Interval[] {
  const gaps = subtract({ from: 0, to: total }, work)
    .flatMap((g) => cut(g, edges))
    .sort((a, b) => a.to - a.from - (b.to - b.from))
  let rest = total - gaps.reduce((sum, g) => sum + g.to - g.from, 0)
  const dead: Interval[] = []
  for (const g of gaps) {
    const length = g.to - g.from
    if (dead.length > 0 || length > rest) dead.push(g)
    else rest += length
  }
  // A page broken into pieces reads worse than a long one.
  return dead.sort((a, b) => b.to - b.from - (a.to - a.from)).slice(0, 8).sort((a, b) => a.from - b.from)
}

function cut(g: Interval, edges: readonly number[]): Interval[] {
  const at = [g.from, ...edges.filter((e) => e > g.from && e < g.to).sort((a, b) => a - b), g.to]
  return at.slice(1).map((to, i) => ({ from: at[i]!, to }))
}

const BREAK_WIDTH = 0.1
const EDGE = 0.06

/** The axis of [0, total] ns; work is when somebody works, edges where a wait turns into another. */
export function axisOf(mode: Mode, total: number, work: readonly Interval[], ticksAcross = 8, edges: readonly number[] = []): Axis {
  const end = Math.max(total, 1)
  if (mode === 'log') return logAxis(end)
  const dead = mode === 'folded' ? deadTime(end, work, edges) : []
  if (dead.length === 0) {
    return { mode, breaks: [], x: (t) => clamp(t / end), ticks: evenTicks({ from: 0, to: end, x0: 0, x1: 1 }, ticksAcross, false) }
  }
  return foldedAxis(end, dead, ticksAcross)
}

function foldedAxis(end: number, dead: Interval[], ticksAcross: number): Axis {
  const spans: Interval[] = []
  let at = 0
  for (const d of dead) {
    spans.push({ from: at, to: d.from })
    at = d.to
  }
  spans.push({ from: at, to: end })
  // Each live stretch shows a little of the wait beside it.
  for (let i = 0; i < spans.length; i++) {
    const s = spans[i]!
    const room = i < dead.length ? dead[i]! : dead[i - 1]!
    const pad = Math.min(Math.max((s.to - s.from) * EDGE, 1), (room.to - room.from) / 4)
    if (i > 0) s.from -= pad
    if (i < dead.length) s.to += pad
  }
  const live = spans.filter((s) => s.to - s.from > 0)
  const breakWidth = Math.min(BREAK_WIDTH, 0.35 / dead.length)
  // A stretch of ten times the length gets 1.6 times the room, so that all of them can be read.
  const weights = live.map((s) => Math.pow(Math.max(s.to - s.from, 1), 0.2))
  const sum = weights.reduce((a, b) => a + b, 0)
  const room = 1 - breakWidth * dead.length
  const stretches: Live[] = []
  const breaks: Break[] = []
  let x = 0
  live.forEach((s, i) => {
    const before = stretches.at(-1)
    if (before) {
      breaks.push({ from: before.to, to: s.from, x0: x, x1: x + breakWidth })
      x += breakWidth
    } else if (s.from > 0) {
      breaks.push({ from: 0, to: s.from, x0: x, x1: x + breakWidth })
      x += breakWidth
    }
    const w = (weights[i]! / sum) * room
    stretches.push({ ...s, x0: x, x1: x + w })
    x += w
  })
  const last = stretches.at(-1)!
  if (last.to < end) breaks.push({ from: last.to, to: end, x0: x, x1: x + breakWidth })
  const pieces = [...stretches, ...breaks].sort((a, b) => a.from - b.from)
  return {
    mode: 'folded',
    breaks,
    x: (t) => {
      for (const p of pieces) if (t <= p.to) return clamp(p.x0 + clamp((t - p.from) / (p.to - p.from)) * (p.x1 - p.x0))
      return 1
    },
    ticks: stretches.flatMap((s, i) => evenTicks(s, Math.max(2, Math.round(ticksAcross * (s.x1 - s.x0))), i > 0 || s.from > 0)),
  }
}

function logAxis(end: number): Axis {
  const unit = Math.max(end / 1e7, 1000)
  const whole = Math.log1p(end / unit)
  const x = (t: number) => clamp(Math.log1p(Math.max(0, t) / unit) / whole)
  const ticks: Tick[] = [{ x: 0, label: '0' }]
  for (let t = Math.pow(10, Math.ceil(Math.log10(unit))); t < end; t *= 10) {
    if (x(t) - ticks.at(-1)!.x > 0.07 && x(t) < 0.97) ticks.push({ x: x(t), label: tidy(t) })
  }
  return { mode: 'log', breaks: [], x, ticks }
}

/** Round steps, counted from the beginning of the stretch when it follows a break. */
function evenTicks(s: Live, many: number, again: boolean): Tick[] {
  const length = s.to - s.from
  const step = niceStep(length / Math.max(1, many))
  const out: Tick[] = []
  for (let t = 0; t < length * 0.985; t += step) {
    if (out.length > 40) break
    const label = t === 0 ? (again ? '+0' : '0') : (again ? '+' : '') + tidy(t)
    out.push({ x: s.x0 + (t / length) * (s.x1 - s.x0), label })
  }
  return out
}

/** Room in px beside the sign of a break. */
const SIGN = 8

/** The wait that breaks swallow writes its length on one of them: on that which swallows most of it. */
export function lengthsOnBreaks<S extends Interval & { kind: string }>(list: readonly S[], breaks: readonly Break[]): { s: S; b: Break }[] {
  return list.flatMap((s) => {
    if (s.kind === 'negative') return []
    const within = (b: Break) => Math.min(s.to, b.to) - Math.max(s.from, b.from)
    const most = breaks.filter((b) => within(b) > (b.to - b.from) / 2).sort((a, b) => within(b) - within(a))[0]
    return most ? [{ s, b: most }] : []
  })
}

/** The ticks whose labels have room on an axis of so many px: beside each other, the signs of breaks and the right edge. */
export function labelled(axis: Pick<Axis, 'ticks' | 'breaks'>, width: number): Tick[] {
  const signs = axis.breaks.map((b) => ((b.x0 + b.x1) / 2) * width)
  let taken = -Infinity
  return axis.ticks.filter((t) => {
    const from = t.x * width + 4
    const to = from + textWidth(t.label)
    if (from < taken || to > width || signs.some((at) => to > at - SIGN && from < at + SIGN)) return false
    taken = to + 6
    return true
  })
}

const STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500]
const SECONDS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400]

function niceStep(ns: number): number {
  for (const unit of [1, 1e3, 1e6]) for (const s of STEPS) if (s * unit >= ns) return s * unit
  for (const s of SECONDS) if (s * 1e9 >= ns) return s * 1e9
  return Math.ceil(ns / 86_400e9) * 86_400e9
}

/** A round duration without needless zeros: 20 ms, 1 s, 2 h. */
function tidy(ns: number): string {
  return duration(ns)
    .replace(/\.0+(?=\D)/, '')
    .replace(/(\.\d*?)0+(?=\D)/, '$1')
    .replace(new RegExp(`${THIN}00${THIN}.$`), '')
}

function clamp(x: number): number {
  return x < 0 ? 0 : x > 1 ? 1 : x
}
