import { describe, expect, it } from 'vitest'
import type { Hop, Span } from '../api/types'
import { rowsOf } from './tree'
import { segments, waitingShare, hopLabel } from './parts'

export function span(spanId: string, parentId: string, start: number, end: number, more: Partial<Span> = {}): Span {
  return {
    traceId: 't', spanId, parentId, name: spanId, kind: 'internal', status: 'unset', statusMessage: '', start: String(start), end: String(end),
    service: 's', scope: '', attributes: [], resource: [], events: [], links: [], linkCount: 0, ...more,
  }
}

const NAMES = ['batch_queue', 'retry', 'ack', 'backlog', 'long_poll', 'fetch_queue', 'processing'] as const

/** A hop from start whose parts have these lengths; null is unknown, and the time after it must be told by gap. */
export function hop(id: string, from: string | null, to: string | null, start: number, lengths: (number | null)[], gap = 0, more: Partial<Hop> = {}): Hop {
  let at = start
  const parts = NAMES.map((name, i) => {
    const ns = lengths[i] ?? null
    if (ns === null) {
      at += lengths[i - 1] === null ? 0 : gap
      return { name, known: false, ns: 0, from: null, to: null }
    }
    const p = { name, known: true, ns, from: String(at), to: String(at + ns) }
    at += ns
    return p
  })
  const side = (spanId: string, operation: 'send' | 'process') => ({ traceId: 't', spanId, service: 's', clientId: '', operation, start: String(start), end: String(at) })
  return {
    id, topic: 'orders', partition: 3, offset: 42, group: 'g', producer: from ? side(from, 'send') : null, consumer: to ? side(to, 'process') : null,
    start: String(start), end: String(at), parts, endToEnd: { known: true, ns: at - start }, roundTrip: { known: false, ns: 0 }, sharedClock: true,
    record: { keyHash: null, size: null, attempts: 1, throttleNs: 0, timestamp: null, appended: null, appendedByBroker: false, highWatermark: null },
    behind: null, delivery: 1, failed: false, estimatedEnd: false, ...more,
  }
}

const shape = (rows: ReturnType<typeof rowsOf>) => rows.map((r) => '.'.repeat(r.depth) + r.kind[0] + ':' + r.id)

describe('rowsOf', () => {
  it('puts a hop in the place of its send span and its reader below it', () => {
    const rows = rowsOf(
      [span('root', '', 0, 40), span('send', 'root', 10, 15), span('process', 'send', 20, 30), span('sql', 'process', 21, 25)],
      [hop('h', 'send', 'process', 10, [1, 0, 4, 2, 1, 2, 10])],
    )
    expect(shape(rows)).toEqual(['s:root', '.h:h', '..s:process', '...s:sql'])
  })
  it('stands for the span that only fetched the record', () => {
    const poll = span('poll', 'send', 19, 20, {
      attributes: Object.entries({
        'messaging.operation.type': 'receive', 'messaging.destination.name': 'orders', 'messaging.destination.partition.id': '3',
        'messaging.kafka.offset': '42', 'messaging.consumer.group.name': 'g',
      }).map(([key, value]) => ({ key, value })),
    })
    const h = hop('h', 'send', 'process', 10, [1, 0, 4, 2, 1, 2, 10])
    const rows = rowsOf([span('root', '', 0, 40), span('send', 'root', 10, 15), poll, span('process', 'send', 20, 30)], [h])
    expect(shape(rows)).toEqual(['s:root', '.h:h', '..s:process'])
    expect(rows[1]).toMatchObject({ spans: [{ spanId: 'send' }, { spanId: 'poll' }] })
    const other = { ...poll, attributes: poll.attributes.map((a) => (a.key === 'messaging.kafka.offset' ? { ...a, value: '43' } : a)) }
    expect(shape(rowsOf([span('send', '', 10, 15), other, span('process', 'send', 20, 30)], [h]))).toEqual(['s:send', '.h:h', '..s:process', '.s:poll'])
  })
  it('keeps a send span that sent several records', () => {
    const rows = rowsOf([span('send', '', 0, 5)], [hop('a', 'send', null, 0, [1]), hop('b', 'send', null, 0, [1], 0, { offset: 43 })])
    expect(shape(rows)).toEqual(['s:send', '.h:a', '.h:b'])
  })
  it('draws two groups of one record as two hops in the place of one send span', () => {
    const rows = rowsOf([span('root', '', 0, 9), span('send', 'root', 0, 5)], [hop('a', 'send', null, 0, [1]), hop('b', 'send', null, 0, [1])])
    expect(shape(rows)).toEqual(['s:root', '.h:a', '.h:b'])
  })
  it('follows a reader in another trace', () => {
    const process = span('process', '', 20, 30, { traceId: 'u' })
    const h = hop('h', 'send', 'process', 1, [1, 0, 1, 1, 1, 1, 1])
    h.consumer!.traceId = 'u'
    expect(shape(rowsOf([span('root', '', 0, 9), span('send', 'root', 1, 2), process], [h]))).toEqual(['s:root', '.h:h', '..s:process'])
  })
  it('stands above its reader when nobody saw it sent', () => {
    expect(shape(rowsOf([span('process', '', 5, 9)], [hop('h', null, 'process', 4, [null, null, null, null, null, 1, 4])]))).toEqual(['h:h', '.s:process'])
  })
  it('shows spans whose parent is not stored', () => {
    expect(shape(rowsOf([span('a', 'gone', 2, 3), span('b', 'gone', 1, 2)], []))).toEqual(['s:b', 's:a'])
  })
  it('shows every row once when links form a cycle', () => {
    const rows = rowsOf(
      [span('a', 'b', 0, 1), span('b', 'a', 0, 1), span('self', 'self', 0, 1), span('p', 'q', 0, 1), span('q', 'p', 0, 1)],
      [hop('h', 'p', 'q', 0, [1]), hop('i', 'q', 'p', 0, [1])],
    )
    expect(rows.map((r) => r.id).sort()).toEqual(['a', 'b', 'h', 'i', 'p', 'q', 'self'].sort())
  })
  it('takes ten thousand nested spans', () => {
    const spans = Array.from({ length: 10_000 }, (_, i) => span('s' + i, i ? 's' + (i - 1) : '', i, 20_000 - i))
    expect(rowsOf(spans, []).at(-1)?.depth).toBe(9_999)
  })
})

