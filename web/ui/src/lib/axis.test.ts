import { describe, expect, it } from 'vitest'
import { axisOf, deadTime, labelled, lengthsOnBreaks, subtract, union } from './axis'
import { plain } from './format'

const ms = 1e6
const hour = 3600e9

describe('intervals', () => {
  it('join', () => expect(union([{ from: 5, to: 7 }, { from: 0, to: 2 }, { from: 2, to: 3 }])).toEqual([{ from: 0, to: 3 }, { from: 5, to: 7 }]))
  it('leave the rest', () => expect(subtract({ from: 0, to: 10 }, [{ from: 2, to: 3 }, { from: 8, to: 20 }])).toEqual([{ from: 0, to: 2 }, { from: 3, to: 8 }]))
})

describe('deadTime', () => {
  it('is nothing where people work all the time', () => expect(deadTime(10, [{ from: 0, to: 10 }])).toEqual([]))
  it('is a wait longer than the rest of the page', () => {
    const work = [{ from: 0, to: 40 * ms }, { from: 3 * hour, to: 3 * hour + 500 * ms }]
    expect(deadTime(3 * hour + 500 * ms, work)).toEqual([{ from: 40 * ms, to: 3 * hour }])
  })
  it('is two long waits, though neither is longer than the other', () => {
    const work = [{ from: 0, to: 1 }, { from: 101, to: 102 }, { from: 202, to: 203 }]
    expect(deadTime(203, work)).toEqual([{ from: 1, to: 101 }, { from: 102, to: 202 }])
  })
  it('leaves a wait that the page can show', () => expect(deadTime(10, [{ from: 0, to: 4 }, { from: 6, to: 10 }])).toEqual([]))
  it('takes no work at all', () => expect(deadTime(10, [])).toEqual([{ from: 0, to: 10 }]))
})

describe('axisOf', () => {
  const total = 3 * hour + 500 * ms
  const work = [{ from: 0, to: 40 * ms }, { from: 3 * hour, to: total }]
  it('folded gives milliseconds room beside hours', () => {
    const a = axisOf('folded', total, work)
    expect(a.breaks).toHaveLength(1)
    expect(a.x(40 * ms)).toBeGreaterThan(0.2)
    expect(a.x(3 * hour)).toBeLessThan(0.6)
    expect(a.x(total)).toBe(1)
  })
  it('never goes back', () => {
    for (const mode of ['folded', 'linear', 'log'] as const) {
      const a = axisOf(mode, total, work)
      let last = -1
      for (const t of [0, 1, 20 * ms, 40 * ms, 60 * ms, hour, 2 * hour, 3 * hour - 1, 3 * hour, total]) {
        expect(a.x(t)).toBeGreaterThanOrEqual(last)
        last = a.x(t)
      }
      expect(a.x(0)).toBe(0)
      expect(a.x(total)).toBe(1)
    }
  })
  it('linear is even', () => expect(axisOf('linear', 10, work).x(5)).toBe(0.5))
  it('linear has round ticks', () => expect(axisOf('linear', 45 * ms, []).ticks.map((t) => plain(t.label))).toEqual(['0', '10 ms', '20 ms', '30 ms', '40 ms']))
  it('folded ticks begin again after the break', () => {
    const labels = axisOf('folded', total, work).ticks.map((t) => plain(t.label))
    expect(labels[0]).toBe('0')
    expect(labels).toContain('+0')
    expect(labels.some((l) => l.startsWith('+') && l.endsWith('ms'))).toBe(true)
  })
  it('log shows both ends', () => {
    const a = axisOf('log', total, work)
    expect(a.x(40 * ms)).toBeGreaterThan(0.2)
    expect(a.ticks.length).toBeGreaterThan(4)
  })
  it('takes nothing and a wait at either end', () => {
    expect(axisOf('folded', 0, []).x(0)).toBe(0)
    const a = axisOf('folded', 1000, [{ from: 990, to: 1000 }])
    expect(a.x(0)).toBe(0)
    expect(a.x(1000)).toBe(1)
    expect(a.x(990)).toBeLessThan(a.x(1000))
  })
})

it('a label gives way to the one before it, to the sign of a break and to the edge', () => {
  const tick = (x: number, label: string) => ({ x, label })
  const ticks = [tick(0, '0'), tick(0.05, '+100 ms'), tick(0.2, '+1 ms'), tick(0.42, '+200 ms'), tick(0.6, '+0'), tick(0.97, '+100 ms')]
  const labels = labelled({ ticks, breaks: [{ from: 0, to: 1, x0: 0.45, x1: 0.55 }] }, 500)
  expect(labels.map((t) => t.label)).toEqual(['0', '+100 ms', '+1 ms', '+0'])
  expect(labelled({ ticks: [tick(0, '0'), tick(0.02, '1 ms')], breaks: [] }, 300).map((t) => t.label)).toEqual(['0'])
})

it('a wait over several breaks writes its length once, where most of it lies', () => {
  const breaks = [
    { from: 10, to: 900, x0: 0.1, x1: 0.2 },
    { from: 910, to: 950, x0: 0.4, x1: 0.5 },
  ]
  const wait = { kind: 'part', from: 5, to: 960 }
  const short = { kind: 'part', from: 905, to: 960 }
  expect(lengthsOnBreaks([wait], breaks)).toEqual([{ s: wait, b: breaks[0] }])
  expect(lengthsOnBreaks([short], breaks)).toEqual([{ s: short, b: breaks[1] }])
  expect(lengthsOnBreaks([{ kind: 'negative', from: 5, to: 960 }, { kind: 'part', from: 0, to: 9 }], breaks)).toEqual([])
})
