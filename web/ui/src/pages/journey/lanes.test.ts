import { describe, expect, it } from 'vitest'
import type { Hop, Journey, Span } from '../../api/types'
import { plain } from '../../lib/format'
import { lanesOf, MAX_ROWS, retryWords, workWords } from './lanes'

const T = 1_700_000_000_000_000_000n
const ms = (n: number) => String(T + BigInt(Math.round(n * 1e6)))
const part = (name: string, from: number, to: number) => ({ name, known: true, ns: (to - from) * 1e6, from: ms(from), to: ms(to) })

interface Way {
  topic: string
  offset?: number
  from?: string
  to?: string
  group?: string
  sent: number
  done?: number
  trace?: string
  sender?: string
  reader?: string
  retry?: [string, number, number, number]
  dead?: boolean
}

/** Sent at ms sent, appended 1 ms later, handed 2 ms before done. */
function hop(w: Way): Hop {
  const { topic, offset = 1, sent, done, trace = 'a' } = w
  const reader = w.reader ?? `r-${topic}-${offset}-${w.group ?? ''}`
  return {
    id: `${topic}:0:${offset}:${done === undefined ? 's' : reader}`,
    topic,
    partition: 0,
    offset,
    group: done === undefined ? '' : (w.group ?? 'g'),
    producer: w.from === undefined ? null : { traceId: trace, spanId: w.sender ?? `s-${topic}-${offset}`, service: w.from, clientId: '', operation: 'send', start: ms(sent), end: ms(sent + 1) },
    consumer: done === undefined ? null : { traceId: trace, spanId: reader, service: w.to ?? 'reader', clientId: '', operation: 'process', start: ms(done - 2), end: ms(done) },
    start: ms(sent),
    end: done === undefined ? ms(sent + 1) : ms(done),
    parts: [
      part('ack', sent, sent + 1),
      ...(done === undefined ? [{ name: 'backlog', known: false, ns: 0, from: null, to: null }] : [part('backlog', sent + 1, done - 2), part('processing', done - 2, done)]),
    ],
    endToEnd: { known: done !== undefined, ns: ((done ?? sent) - sent) * 1e6 },
    retry: w.retry ? { topic: w.retry[0], partition: w.retry[1], offset: w.retry[2], attempt: w.retry[3], firstSeen: null, inRetry: { known: false, ns: 0 }, deadLetter: w.dead ?? false } : undefined,
    roundTrip: { known: false, ns: 0 },
    sharedClock: true,
    record: { keyHash: null, size: null, attempts: 1, throttleNs: 0, timestamp: null, appended: ms(sent + 1), appendedByBroker: false, highWatermark: null },
    behind: null,
    delivery: 1,
    failed: false,
    estimatedEnd: false,
  } as Hop
}

function span(id: string, parent: string, service: string, from: number, to: number, trace = 'a'): Span {
  return { traceId: trace, spanId: id, parentId: parent, name: id, kind: 'internal', status: 'unset', statusMessage: '', start: ms(from), end: ms(to), service, scope: '', attributes: [], resource: [], events: [], links: [], linkCount: 0 }
}

function journey(hops: Hop[], spans: Span[] = [], durationMs = 1000): Journey {
  return { finding: { rule: '', tone: 'ok', title: [], text: [] }, traceId: 'a', traces: ['a'], services: [], start: ms(0), end: ms(durationMs), durationNs: durationMs * 1e6, spans, hops, events: [], totals: [], cut: [], skipped: 0, batches: [], critical: { totalNs: 0, start: null, end: null, segments: [], shares: [], cut: false } }
}

const px = (t: number) => t / 1e6
const lay = (j: Journey, selected?: string) => lanesOf(j, px, 1000, ms(2000), selected)
const names = (j: Journey) => lay(j).lanes.map((l) => l.name)
const words = (j: Journey) => lay(j).edges.filter((e) => e.kind === 'send').map((e) => e.words)

