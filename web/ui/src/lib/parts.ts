import type { Hop, PartName } from '../api/types'
import { count, duration, minus, plain } from './format'

/** How one part of a hop is named and drawn. */
export interface PartStyle {
  name: PartName
  label: string
  /** Colour token: hue is whose time it is. */
  token: string
  /** Nobody works on the message: hatched. */
  waits: boolean
  whose: 'producer' | 'broker' | 'consumer'
  explain: string
}

/** The parts in time order. */
export const PARTS: readonly PartStyle[] = [
  { name: 'batch_queue', label: 'Batch queue', token: 'batch', waits: true, whose: 'producer', explain: 'send called → request written: linger' },
  { name: 'retry', label: 'Retry', token: 'retry', waits: true, whose: 'producer', explain: 'first → last time the request was written' },
  { name: 'ack', label: 'Ack', token: 'ack', waits: false, whose: 'producer', explain: 'request written → record appended' },
  { name: 'backlog', label: 'Backlog', token: 'backlog', waits: true, whose: 'broker', explain: 'appended → the group asked for it: the group is behind' },
  { name: 'long_poll', label: 'Long poll', token: 'poll', waits: true, whose: 'broker', explain: 'the group was waiting for it' },
  { name: 'fetch_queue', label: 'Fetch queue', token: 'fetchq', waits: true, whose: 'consumer', explain: 'fetched → handed to the application' },
  { name: 'processing', label: 'Processing', token: 'process', waits: false, whose: 'consumer', explain: 'handed to the application → done' },
]

/** The commit that covers the record: after the hop, and no part of its end to end. */
export const SETTLE = { name: 'settle', label: 'Settle', token: 'settle', waits: false, whose: 'consumer', explain: 'commit asked → acknowledged, after the application was done' } as const satisfies PartStyle

const byName = new Map<string, PartStyle>([...PARTS, SETTLE].map((p) => [p.name, p]))

export function partStyle(name: string): PartStyle {
  return byName.get(name) ?? PARTS[0]!
}

export function fillOf(p: PartStyle): string {
  return p.waits ? `url(#hatch-${p.token})` : `var(--${p.token})`
}

/** A stretch of a hop as it is drawn; times are ns after origin. */
export type Segment =
  | { kind: 'part'; name: PartName; from: number; to: number; ns: number }
  /** Between two known times lies time whose parts nobody measured. */
  | { kind: 'unknown'; names: PartName[]; from: number; to: number }
  /** A part below zero: two clocks disagree. */
  | { kind: 'negative'; name: PartName; from: number; to: number; ns: number }

/** Lays the parts of a hop on the time axis. What is unknown becomes the gap that it leaves between known times. */
export function segments(hop: Hop, origin: string): Segment[] {
  const out: Segment[] = []
  if (hop.start === null || hop.end === null) return out
  const end = minus(hop.end, origin)
  let cursor = minus(hop.start, origin)
  let pending: PartName[] = []
  for (const p of hop.parts) {
    if (!p.known || p.from === null || p.to === null) {
      pending.push(p.name)
      continue
    }
    const from = minus(p.from, origin)
    const to = minus(p.to, origin)
    if (pending.length > 0 && from > cursor) out.push({ kind: 'unknown', names: pending, from: cursor, to: from })
    pending = []
    if (p.ns < 0) out.push({ kind: 'negative', name: p.name, from: to, to: from, ns: p.ns })
    else if (p.ns > 0) out.push({ kind: 'part', name: p.name, from, to, ns: p.ns })
    cursor = Math.max(cursor, to)
  }
  if (pending.length > 0 && end > cursor) out.push({ kind: 'unknown', names: hop.consumer ? pending : pending.slice(0, 3), from: cursor, to: end })
  return out
}

/** Between which times the append truly lies, ns after origin, where two clocks were compared: the reader's times stand, the writer's are placed beside them. */
export function appendBounds(hop: Hop, origin: string): { lo: number; hi: number } | undefined {
  const crossing = hop.parts.find((p) => p.known && p.uncertaintyNs && p.to !== null)
  const off = hop.residence?.uncertaintyNs ?? crossing?.uncertaintyNs
  const fetched = (hop.residence ? hop.parts.find((p) => p.name === 'long_poll')?.to : null) ?? crossing?.to
  if (!off || !fetched) return undefined
  const to = minus(fetched, origin)
  return { lo: to - off.hi, hi: to - off.lo }
}

export const appendWords = (b: { lo: number; hi: number }) => `appended here ± ${duration((b.hi - b.lo) / 2)}: two clocks were compared`

/** Share of a hop that nobody worked on: batch queue, retry, backlog, long poll and fetch queue. In [0, 1]; NaN when no part is known. */
export function waitingShare(hop: Hop): number {
  let sum = 0
  let waiting = 0
  let known = false
  for (const p of hop.parts) {
    if (!p.known) continue
    known = true
    const ns = Math.max(0, p.ns)
    sum += ns
    if (partStyle(p.name).waits) waiting += ns
  }
  return known && sum > 0 ? waiting / sum : Number.NaN
}

/** orders p3 offset 42, in plain spaces. */
export function recordName(hop: Hop): string {
  return `${hop.topic} ${hop.partition === null ? 'partition unknown' : 'p' + hop.partition} ${hop.offset === null ? 'offset unknown' : 'offset ' + plain(count(hop.offset))}`
}

/** What a picture of a hop says to who cannot see it. */
export function hopLabel(hop: Hop): string {
  const parts = hop.parts
    .filter((p) => p.name !== 'retry' || !p.known || p.ns !== 0)
    .filter((p) => hop.consumer !== null || p.known)
    .map((p) => `${partStyle(p.name).label.toLowerCase()} ${p.known ? plain(duration(p.ns)) : 'unknown'}`)
  if (hop.settle?.known) parts.push('settle ' + plain(duration(hop.settle.ns)))
  return `Hop ${recordName(hop)}: ${[...parts, ...(hop.consumer === null ? ['not read yet'] : [])].join(', ')}`
}
