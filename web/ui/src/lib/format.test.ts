import { describe, expect, it } from 'vitest'
import { ago, bytes, count, duration, minus, plain, rate, share, short, time } from './format'

const s = 1e9

describe('duration', () => {
  const table: [number, string][] = [
    [0, '0 ms'],
    [7, '7 ns'],
    [999, '999 ns'],
    [1000, '1.00 µs'],
    [999_994, '1.00 ms'],
    [350_000, '350 µs'],
    [3_250_000, '3.25 ms'],
    [38_240_000, '38.2 ms'],
    [480_000_000, '480 ms'],
    [999_600_000, '1.00 s'],
    [1.234 * s, '1.23 s'],
    [59.94 * s, '59.9 s'],
    [59.96 * s, '1 m 00 s'],
    [60 * s, '1 m 00 s'],
    [125 * s, '2 m 05 s'],
    [3599.6 * s, '1 h 00 m'],
    [10_272 * s, '2 h 51 m'],
    [86_399 * s, '1 d 00 h'],
    [(3 * 86400 + 7200) * s, '3 d 02 h'],
    [1200 * 86400 * s, '1 200 d 00 h'],
    [-350_000, '−350 µs'],
    [Number.NaN, 'unknown'],
  ]
  it.each(table)('of %d ns is %s', (ns, want) => expect(plain(duration(ns))).toBe(want))
})

describe('count', () => {
  const table: [number, string][] = [
    [0, '0'],
    [999, '999'],
    [1000, '1 000'],
    [48_211_903, '48 211 903'],
    [-3120, '−3 120'],
  ]
  it.each(table)('of %d is %s', (n, want) => expect(plain(count(n))).toBe(want))
})

describe('share', () => {
  const table: [number, string][] = [
    [0, '0 %'],
    [0.00001, '< 0.01 %'],
    [0.004, '0.40 %'],
    [0.0317, '3.2 %'],
    [0.123, '12.3 %'],
    [0.992, '99.2 %'],
    [0.9996, '99.96 %'],
    [0.99999, '> 99.99 %'],
    [1, '100 %'],
  ]
  it.each(table)('of %d is %s', (x, want) => expect(plain(share(x))).toBe(want))
})

describe('bytes', () => {
  const table: [number, string][] = [
    [0, '0 B'],
    [0.26, '0.26 B'],
    [0.0001, '< 0.01 B'],
    [2.65, '2.6 B'],
    [9.97, '10 B'],
    [940, '940 B'],
    [1180, '1.18 kB'],
    [999_999, '1.00 MB'],
    [12_400_000, '12.4 MB'],
  ]
  it.each(table)('of %d is %s', (n, want) => expect(plain(bytes(n))).toBe(want))
})

describe('times', () => {
  it('keep nanoseconds in a difference', () => expect(minus('1795449372050288241', '1795449372050288238')).toBe(3))
  it('say the day when it is not today', () => {
    const now = new Date(2026, 10, 23, 15, 0, 0)
    const at = (d: Date) => String(BigInt(d.getTime()) * 1_000_000n)
    expect(time(at(new Date(2026, 10, 23, 14, 2, 11, 39)), now)).toBe('14:02:11.039')
    expect(time(at(new Date(2026, 10, 22, 14, 2, 11, 39)), now)).toBe('22 Nov 14:02:11')
    expect(time(at(new Date(2025, 10, 22, 14, 2, 11, 39)), now)).toBe('22 Nov 2025 14:02:11')
  })
  it('are relative in one unit', () => {
    const now = new Date(2026, 10, 23, 15, 0, 0)
    const before = (seconds: number) => String(BigInt(now.getTime() - seconds * 1000) * 1_000_000n)
    expect(plain(ago(before(2), now))).toBe('now')
    expect(plain(ago(before(59), now))).toBe('59 s ago')
    expect(plain(ago(before(200), now))).toBe('3 m ago')
    expect(plain(ago(before(7300), now))).toBe('2 h ago')
    expect(plain(ago(before(-9), now))).toBe('in the future')
  })
})

it('short keeps both ends of an id', () => expect(short('4f6c9e0b000000019e3779b97f4a7c15')).toBe('4f6c9e0b…7c15'))

describe('rate', () => {
  it('has three digits, and a longer time for what is rare', () => {
    const cases: [number, string][] = [
      [0, '0/s'],
      [1203.6, '1 204/s'],
      [999.6, '1 000/s'],
      [402, '402/s'],
      [18.44, '18.4/s'],
      [0.35, '0.35/s'],
      [0.05, '3.00/min'],
      [0.001, '3.60/h'],
      [0.000001, '< 0.01/h'],
      [NaN, 'unknown'],
    ]
    for (const [n, want] of cases) expect(plain(rate(n))).toBe(want)
  })
})
