import type { TopologyStep, TopologySteps } from '../../api/types'
import { date } from '../../lib/format'

export type Stretch = TopologyStep & { end: string }

/** All steps of the time, also those of nothing, which the server leaves out. */
export function stepsOf(s: TopologySteps): Stretch[] {
  const known = new Map(s.steps.map((x) => [x.start, x]))
  const step = BigInt(s.stepNs)
  const to = BigInt(s.to)
  const out: Stretch[] = []
  for (let at = BigInt(s.from); at < to && out.length < 1000; at += step) {
    const start = at.toString()
    const end = (at + step < to ? at + step : to).toString()
    out.push({ ...(known.get(start) ?? { start, written: 0, read: 0, failed: 0, wait: null }), end })
  }
  return out
}

/** The step that a time lies in; a link may be older than the steps that it names. */
export function stepAt(steps: readonly Stretch[], at: string): Stretch | undefined {
  if (!/^\d{1,19}$/.test(at)) return undefined
  const t = BigInt(at)
  return steps.find((s) => BigInt(s.start) <= t && t < BigInt(s.end))
}

/** 14:05, with the day before it where a time spans several. */
export function clockOf(ns: string, withDay: boolean): string {
  const d = date(ns)
  const t = d.toLocaleTimeString('en-GB', { hour: '2-digit', minute: '2-digit', hour12: false })
  return withDay ? d.toLocaleDateString('en-GB', { day: 'numeric', month: 'short' }) + ' ' + t : t
}
