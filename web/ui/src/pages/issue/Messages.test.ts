import { describe, expect, it } from 'vitest'
import type { AgeBucket, MessageDimension, MessageValue } from '../../api/types'
import { plain } from '../../lib/format'
import { ageBars, shownDimensions, valueOf } from './Messages'

const bounds = [1e6, 1e7, 1e8, 1e9, null]

function buckets(events: number[], baseline: number[]): AgeBucket[] {
  return bounds.map((belowNs, i) => ({ belowNs, events: events[i] ?? 0, records: events[i] ?? 0, baseline: baseline[i] ?? 0 }))
}

describe('ageBars', () => {
  it('shows what anything is in, with one bucket on each side', () => {
    const bars = ageBars(buckets([0, 0, 3, 1], []))
    expect(bars.map((b) => plain(b.label))).toEqual(['< 10 ms', '< 100 ms', '< 1 s', '> 1 s'])
    expect(bars.map((b) => b.share)).toEqual([0, 0.75, 0.25, 0])
    expect(bars.every((b) => b.baseline === undefined)).toBe(true)
  })
  it('sets all records beside the events', () => {
    const bars = ageBars(buckets([0, 0, 0, 0, 4], [8, 0, 0, 0, 2]))
    expect(bars).toHaveLength(5)
    expect(bars.map((b) => b.baseline)).toEqual([0.8, 0, 0, 0, 0.2])
    expect(bars.map((b) => b.events)).toEqual([0, 0, 0, 0, 4])
  })
  it('shows nothing when no age is known', () => {
    expect(ageBars(buckets([], [5]))).toEqual([])
    expect(ageBars([])).toEqual([])
  })
})

describe('shownDimensions', () => {
  const dimension = (d: MessageDimension['dimension'], events: number, values: number, others = 0): MessageDimension => ({
    dimension: d,
    events,
    records: events,
    others,
    baseline: 0,
    values: Array.from({ length: values }, (_, i) => ({ topic: '', value: String(i), events: 1, records: 1, baseline: 0 })),
  })
  it('leaves out what tells nothing', () => {
    const by = [dimension('topic', 9, 1), dimension('partition', 9, 1), dimension('group', 9, 2), dimension('key', 0, 0), dimension('release', 9, 1), dimension('member', 9, 1, 1)]
    expect(shownDimensions(by).map((d) => d.dimension)).toEqual(['partition', 'group', 'release', 'member'])
  })
})

describe('valueOf', () => {
  const value = (v: string, topic = ''): MessageValue => ({ topic, value: v, events: 1, records: 1, baseline: 0 })
  it('writes each value as people know it and leads to its evidence', () => {
    expect(valueOf('partition', value('3', 'orders'))).toEqual({ text: 'orders p3', href: '/messages?topic=orders' })
    expect(valueOf('key', value('00000000c41f9a2b'))).toEqual({ text: '#c41f9a2b', href: '/issues?query=key%3A00000000c41f9a2b' })
    expect(valueOf('key', value('0000000000000000')).text).toBe('#0')
    expect(valueOf('release', value('shop@1.2'))).toEqual({ text: 'shop@1.2', href: '/issues?query=release%3Ashop%401.2' })
    expect(valueOf('producer_release', value('shop@1.2'))).toEqual({ text: 'shop@1.2', href: undefined })
    expect(valueOf('topic', value('a&b')).href).toBe('/messages?topic=a%26b')
  })
})
