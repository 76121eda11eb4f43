import { axisOf, type Axis, type Interval, type Mode } from './axis'
import { duration } from './format'

/** A part of the axis as the URL has it: from-to, ns after the begin of the journey. Undefined when it is none, or the whole. */
export function readZoom(text: string | null, total: number): Interval | undefined {
  const m = /^(\d{1,18})-(\d{1,18})$/.exec(text ?? '')
  if (!m) return undefined
  const from = Math.min(Number(m[1]), total)
  const to = Math.min(Number(m[2]), total)
  return to > from && (from > 0 || to < total) ? { from, to } : undefined
}

export function writeZoom(z: Interval | undefined, total: number): string {
  if (!z) return ''
  const from = Math.max(0, Math.round(z.from))
  const to = Math.min(total, Math.max(Math.round(z.to), from + 1))
  return from === 0 && to >= total ? '' : `${from}-${to}`
}

/** A stretch scaled around its middle (below 1 nearer), or moved by a share of its length, within [0, total]. */
export function changed(z: Interval | undefined, total: number, scale: number, move = 0, around?: number): Interval {
  const now = z ?? { from: 0, to: total }
  const length = Math.min(Math.max((now.to - now.from) * scale, Math.min(100, total)), total)
  const middle = (around !== undefined && around >= now.from && around <= now.to ? around : (now.from + now.to) / 2) + move * (now.to - now.from)
  const from = Math.min(Math.max(0, middle - length / 2), total - length)
  return { from, to: from + length }
}

export interface ZoomedAxis extends Axis {
  /** The time at a place in [0, 1]. */
  t: (x: number) => number
  from: number
  to: number
}

/** The axis of a part of [0, total]; dead time within it is folded as on the whole. */
export function zoomedAxis(mode: Mode, total: number, z: Interval | undefined, work: readonly Interval[], ticksAcross: number, edges: readonly number[]): ZoomedAxis {
  const from = z?.from ?? 0
  const to = Math.max(z?.to ?? total, from + 1)
  const inner = axisOf(
    mode,
    to - from,
    z ? work.filter((w) => w.to > from && w.from < to).map((w) => ({ from: Math.max(w.from, from) - from, to: Math.min(w.to, to) - from })) : work,
    ticksAcross,
    z ? edges.filter((e) => e > from && e < to).map((e) => e - from) : edges,
  )
  const x = (t: number) => inner.x(t - from)
  return {
    ...inner,
    from,
    to,
    x,
    t: (place) => from + inverse(inner.x, place, to - from),
    breaks: inner.breaks.map((b) => ({ ...b, from: b.from + from, to: b.to + from })),
    ticks: from > 0 ? inner.ticks.map((tick, i) => ({ x: tick.x, label: i === 0 ? duration(from) : tick.label === '0' || tick.label.startsWith('+') ? tick.label : '+' + tick.label })) : inner.ticks,
  }
}

/** Where a rising function has a value. */
function inverse(f: (t: number) => number, value: number, most: number): number {
  let low = 0
  let high = most
  for (let i = 0; i < 60 && high - low > 0.5; i++) {
    const middle = (low + high) / 2
    if (f(middle) < value) low = middle
    else high = middle
  }
  return (low + high) / 2
}
