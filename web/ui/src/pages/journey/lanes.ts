import type { Hop, Journey, Span } from '../../api/types'
import { count, duration, minus } from '../../lib/format'
import { fitted, textWidth } from '../../lib/measure'
import { appendBounds, segments, type Segment } from '../../lib/parts'
import { spanAt } from '../../lib/placed'

/** One reading of a record in its topic's lane, until it was handed over. Times are ns after the journey's start. */
export interface Mark {
  hop: Hop
  row: number
  segments: Segment[]
  from: number
  to: number
  /** Not read yet: how long it has waited; undefined when it was read. */
  waits: number | undefined
  /** What stands above it: its name and what it was made of. */
  label: string
  /** Made of another record: a retry, a dead letter or a forward; else empty. */
  words: string
  /** A further group, or delivery, of the record in the row above. */
  fork: boolean
  /** Between which times it was appended, where two clocks were compared. */
  append: { lo: number; hi: number } | undefined
}

/** Work of a service: the processing of records, or what sent the first ones. */
export interface Work {
  id: string
  row: number
  from: number
  to: number
  /** What it read, or the name of the span that only sends. */
  hops: Hop[]
  name: string
  failed: boolean
  /** How many records it read: of a large batch most are no hops of the journey. */
  records: number
  /** What stands beside it. */
  words: string
  /** Where they stand: beside it, or over its end where neither side has room. */
  side: 'right' | 'left' | 'over'
}

export interface Lane {
  kind: 'topic' | 'service'
  name: string
  rows: number
  marks: Mark[]
  works: Work[]
  /** Readings and works that have no place of their own in the lane. */
  left: { from: number; to: number }[]
}

export interface Place {
  lane: number
  row: number
  at: number
}

export interface Edge {
  from: Place
  to: Place
  kind: 'send' | 'read'
  words: string
  tone: '' | 'warn' | 'bad'
  /** The hop that it belongs to. */
  id: string
}

export interface Lanes {
  lanes: Lane[]
  edges: Edge[]
  /** Readings in all, and those that are drawn one by one. */
  total: number
  drawn: number
}

/** Most rows of a lane, and most records that are drawn one by one in it. */
export const MAX_ROWS = 12
export const MAX_RECORDS = 60

const PRODUCERS = new Set(['batch_queue', 'retry', 'ack'])

interface Reading {
  record: string
  hop: Hop
}

/**
 * The lanes of a journey: topics in the order in which the message passes them,
 * with services between. x gives the place of a time in a picture of width px, so
 * that what would overlap gets rows of its own; now is when the journey was read.
 */
export function lanesOf(j: Journey, x: (t: number) => number, width: number, now: string, selected?: string): Lanes {
  const spans = new Map(j.spans.map((s) => [s.traceId + '/' + s.spanId, s]))
  const { works, senders } = worksOf(j, spans)
  const order = orderOf(j, works)
  const at = new Map(order.map((n, i) => [n, i]))
  const lanes: Lane[] = order.map((n) => ({ kind: n[0] === 't' ? 'topic' : 'service', name: n.slice(2), rows: 1, marks: [], works: [], left: [] }))
  const byTopic = new Map<string, Reading[]>()
  for (const hop of j.hops) push(byTopic, hop.topic, { record: recordOf(hop), hop })
  for (const [topic, readings] of byTopic) layTopic(lanes[at.get('t:' + topic)!]!, readings, { j, x, width, now, selected, words: (h) => retryWords(h) || (works.get(senders.get(h.id) ?? '')?.reads ? 'forward' : '') })
  const wanted = new Set(lanes.flatMap((l) => l.marks.map((m) => m.hop.id)))
  for (const [service, list] of groupBy(works.values(), (w) => w.service)) layService(lanes[at.get('s:' + service)!]!, list, x, width, wanted)
  const edges = edgesBetween(lanes, works, senders)
  return { lanes, edges, total: j.hops.length, drawn: wanted.size }
}

/** Names a record; one whose offset nobody told is its span's. */
function recordOf(h: Hop): string {
  const sent = h.producer ? h.producer.traceId + h.producer.spanId : ''
  return h.partition === null || h.offset === null ? h.id : `${h.partition}/${h.offset}/${sent}`
}

/** What became of the record that failed, as an edge says it; empty for any other. whose: with that record's name. */
export function retryWords(h: Hop, whose = true): string {
  const r = h.retry
  if (!r || (r.attempt === 0 && !r.topic)) return ''
  const of = whose && r.topic ? ` of ${r.topic}${r.partition === null || r.offset === null ? '' : `/${r.partition}@${r.offset}`}` : ''
  return r.deadLetter ? 'dead letter' + of : r.attempt > 0 ? `retry ${r.attempt}${of}` : 'sent on' + of
}

