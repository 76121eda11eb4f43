import { describe, expect, it } from 'vitest'
import type { LagForecast } from '../../api/types'
import { plain } from '../../lib/format'
import { inOrder, moved } from '../../lib/still'
import { deleted, drained, groupPage, rate, sparkPath, sparkText, stretches } from './lag'

const inNs = (ns: number): LagForecast => ({ when: 'in', ns })
const never: LagForecast = { when: 'never', ns: 0 }
const unknown: LagForecast = { when: 'unknown', ns: 0 }
const hour = 3600e9

describe('forecasts are told in words', () => {
  it('of when all is read', () => {
    expect(drained(inNs(0), 'ok')).toBe('now')
    expect(plain(drained(inNs(90e9), 'warn'))).toBe('in 1 m 30 s')
    expect(drained(never, 'warn')).toBe('never at this rate')
    expect(drained(never, 'stop')).toBe('never')
    expect(drained(unknown, 'ok')).toBe('unknown')
  })
  it('of when records are deleted, by how soon', () => {
    const f = (d: LagForecast, spare: LagForecast, lag = 5) => {
      const x = deleted({ deleted: d, spare, lag })
      return plain(x.text) + ' ' + x.tone
    }
    expect(f(inNs(4 * hour), inNs(hour))).toBe('4 h 00 m bad')
    expect(f(inNs(22 * hour), never)).toBe('22 h 00 m warn')
    expect(f(inNs(100 * hour), never)).toBe('4 d 04 h ')
    expect(f(inNs(0), never)).toBe('any moment bad')
    expect(f(never, inNs(7 * 24 * hour))).toBe('7 d 00 h ')
    expect(f(never, never)).toBe('never ')
    expect(f(unknown, unknown)).toBe('unknown ')
  })
  it('of rates', () => {
    expect([0, 0.04, 2.24, 18.44, 402.2, 1204].map((v) => plain(rate(v)))).toEqual(['0', '0.04', '2.2', '18.4', '402', '1 204'])
    expect(rate(null)).toBe('unknown')
  })
})

describe('what a partition leads to', () => {
  it('is what was read in the window, and what is unread', () => {
    expect(stretches({ committed: 120, committedBefore: 100, logStart: 0, logEnd: 300 })).toEqual({ read: [100, 120], unread: [120, 300] })
    expect(stretches({ committed: 120, committedBefore: 120, logStart: 150, logEnd: 300 })).toEqual({ read: [0, 120], unread: [150, 300] })
  })
  it('is the page of its group, names encoded', () => {
    expect(groupPage({ cluster: 'eu', group: 'a/b c' }, 'orders/1')).toBe('/lag/group?cluster=eu&group=a%2Fb+c&open=orders%2F1')
  })
})

describe('rows do not move while one reads', () => {
  it('new values come in the old order, and what is gone stays', () => {
    const rows = inOrder(['a', 'b'], new Map([['b', 2], ['c', 3]]), new Map([['a', 1], ['b', 1]]))
    expect(rows).toEqual([
      { key: 'a', row: 1, gone: true },
      { key: 'b', row: 2, gone: false },
    ])
    expect(moved(['a', 'b'], ['b', 'a'])).toBe(true)
    expect(moved(['a', 'b'], ['a', 'b'])).toBe(false)
    expect(moved(['a'], ['a', 'b'])).toBe(true)
  })
})

describe('a small chart', () => {
  it('has gaps where nothing is known', () => {
    expect(sparkPath([0, 10, null, 10], 30, 12)).toBe('M0.0 11.0L10.0 1.0M30.0 1.0h0.1')
    expect(sparkPath([null, null], 30, 12)).toBe('')
  })
  it('is told in words', () => {
    expect(sparkText([null, 30, 90, 60])).toBe('time behind: last 1 m 00 s, at most 1 m 30 s')
    expect(sparkText([])).toBe('time behind: nothing is kept yet')
  })
})
