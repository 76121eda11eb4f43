import type { Hop, Span } from '../api/types'
import type { Interval } from './axis'
import { subtract, union } from './axis'
import { minus } from './format'
import { partStyle } from './parts'
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
    const i = { from: minus(s.start, origin), to: minus(s.end, origin) }
    if (drawn.has(s.traceId + '/' + s.spanId)) own.push(i)
    else sends.push(i)
  }
  const merged = union(sends)
  const work: Interval[] = []
  for (const s of own) {
    const within = merged.filter((i) => i.from >= s.from && i.to <= s.to)
    if (within.length === 0) work.push(s)
    else work.push(...subtract(s, within))
  }
  for (const h of hops) {
    for (const p of h.parts) {
      if (p.known && p.from !== null && p.to !== null && p.ns > 0 && !partStyle(p.name).waits) work.push({ from: minus(p.from, origin), to: minus(p.to, origin) })
    }
  }
  return union(work)
}