interface Doing extends Omit<Work, 'row' | 'words' | 'side'> {
  service: string
  reads: boolean
}

/** The works by the spans that do them; a sender's is the topmost span of its service above it. */
function worksOf(j: Journey, spans: ReadonlyMap<string, Span>): { works: Map<string, Doing>; senders: Map<string, string> } {
  const works = new Map<string, Doing>()
  const senders = new Map<string, string>()
  const batches = new Map(j.batches.map((b) => [b.traceId + '/' + b.spanId, b.records]))
  for (const h of j.hops) {
    const c = h.consumer
    if (!c) continue
    const key = c.traceId + '/' + c.spanId
    const to = h.end ? minus(h.end, j.start) : minus(c.end, j.start) + (h.movedNs ?? 0)
    const from = Math.min(handedAt(h, j.start) ?? minus(c.start, j.start) + (h.movedNs ?? 0), to)
    const w = works.get(key)
    if (w) {
      w.from = Math.min(w.from, from)
      w.to = Math.max(w.to, to)
      w.hops.push(h)
      w.records = Math.max(w.records, w.hops.length)
      w.failed ||= h.failed
    } else works.set(key, { id: key, service: c.service, from, to, hops: [h], name: '', failed: h.failed, reads: true, records: batches.get(key) ?? 1 })
  }
  for (const h of j.hops) {
    if (!h.producer || h.start === null) continue
    const key = workOf(h, spans, works)
    senders.set(h.id, key)
    const from = minus(h.start, j.start)
    const to = Math.max(from, from + minus(h.producer.end, h.producer.start))
    const top = spans.get(key)
    const w = works.get(key)
    if (w) {
      if (!w.reads) {
        w.from = Math.min(w.from, from)
        w.to = Math.max(w.to, to)
      }
      continue
    }
    works.set(key, {
      id: key,
      service: h.producer.service,
      from: top ? Math.min(from, spanAt(top, j.start).from) : from,
      to: top ? Math.max(to, spanAt(top, j.start).to) : to,
      hops: [],
      name: top?.name ?? 'send',
      failed: top?.status === 'error',
      reads: false,
      records: 0,
    })
  }
  return { works, senders }
}

/** The work that sent the hop's record: the nearest reading above its send span, else the topmost span of the same service. */
function workOf(h: Hop, spans: ReadonlyMap<string, Span>, works: ReadonlyMap<string, { reads: boolean }>): string {
  const p = h.producer!
  let key = p.traceId + '/' + p.spanId
  let top = key
  const seen = new Set<string>()
  for (let s = spans.get(key); s && !seen.has(key); s = spans.get(key)) {
    seen.add(key)
    if (works.get(key)?.reads) return key
    if (s.service === p.service) top = key
    if (!s.parentId) break
    key = p.traceId + '/' + s.parentId
  }
  return works.get(key)?.reads ? key : top
}

/** When the record was handed to the application; undefined when nobody told. */
function handedAt(h: Hop, origin: string): number | undefined {
  const p = h.parts.find((q) => q.name === 'processing')
  return p?.known && p.from !== null ? minus(p.from, origin) : undefined
}

/** Lanes in the order of the message's way: each behind the one that led to it first, and of those the earlier first. A circle begins where it was entered first. */
function orderOf(j: Journey, works: ReadonlyMap<string, Doing>): string[] {
  const first = new Map<string, number>()
  const after = new Map<string, { node: string; t: number }>()
  const see = (node: string, t: number) => first.set(node, Math.min(first.get(node) ?? Infinity, t))
  const link = (node: string, to: string, t: number) => {
    if (node !== to && t < (after.get(to)?.t ?? Infinity)) after.set(to, { node, t })
  }
  for (const h of j.hops) {
    const topic = 't:' + h.topic
    const t = h.start === null ? 0 : minus(h.start, j.start)
    see(topic, t)
    if (h.producer) {
      see('s:' + h.producer.service, t)
      link('s:' + h.producer.service, topic, t)
    }
    if (h.consumer) {
      const handed = handedAt(h, j.start) ?? minus(h.consumer.start, j.start) + (h.movedNs ?? 0)
      see('s:' + h.consumer.service, handed)
      link(topic, 's:' + h.consumer.service, handed)
    }
  }
  for (const w of works.values()) see('s:' + w.service, w.from)
  const left = [...first.keys()].sort((a, b) => first.get(a)! - first.get(b)! || (a < b ? -1 : 1))
  const out: string[] = []
  while (left.length > 0) {
    const free = left.findIndex((n) => !left.includes(after.get(n)?.node ?? ''))
    out.push(...left.splice(Math.max(free, 0), 1))
  }
  return out
}

const GAP = 6

