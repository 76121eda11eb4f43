import { expect, test } from 'vitest'
import type { Heatmap, HeatRow } from '../../api/types'
import { BANDS, bandEnds, bandOf, cellPaths, geometry, move, ownersAt, scaleOf, stretchOf, ticks } from './heat'

const row = (values: (number | null)[], more: Partial<HeatRow> = {}): HeatRow => ({
  partition: 0, messages: 1, failed: 0, known: 1, negative: 0, p50Ns: 1, p99Ns: 1, waitShare: null, values, counts: values.map(() => 1), owned: [], ...more,
})

test('bands are even on a logarithmic scale', () => {
  const f = (ns: number, want: number) => expect(bandOf(ns, 1e6, 1e11), String(ns)).toBe(want)
  f(1e6, 1)
  f(0.9e7, 1)
  f(1.1e7, 2)
  f(0.9e11, 5)
  f(1e11, 5)
  f(0, 0)
  f(-5, 0)
  expect(bandOf(7, 7, 7)).toBe(BANDS)
  expect(bandEnds(1e6, 1e11).map((v) => Math.round(v))).toEqual([1e7, 1e8, 1e9, 1e10, 1e11])
})

test('the scale is of what is above zero', () => {
  expect(scaleOf([row([null, -3, 0]), row([5, 9])])).toEqual({ min: 5, max: 9 })
  expect(scaleOf([row([null, -3])])).toBeUndefined()
})

test('unknown, negative and zero are kinds of their own', () => {
  const rows = [row([null, -3, 0, 5, 9]), row([null], { counts: [0] })]
  const paths = cellPaths(rows, geometry(400, 5, 2), scaleOf(rows))
  expect([...paths.keys()].sort()).toEqual(['band1', 'band5', 'negative', 'unknown', 'zero'])
  // The cell without a message is not drawn.
  expect(paths.get('unknown')?.match(/M/g)).toHaveLength(1)
})

test('keys walk over the cells and stop at the edges', () => {
  expect(move({ row: 0, slot: 0 }, 'ArrowUp', 3, 5)).toEqual({ row: 0, slot: 0 })
  expect(move({ row: 0, slot: 0 }, 'ArrowDown', 3, 5)).toEqual({ row: 1, slot: 0 })
  expect(move({ row: 2, slot: 1 }, 'End', 3, 5)).toEqual({ row: 2, slot: 4 })
  expect(move({ row: 2, slot: 1 }, 'PageUp', 3, 5)).toEqual({ row: 0, slot: 1 })
  expect(move({ row: 2, slot: 1 }, 'a', 3, 5)).toBeUndefined()
})

test('a slot ends with the range, and ticks do not touch', () => {
  const h = { from: '1000', to: '2500', stepNs: 1000 }
  expect(stretchOf(h, 0)).toEqual({ from: '1000', to: '2000' })
  expect(stretchOf(h, 1)).toEqual({ from: '2000', to: '2500' })
  expect(ticks(96, 12, 60)).toEqual([0, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55, 60, 65, 70, 75, 80, 85, 90, 95])
  expect(ticks(0, 12, 60)).toEqual([])
})

test('a slot knows who read in it', () => {
  const h = { from: '0', to: '4000', stepNs: 1000, owners: ['a', 'b'] } as unknown as Heatmap
  const r = row([1, 2, 3, 4], { owned: [{ owner: 0, group: 'g', from: '100', to: '1500', messages: 2 }, { owner: 1, group: 'g', from: '1700', to: '3900', messages: 2 }] })
  expect(ownersAt(h, r, 0)).toEqual(['a'])
  expect(ownersAt(h, r, 1)).toEqual(['a', 'b'])
  expect(ownersAt(h, r, 3)).toEqual(['b'])
})
