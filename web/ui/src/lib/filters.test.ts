import { describe, expect, it } from 'vitest'
import { pinTimes, readFilters, readTyped, timeWords, typedOf, withParams } from './filters'

describe('filters', () => {
  it('come from the URL and go back to it', () => {
    const f = readFilters('?service=orders&min_latency=100ms&errors=true')
    expect(typedOf(f, false)).toBe('service:orders min:100ms errors:true')
    expect(readTyped('service:orders min:100ms errors:true', false)).toEqual({
      kind: 'filters',
      change: { service: 'orders', topic: '', group: '', min_latency: '100ms', errors: 'true' },
    })
  })
  it('leave the usual time and empty values out of the URL', () => {
    expect(withParams('?topic=a&from=-1h', { from: '-24h', topic: '' })).toBe('')
    expect(withParams('', { from: '-1h', errors: true })).toBe('?from=-1h&errors=true')
  })
  it('tell a moment as people do', () => {
    expect(timeWords('2026-12-01T02:00:00')).toBe('1 Dec 02:00')
    for (const own of ['-1h', 'now', 'beginning', '2026-99-99T00:00:00Z']) expect(timeWords(own)).toBe(own)
  })
  it('pin a time that moves', () => {
    const now = Date.UTC(2026, 0, 2, 3, 4, 5)
    expect(pinTimes('?topic=a', now)).toEqual(['?topic=a&from=2026-01-01T03%3A04%3A05.000Z&to=2026-01-02T03%3A04%3A05.000Z', true])
    expect(pinTimes('?from=-15m', now)[0]).toBe('?from=2026-01-02T02%3A49%3A05.000Z&to=2026-01-02T03%3A04%3A05.000Z')
    for (const still of ['?from=all', '?from=-1h&to=-30m', '?from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z', '?from=nonsense']) expect(pinTimes(still, now)).toEqual([still, false])
  })
  it('know a trace id', () => expect(readTyped(' 4F6C9E0B000000019E3779B97F4A7C15 ', false)).toEqual({ kind: 'trace', id: '4f6c9e0b000000019e3779b97f4a7c15' }))
  it('say what they do not know', () => {
    expect(readTyped('servcie:orders', false).kind).toBe('fault')
    expect(readTyped('orders', false).kind).toBe('fault')
  })
  it('put what is no filter into the query of a list that has one', () => {
    const asked = (s: string) => {
      const got = readTyped(s, false, true)
      return got.kind === 'filters' ? Object.fromEntries(Object.entries(got.change).filter(([, v]) => v !== '')) : got
    }
    expect(asked('service:orders duration>1s "card declined"')).toEqual({ service: 'orders', q: 'duration>1s "card declined"' })
    expect(asked('service:orders OR status:error')).toEqual({ q: 'service:orders OR status:error' })
    expect(asked('(topic:a topic:b) x:"min:1s"')).toEqual({ q: '(topic:a topic:b) x:"min:1s"' })
    expect(asked('topic:a OR min:1s')).toMatchObject({ kind: 'fault', message: expect.stringContaining('min:1s') })
    expect(asked('(errors:true OR topic:a)')).toMatchObject({ kind: 'fault', message: expect.stringContaining('errors:true') })
    expect(asked('topic:[a,b] group:pay* topic:c')).toEqual({ q: 'topic:[a,b] group:pay*', topic: 'c' })
    expect(asked('service:a service:b')).toEqual({ service: 'a', q: 'service:b' })
    expect(asked('group:"two words" errors:true')).toEqual({ q: 'group:"two words"', errors: 'true' })
    expect(asked('')).toEqual({})
    const f = readFilters('?service=orders&q=duration>1s')
    expect(typedOf(f, false)).toBe('service:orders duration>1s')
  })
  it('take a query where a page has one', () => {
    expect(readTyped('is:new card  declined', true)).toEqual({ kind: 'filters', change: { query: 'is:new card declined', text: '' } })
    expect(readTyped('title:"card  declined"  x', true)).toEqual({ kind: 'filters', change: { query: 'title:"card  declined" x', text: '' } })
    expect(typedOf(readFilters('?query=is:new+x'), true)).toBe('is:new x')
  })
  it('tell no query from an empty one', () => {
    expect(typedOf(readFilters(''), true)).toBe('is:unresolved')
    expect(readTyped('', true)).toEqual({ kind: 'filters', change: { query: ' ', text: '' } })
    expect(typedOf(readFilters(withParams('', { query: ' ' })), true)).toBe('')
    expect(withParams('?query=x', { query: 'is:unresolved' })).toBe('')
  })
})