/** What a label takes in px, and the room behind it. */
export function labelWidth(m: Pick<Mark, 'label' | 'hop'>): number {
  return textWidth(m.label, isBad(m.hop)) + 8
}

/** What failed for good is written bold. */
export function isBad(h: Hop): boolean {
  return h.failed || (h.retry?.deadLetter ?? false)
}

interface Picture {
  j: Journey
  x: (t: number) => number
  width: number
  now: string
  selected: string | undefined
  words: (h: Hop) => string
}

function layTopic(lane: Lane, readings: readonly Reading[], { j, x, width, now, selected, words }: Picture) {
  const records = [...groupBy(readings, (r) => r.record).values()].map((list) => ({
    hops: list.map((r) => r.hop).sort((a, b) => (a.group < b.group ? -1 : a.group > b.group ? 1 : a.delivery - b.delivery)),
    from: Math.min(...list.map((r) => startOf(r.hop, j))),
  }))
  const worth = (hops: readonly Hop[]) =>
    Math.max(...hops.map((h) => (h.id === selected ? 1e30 : 0) + (h.failed ? 1e24 : 0) + (h.retry ? 1e23 : 0) + (h.consumer ? 0 : 1e22) + Math.max(0, h.endToEnd.ns)))
  const chosen = records.length > MAX_RECORDS ? new Set([...records].sort((a, b) => worth(b.hops) - worth(a.hops)).slice(0, MAX_RECORDS)) : undefined
  // By time; the worthiest first where not all have a row.
  const queue = [...records].sort((a, b) => a.from - b.from)
  const ends: number[] = []
  const place = (list: typeof queue) => {
    for (const r of list) {
      const marks = r.hops.map((h, i) => markOf(h, i > 0, r.hops.length > 1, words(h), j, now)).map((m) => ({ ...m, label: fitted(m.label, width - 12, isBad(m.hop)) }))
      const labels = marks.map((m) => Math.max(0, Math.min(x(m.from), width - labelWidth(m))))
      const from = Math.min(...marks.map((m) => x(m.from)), ...labels)
      const to = Math.max(...marks.map((m) => (m.waits === undefined ? x(m.to) : width)), ...marks.map((m, i) => labels[i]! + labelWidth(m)))
      const row = (chosen === undefined || chosen.has(r)) && marks.length <= MAX_ROWS ? rowFor(ends, marks.length, from) : -1
      if (row < 0) {
        for (const m of marks) lane.left.push({ from: m.from, to: m.to })
        continue
      }
      marks.forEach((m, i) => {
        ends[row + i] = to + GAP
        lane.marks.push({ ...m, row: row + i })
      })
    }
  }
  const special = (r: (typeof queue)[number]) => worth(r.hops) >= 1e22
  if (records.length > MAX_ROWS) {
    place(queue.filter(special))
    const rest = queue.filter((r) => !special(r))
    place(rest)
  } else place(queue)
  lane.rows = Math.max(1, ends.length)
  lane.marks.sort((a, b) => a.from - b.from || a.row - b.row)
}

/** The first of some rows below each other that are free from a place on; −1 when the lane is full. */
function rowFor(ends: readonly number[], rows: number, from: number): number {
  for (let row = 0; row + rows <= MAX_ROWS; row++) {
    let free = true
    for (let i = row; i < row + rows; i++) free &&= (ends[i] ?? -Infinity) <= from
    if (free) return row
  }
  return -1
}

function startOf(h: Hop, j: Journey): number {
  return h.start === null ? 0 : minus(h.start, j.start)
}

/** p3 · 918 273, and what it was made of. */
function labelOf(h: Hop, fork: boolean, several: boolean, words: string, waits: number | undefined): string {
  const reader = h.consumer ? (h.group ? 'group ' + h.group : 'no group') + (h.delivery > 1 ? ', delivery ' + h.delivery : '') : ''
  const name = fork ? [] : [`${h.partition === null ? 'p?' : 'p' + h.partition} · ${h.offset === null ? 'offset unknown' : count(h.offset)}`, words]
  return [...name, several ? reader : h.delivery > 1 ? 'delivery ' + h.delivery : '', h.failed ? 'failed' : '', waits === undefined ? '' : 'not read yet, waits ' + duration(waits)].filter(Boolean).join(' · ')
}

