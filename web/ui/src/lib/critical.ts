import type { CriticalPiece, Journey } from '../api/types'
import type { Interval } from './axis'
import { minus } from './format'
import type { Row } from './tree'

/** The pieces of the critical path by the row that they are drawn on, ns after the begin; those of spans that a hop stands for are on the hop. */
export function pathByRow(journey: Journey, rows: readonly Row[]): Map<string, Interval[]> {
  const home = new Map<string, string>()
  for (const r of rows) if (r.kind === 'hop') for (const s of r.spans) home.set(s.spanId, r.id)
  const out = new Map<string, Interval[]>()
  for (const p of journey.critical.segments) {
    const row = home.get(p.row) ?? p.row
    const list = out.get(row)
    const i = interval(p, journey.start)
    if (!list) out.set(row, [i])
    else if (list.at(-1)!.to === i.from) list.at(-1)!.to = i.to
    else list.push(i)
  }
  return out
}

function interval(p: CriticalPiece, origin: string): Interval {
  const a = minus(p.from, origin)
  const b = minus(p.to, origin)
  return { from: Math.min(a, b), to: Math.max(a, b) }
}
