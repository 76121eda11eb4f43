import { describe, expect, it } from 'vitest'
import { MODES } from './axis'
import { changed, readZoom, writeZoom, zoomedAxis } from './zoom'

const MS = 1e6
const H = 3600e9

describe('the zoom of the URL', () => {
  it('is read as it was written', () => {
    expect(readZoom(writeZoom({ from: 5, to: 20 }, 100), 100)).toEqual({ from: 5, to: 20 })
    expect(writeZoom({ from: 0, to: 100 }, 100)).toBe('')
    expect(writeZoom(undefined, 100)).toBe('')
  })
  it('is nothing when it is none', () => {
    for (const bad of [null, '', '5', '20-5', 'a-b', '0-100', '-5-10', '200-300']) expect(readZoom(bad, 100)).toBeUndefined()
    expect(readZoom('50-300', 100)).toEqual({ from: 50, to: 100 })
  })
  it('reaches as far as a record can lie', () => {
    const year = 365 * 24 * H
    expect(readZoom(writeZoom({ from: 12 * 24 * H, to: year / 2 }, year), year)).toEqual({ from: 12 * 24 * H, to: year / 2 })
  })
  it('comes nearer, goes away and moves within the whole', () => {
    expect(changed(undefined, 1000, 0.5)).toEqual({ from: 250, to: 750 })
    expect(changed({ from: 250, to: 750 }, 1000, 2)).toEqual({ from: 0, to: 1000 })
    expect(changed({ from: 0, to: 500 }, 1000, 1, 0.5)).toEqual({ from: 250, to: 750 })
    expect(changed({ from: 600, to: 1000 }, 1000, 1, 0.5)).toEqual({ from: 600, to: 1000 })
    expect(changed({ from: 0, to: 400 }, 1000, 0.5, 0, 50)).toEqual({ from: 0, to: 200 })
  })
})

describe('zoomedAxis', () => {
  const total = 3 * H + 200 * MS
  const work = [
    { from: 0, to: 30 * MS },
    { from: 3 * H, to: total },
  ]
  it('gives back the time of a place, in every mode', () => {
    for (const mode of MODES) {
      for (const z of [undefined, { from: 0, to: 40 * MS }, { from: 10 * MS, to: 3 * H + 50 * MS }]) {
        const a = zoomedAxis(mode, total, z, work, 8, [])
        for (const t of [a.from, (a.from + a.to) / 3, a.to - 1]) expect(a.x(a.t(a.x(t)))).toBeCloseTo(a.x(t), 4)
        expect(a.x(a.from)).toBeCloseTo(0)
        expect(a.x(a.to)).toBeCloseTo(1)
      }
    }
  })
  it('folds a wait that lies within the part, and says how long it is', () => {
    const a = zoomedAxis('folded', total, { from: 10 * MS, to: 3 * H + 50 * MS }, work, 8, [])
    expect(a.breaks).toHaveLength(1)
    expect(a.breaks[0]!.to - a.breaks[0]!.from).toBeGreaterThan(2.9 * H)
    expect(a.breaks[0]!.from).toBeGreaterThan(30 * MS)
    expect(zoomedAxis('folded', total, { from: 0, to: 40 * MS }, work, 8, []).breaks).toHaveLength(0)
  })
  it('says where it begins', () => {
    expect(zoomedAxis('linear', total, { from: 10 * MS, to: 40 * MS }, work, 8, []).ticks[0]!.label).toContain('10.0')
  })
})
