import { expect, it } from 'vitest'
import type { Clock } from '../../api/types'
import { plain } from '../../lib/format'
import { GAPS, hostOf, keyOf, offsetOf, originsOf, perMinute, sideOf } from './clocks'

const clock = (host: string, low: number | null, high: number | null, more: Partial<Clock> = {}): Clock => ({
  host, name: '', service: '', broker: 'b:9092', cluster: '', node: null, state: 'known', at: '1790000000000000000', lowNs: low, highNs: high,
  roundTripsPerMinute: 0, fetchesPerMinute: 0, beaconsPerMinute: 0, first: '1790000000000000000', last: '1790000000000000000', seen: '1790000000000000000', steps: 0, stepped: null, samples: [], ...more,
})

it('says on which side of the broker a clock is, unless the error is larger', () => {
  const side = (low: number, high: number) => plain(sideOf(offsetOf(low, high)!))
  expect(side(2_598_600_000, 2_601_400_000)).toBe('2.60 s behind')
  expect(side(-2_601_400_000, -2_598_600_000)).toBe('2.60 s ahead')
  expect(side(-1_000_000, 1_200_000)).toBe('equal within ±')
  expect(offsetOf(null, 5)).toBeUndefined()
  expect(offsetOf(5, null)).toBeUndefined()
})

it('names hosts by what people call them, and pairs by what they are', () => {
  expect(hostOf(clock('0123456789abcdef', 0, 0))).toBe('01234567')
  expect(hostOf(clock('x', 0, 0, { service: 'payments' }))).toBe('payments')
  expect(hostOf(clock('x', 0, 0, { service: 'payments', name: 'payments-2' }))).toBe('payments-2')
  expect(keyOf(clock('x', 0, 0))).toBe('x b:9092')
})

it('lists what bounded an offset', () => {
  expect(originsOf(clock('a', 0, 0, { beaconsPerMinute: 60, fetchesPerMinute: 0.4 }))).toEqual([
    ['beacon', 60],
    ['fetch', 0.4],
  ])
  expect([perMinute(60), perMinute(0.44)]).toEqual(['60', '0.4'])
  for (const g of Object.values(GAPS)) expect(g.says && g.way).toBeTruthy()
})
