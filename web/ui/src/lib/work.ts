import type { Hop, Span } from '../api/types'
import type { Interval } from './axis'
import { subtract, union } from './axis'
import { minus } from './format'
import { partStyle } from './parts'
import { spanAt } from './placed'
import type { Row } from './tree'

/** Where the parts of hops meet, in ns after origin. */
export function edgesOf(hops: readonly Hop[], origin: string): number[] {
  const out = new Set<number>()
  for (const h of hops) for (const p of h.parts) if (p.from !== null && p.to !== null) out.add(minus(p.from, origin)).add(minus(p.to, origin))
  return [...out]
}

/**
 * When somebody works: the spans that are drawn, without the time in which one
 * of them waits for a send of its own, and the parts of hops that are work. What
 * is left is dead time. Times are ns after origin.
 */
export function workOf(rows: readonly Row[], spans: readonly Span[], hops: readonly Hop[], origin: string): Interval[] {
  const drawn = new Set<string>()
  for (const r of rows) if (r.kind === 'span') drawn.add(r.span.traceId + '/' + r.span.spanId)
  const sends: Interval[] = []
  const own: Interval[] = []
  for (const s of spans) {
    const i = spanAt(s, origin)
    if (drawn.has(s.traceId + '/' + s.spanId)) own.push(i)
    else sends.push(i)
  }
  // A span is taken out of its sends where they lie within it, and keeps what it has of
  // one that sticks out: of the joined ones those are at its two ends only.
  const merged = union(sends)
  const within = union(own).flatMap((i) => subtract(i, between(merged, i)))
  const work: Interval[] = within
  for (const s of own) {
    for (const t of [s.from, s.to]) {
      const m = merged[indexAt(merged, t)]
      if (m && m.from <= t && m.to >= t && !(m.from >= s.from && m.to <= s.to)) work.push({ from: Math.max(m.from, s.from), to: Math.min(m.to, s.to) })
    }
  }
  for (const h of hops) {
    for (const p of h.parts) {
      if (p.known && p.from !== null && p.to !== null && p.ns > 0 && !partStyle(p.name).waits) work.push({ from: minus(p.from, origin), to: minus(p.to, origin) })
    }
  }
  return union(work)
}

/** Index of the last of disjoint sorted intervals that begins at t or before; -1 when none does. */
function indexAt(list: readonly Interval[], t: number): number {
  let low = 0
  let high = list.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (list[middle]!.from <= t) low = middle + 1
    else high = middle
  }
  return low - 1
}

/** Those of disjoint sorted intervals that have something in common with i. */
function between(list: readonly Interval[], i: Interval): Interval[] {
  return list.slice(Math.max(0, indexAt(list, i.from)), indexAt(list, i.to) + 1)
}