describe('segments', () => {
  it('are the known parts in time order, without empty ones', () => {
    expect(segments(hop('h', 'a', 'b', 100, [10, 0, 5, 0, 20, 1, 30]), '100')).toEqual([
      { kind: 'part', name: 'batch_queue', from: 0, to: 10, ns: 10 },
      { kind: 'part', name: 'ack', from: 10, to: 15, ns: 5 },
      { kind: 'part', name: 'long_poll', from: 15, to: 35, ns: 20 },
      { kind: 'part', name: 'fetch_queue', from: 35, to: 36, ns: 1 },
      { kind: 'part', name: 'processing', from: 36, to: 66, ns: 30 },
    ])
  })
  it('leave one outline where parts are unknown', () => {
    const got = segments(hop('h', 'a', 'b', 0, [10, 0, 5, null, null, 1, 30], 100), '0')
    expect(got[2]).toEqual({ kind: 'unknown', names: ['backlog', 'long_poll'], from: 15, to: 115 })
  })
  it('mark a negative part instead of hiding it', () => {
    expect(segments(hop('h', 'a', 'b', 0, [10, 0, 5, 0, -3, 1, 30]), '0')).toContainEqual({ kind: 'negative', name: 'long_poll', from: 12, to: 15, ns: -3 })
  })
  it('outline all of it when nothing is known', () => {
    const h = hop('h', 'a', 'b', 0, [null, null, null, null, null, null, null])
    h.end = '50'
    expect(segments(h, '0')).toEqual([{ kind: 'unknown', names: [...NAMES], from: 0, to: 50 }])
  })
})

it('waitingShare counts what nobody worked on', () => {
  expect(waitingShare(hop('h', 'a', 'b', 0, [10, 0, 20, 30, 10, 10, 20]))).toBeCloseTo(0.6)
  expect(waitingShare(hop('h', 'a', 'b', 0, [null, null, null, null, null, null, null]))).toBeNaN()
})

it('hopLabel says every part, and unknown where it is', () => {
  expect(hopLabel(hop('h', 'a', 'b', 0, [1_200_000, 0, 5e6, null, null, 1e6, 3e6], 9))).toBe(
    'Hop orders p3 offset 42: batch queue 1.20 ms, ack 5.00 ms, backlog unknown, long poll unknown, fetch queue 1.00 ms, processing 3.00 ms',
  )
  expect(hopLabel(hop('h', 'a', null, 0, [1e6, 0, 1e6]))).toBe('Hop orders p3 offset 42: batch queue 1.00 ms, ack 1.00 ms, not read yet')
})