function markOf(h: Hop, fork: boolean, several: boolean, words: string, j: Journey, now: string): Mark {
  const handed = handedAt(h, j.start)
  const end = h.end === null ? j.durationNs : minus(h.end, j.start)
  const to = h.consumer ? Math.min(handed ?? Math.max(startOf(h, j), minus(h.consumer.start, j.start) + (h.movedNs ?? 0)), end) : j.durationNs
  let list = segments(h, j.start)
    .filter((s) => !(s.kind === 'part' && s.name === 'processing'))
    .map((s) => (s.kind === 'unknown' ? { ...s, names: s.names.filter((n) => n !== 'processing') } : s))
    .filter((s) => s.kind !== 'unknown' || s.names.length > 0)
    .map((s) => (h.consumer && s.kind !== 'negative' ? { ...s, to: Math.min(s.to, Math.max(to, s.from)) } : s))
    .filter((s) => s.kind === 'negative' || s.to > s.from)
  if (fork) list = list.filter((s) => (s.kind === 'unknown' ? s.names.some((n) => !PRODUCERS.has(n)) : !PRODUCERS.has(s.name)))
  if (!h.consumer) list = list.filter((s) => s.kind !== 'unknown' || s.names.some((n) => PRODUCERS.has(n)))
  const from = list[0]?.from ?? (fork ? to : startOf(h, j))
  const written = h.record.appended ?? h.producer?.end ?? h.start
  const waits = h.consumer || written === null ? undefined : Math.max(0, minus(now, written))
  return { hop: h, row: 0, segments: list, from: Math.min(from, to), to, fork, append: appendBounds(h, j.start), waits, words, label: labelOf(h, fork, several, words, waits) }
}

function layService(lane: Lane, works: readonly Doing[], x: (t: number) => number, width: number, wanted: ReadonlySet<string>) {
  const ends: number[] = []
  const worth = (w: Doing) => (w.hops.length === 0 || w.hops.some((h) => wanted.has(h.id)) ? 1 : 0)
  const all = [...works].sort((a, b) => worth(b) - worth(a) || a.from - b.from)
  const rows = MAX_ROWS / 2
  for (const w of all) {
    const words = fitted(workWords(w), width - 12)
    const room = textWidth(words) + 8
    const from = x(w.from)
    const to = Math.max(x(w.to), from + 3)
    const side = to + room < width ? 'right' : from > room ? 'left' : 'over'
    const begin = side === 'left' ? from - room : side === 'over' ? Math.max(0, Math.min(from, width - room)) : from
    let row = -1
    for (let i = 0; i < rows && row < 0; i++) if ((ends[i] ?? -Infinity) <= begin) row = i
    if (row < 0 || lane.works.length >= MAX_RECORDS) {
      lane.left.push({ from: w.from, to: w.to })
      continue
    }
    ends[row] = (side === 'right' ? to + room : side === 'left' ? to : Math.max(to, begin + room)) + GAP
    lane.works.push({ id: w.id, row, from: w.from, to: w.to, hops: w.hops, name: w.name, failed: w.failed, records: w.records, words, side })
  }
  lane.rows = Math.max(1, ends.length)
}

/** What stands beside a work. */
export function workWords(w: Pick<Work, 'hops' | 'name' | 'from' | 'to' | 'records'>): string {
  if (w.hops.length === 0) return w.name
  return duration(w.to - w.from) + (w.records > 1 ? ' · ' + count(w.records) + ' records' : '')
}

function edgesBetween(lanes: readonly Lane[], works: ReadonlyMap<string, Doing>, senders: ReadonlyMap<string, string>): Edge[] {
  const places = new Map<string, { lane: number; work: Work }>()
  lanes.forEach((l, lane) => l.works.forEach((work) => places.set(work.id, { lane, work })))
  const spansOf = new Map<string, string>()
  for (const w of works.values()) for (const h of w.hops) spansOf.set(h.id, w.id)
  const edges: Edge[] = []
  for (const [i, lane] of lanes.entries()) {
    for (const m of lane.marks) {
      const here = (t: number): Place => ({ lane: i, row: m.row, at: t })
      const sender = m.fork ? undefined : places.get(senders.get(m.hop.id) ?? '')
      if (sender) {
        const tone = m.hop.retry?.deadLetter ? 'bad' : retryWords(m.hop) ? 'warn' : ''
        edges.push({ from: { lane: sender.lane, row: sender.work.row, at: m.from }, to: here(m.from), kind: 'send', words: m.words, tone, id: m.hop.id })
      }
      const reader = places.get(spansOf.get(m.hop.id) ?? '')
      if (reader) edges.push({ from: here(m.to), to: { lane: reader.lane, row: reader.work.row, at: reader.work.from }, kind: 'read', words: '', tone: '', id: m.hop.id })
    }
  }
  return edges
}

function groupBy<K, V>(list: Iterable<V>, key: (v: V) => K): Map<K, V[]> {
  const out = new Map<K, V[]>()
  for (const v of list) push(out, key(v), v)
  return out
}

function push<K, V>(map: Map<K, V[]>, key: K, v: V) {
  const list = map.get(key)
  if (list) list.push(v)
  else map.set(key, [v])
}