describe('lanes', () => {
  it('stand in the order of the message, services between topics', () => {
    const j = journey(
      [
        hop({ topic: 'shipping', from: 'payments', to: 'shipper', sent: 118, done: 200, sender: 'send2' }),
        hop({ topic: 'payments', from: 'shop', to: 'payments', sent: 10, done: 120, reader: 'pay' }),
      ],
      [span('GET', '', 'shop', 0, 30), span('s-payments-1', 'GET', 'shop', 10, 11), span('pay', 's-payments-1', 'payments', 118, 120), span('send2', 'pay', 'payments', 118, 119)],
    )
    const l = lay(j)
    expect(l.lanes.map((x) => x.kind + ' ' + x.name)).toEqual(['service shop', 'topic payments', 'service payments', 'topic shipping', 'service shipper'])
    expect(words(j)).toEqual(['', 'forward'])
    // The sender's lane shows its own topmost span.
    expect(l.lanes[0]!.works).toMatchObject([{ name: 'GET', from: 0, to: 30e6 }])
    expect(l.edges.map((e) => [e.kind, e.from.lane, e.to.lane])).toEqual([
      ['send', 0, 1],
      ['read', 1, 2],
      ['send', 2, 3],
      ['read', 3, 4],
    ])
    // A mark ends where its record is handed over; the processing is the service's.
    expect(l.lanes[1]!.marks).toMatchObject([{ from: 10e6, to: 118e6, fork: false }])
    expect(l.lanes[1]!.marks[0]!.segments.map((s) => (s.kind === 'part' ? s.name : s.kind))).toEqual(['ack', 'backlog'])
    expect(l.lanes[2]!.works).toMatchObject([{ from: 118e6, to: 120e6 }])
  })

  it('keep the order where clocks disagree', () => {
    expect(names(journey([hop({ topic: 'b', from: 'y', to: 'z', sent: 0, done: 5 }), hop({ topic: 'a', from: 'x', to: 'y', sent: 10, done: 20 })]))).toEqual(['x', 'a', 'y', 'b', 'z'])
  })

  it('end with a circle too: a service that sends to a topic that it reads', () => {
    expect(names(journey([hop({ topic: 't', from: 'x', to: 'x', sent: 0, done: 5 }), hop({ topic: 'u', from: 'x', to: 'y', sent: 6, done: 9 }), hop({ topic: 't', offset: 2, from: 'y', to: 'x', sent: 10, done: 12 })]))).toEqual(['x', 't', 'u', 'y'])
  })

  it('say retries, dead letters and forwards in words', () => {
    const j = journey([
      hop({ topic: 'orders', from: 'shop', to: 'pay', sent: 0, done: 10, reader: 'p0' }),
      hop({ topic: 'retry', from: 'pay', to: 'pay', sent: 9, done: 20, sender: 'p0', reader: 'p1', retry: ['orders', 0, 1, 1] }),
      hop({ topic: 'retry', offset: 2, from: 'pay', to: 'pay', sent: 19, done: 30, sender: 'p1', reader: 'p2', retry: ['orders', 0, 1, 2] }),
      hop({ topic: 'orders-dlq', from: 'pay', sent: 29, sender: 'p2', retry: ['orders', 0, 1, 3], dead: true }),
    ], [span('p0', '', 'pay', 8, 10), span('p1', '', 'pay', 18, 20), span('p2', '', 'pay', 28, 30)])
    expect(words(j)).toEqual(['', 'retry 1 of orders/0@1', 'retry 2 of orders/0@1', 'dead letter of orders/0@1'])
    expect(lay(j).edges.map((e) => e.tone).filter(Boolean)).toEqual(['warn', 'warn', 'bad'])
    expect(retryWords(hop({ topic: 't', sent: 0 }))).toBe('')
    expect(retryWords({ ...hop({ topic: 't', sent: 0 }), retry: { topic: '', partition: null, offset: null, attempt: 4, firstSeen: null, inRetry: { known: false, ns: 0 }, deadLetter: false } })).toBe('retry 4')
  })

  it('fan out to several groups, each in the row below', () => {
    const both = { topic: 'orders', from: 'shop', sent: 0 }
    const l = lay(journey([hop({ ...both, to: 'pay', group: 'b', done: 20 }), hop({ ...both, to: 'audit', group: 'a', done: 50 })]))
    const marks = l.lanes[1]!.marks
    expect(marks.map((m) => [m.hop.group, m.row, m.fork])).toEqual([
      ['a', 0, false],
      ['b', 1, true],
    ])
    // The way to the log is drawn once.
    expect(marks[1]!.segments.map((s) => (s.kind === 'part' ? s.name : s.kind))).toEqual(['backlog'])
    expect(l.edges.filter((e) => e.kind === 'send')).toHaveLength(1)
    expect(l.edges.filter((e) => e.kind === 'read')).toHaveLength(2)
  })

  it('leave what nobody has read open, and say how long it waits', () => {
    const m = lay(journey([hop({ topic: 't', from: 'x', sent: 10 })])).lanes[1]!.marks[0]!
    expect(m.to).toBe(1000e6)
    expect(m.waits).toBe(2000e6 - 11e6)
    expect(plain(m.label)).toBe('p0 · 1 · not read yet, waits 1.99 s')
    expect(m.segments.map((s) => s.kind)).toEqual(['part'])
  })

  it('show a record whose producer is missing, without an edge to it', () => {
    const l = lay(journey([hop({ topic: 't', to: 'y', sent: 0, done: 9 })]))
    expect(l.lanes.map((x) => x.name)).toEqual(['t', 'y'])
    expect(l.edges.map((e) => e.kind)).toEqual(['read'])
  })

  it('draw the bounds of the append where the hop crosses two clocks, as the waterfall does', () => {
    const h = hop({ topic: 't', from: 'x', to: 'y', sent: 0, done: 9 })
    h.parts[1] = { ...h.parts[1]!, uncertaintyNs: { lo: 1e6, hi: 7e6, wide: false } }
    expect(h.parts[1]!.to).toBe(ms(7)) // the reader's time stands: the record came 1 to 7 ms before it
    expect(lay(journey([h])).lanes[1]!.marks[0]!.append).toEqual({ lo: 0, hi: 6e6 })
  })

  it('draw one work of a batch', () => {
    const l = lay(journey([1, 2, 3].map((offset) => hop({ topic: 't', offset, from: 'x', to: 'y', sent: offset, done: 90, reader: 'batch' }))))
    expect(l.lanes.at(-1)!.works).toHaveLength(1)
    expect(l.lanes.at(-1)!.works[0]!.hops).toHaveLength(3)
    // Most of a large batch are no hops of the journey.
    const large = journey([hop({ topic: 't', from: 'x', to: 'y', sent: 0, done: 90, reader: 'batch' })])
    large.batches = [{ traceId: 'a', spanId: 'batch', service: 'y', records: 5000, told: null, shown: 1, topics: ['t'], group: 'g' }]
    expect(plain(workWords(lay(large).lanes.at(-1)!.works[0]!))).toBe('2.00 ms · 5 000 records')
  })

  it('give a work whose words stand at its left a row where nothing stands there', () => {
    const l = lay(journey([hop({ topic: 't', from: 'x', to: 'y', sent: 0, done: 940, reader: 'a' }), hop({ topic: 't', offset: 2, from: 'x', to: 'y', sent: 1, done: 990, reader: 'b' })]))
    expect(l.lanes.at(-1)!.works.map((w) => [w.id, w.side, w.row])).toEqual([
      ['a/a', 'right', 0],
      ['a/b', 'left', 1],
    ])
  })

  it('cut a label that is wider than the picture', () => {
    const l = lay(journey([hop({ topic: 'retry', from: 'x', to: 'y', sent: 0, done: 9, retry: ['o'.repeat(249), 0, 1, 1] })]))
    expect(l.lanes[1]!.marks[0]!.label).toMatch(/^p0 · 1 · retry 1 of o+…o+\/0@1$/)
  })

  it('are bounded: of two thousand records those that matter, and the selected one', () => {
    const many = Array.from({ length: 2000 }, (_, i) => hop({ topic: 't', offset: i, from: 'x', to: 'y', sent: i / 4, done: 900 }))
    many[700]!.failed = true
    const l = lay(journey(many), many[1500]!.id)
    const topic = l.lanes.find((x) => x.name === 't')!
    expect(topic.rows).toBeLessThanOrEqual(MAX_ROWS)
    expect(topic.marks.length + topic.left.length).toBe(2000)
    expect(topic.marks.map((m) => m.hop.id)).toEqual(expect.arrayContaining([many[700]!.id, many[1500]!.id]))
    expect([l.total, l.drawn]).toEqual([2000, topic.marks.length])
    for (const lane of l.lanes) expect(lane.works.length).toBeLessThanOrEqual(60)
    // Nothing lies on anything else.
    for (let row = 0; row < topic.rows; row++) {
      const line = topic.marks.filter((m) => m.row === row)
      line.slice(1).forEach((m, i) => expect(m.from).toBeGreaterThanOrEqual(line[i]!.to))
    }
  })

  it('lay out nothing of nothing', () => {
    expect(lay(journey([]))).toEqual({ lanes: [], edges: [], total: 0, drawn: 0 })
  })
})
