import type { Heatmap, HeatRow } from '../../api/types'

/** How many bands of colour and height values are sorted into. */
export const BANDS = 5

export const ROW = 18
const CELL = 13
export const LEFT = 44
export const TOP = 22
const AXIS = 20

/** The band of a value, 1 to BANDS, by its logarithm: 3 ms and 3 h are both on the scale. Zero for what is not above zero. */
export function bandOf(ns: number, min: number, max: number): number {
  if (ns <= 0) return 0
  const low = Math.max(min, 1)
  if (max <= low) return BANDS
  const x = Math.log(ns / low) / Math.log(max / low)
  return Math.min(BANDS, Math.max(1, Math.ceil(x * BANDS)))
}

/** The greatest value of each band. */
export function bandEnds(min: number, max: number): number[] {
  const low = Math.max(min, 1)
  if (max <= low) return [max]
  return Array.from({ length: BANDS }, (_, i) => low * Math.pow(max / low, (i + 1) / BANDS))
}

/** Least and greatest value above zero: what the scale is of. */
export function scaleOf(rows: readonly HeatRow[]): { min: number; max: number } | undefined {
  let min = Infinity
  let max = 0
  for (const r of rows) {
    for (const v of r.values) {
      if (v === null || v <= 0) continue
      min = Math.min(min, v)
      max = Math.max(max, v)
    }
  }
  return max > 0 ? { min, max } : undefined
}

export interface Geometry {
  width: number
  height: number
  /** Width of a step in px, gap and all. */
  step: number
  x: (slot: number) => number
  y: (row: number) => number
  bottom: number
}

export function geometry(width: number, slots: number, rows: number): Geometry {
  const step = Math.max((width - LEFT - 8) / Math.max(slots, 1), 4)
  const bottom = TOP + rows * ROW
  return { width: Math.max(width, LEFT + 8 + step * slots), height: bottom + AXIS, step, x: (s) => LEFT + s * step, y: (r) => TOP + r * ROW, bottom }
}

/** Cells of each kind as one path: bands 1 to BANDS, then 'negative', 'zero', 'unknown'. A cell fills from its foot, the more the greater its value, so that colour is not all that tells it. */
export function cellPaths(rows: readonly HeatRow[], g: Geometry, scale: { min: number; max: number } | undefined): Map<string, string> {
  const out = new Map<string, string>()
  const w = Math.max(g.step - 1, 3)
  const add = (kind: string, x: number, y: number, height: number) => out.set(kind, (out.get(kind) ?? '') + `M${x.toFixed(1)} ${y.toFixed(1)}h${w.toFixed(1)}v${height}h-${w.toFixed(1)}z`)
  rows.forEach((r, i) => {
    r.values.forEach((v, s) => {
      const x = g.x(s)
      const y = g.y(i)
      if (v === null) {
        if ((r.counts[s] ?? 0) > 0) add('unknown', x + 0.5, y + 0.5, CELL - 1)
        return
      }
      if (v < 0) return add('negative', x, y, CELL)
      const band = scale ? bandOf(v, scale.min, scale.max) : 0
      if (band === 0) return add('zero', x, y + CELL - 2, 2)
      const height = Math.round((CELL * (band + 1)) / (BANDS + 1))
      add('band' + band, x, y + CELL - height, height)
    })
  })
  return out
}

/** Times on the axis: so many that they do not touch, at whole steps. */
export function ticks(slots: number, step: number, room: number): number[] {
  if (slots === 0) return []
  const every = Math.max(1, Math.ceil(room / step))
  const nice = [1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 24, 30, 40, 60, 120].find((n) => n >= every) ?? every
  return Array.from({ length: Math.ceil(slots / nice) }, (_, i) => i * nice)
}

/** Where a time stands, in slots. */
export function slotOf(h: Pick<Heatmap, 'from' | 'stepNs'>, ns: string): number {
  return Number(BigInt(ns) - BigInt(h.from)) / h.stepNs
}

/** Begin and end of a slot. */
export function stretchOf(h: Pick<Heatmap, 'from' | 'to' | 'stepNs'>, slot: number): { from: string; to: string } {
  const from = BigInt(h.from) + BigInt(slot) * BigInt(h.stepNs)
  const end = from + BigInt(h.stepNs)
  return { from: from.toString(), to: (end < BigInt(h.to) ? end : BigInt(h.to)).toString() }
}

/** Who read a partition within a slot, the first one first. */
export function ownersAt(h: Heatmap, row: HeatRow, slot: number): string[] {
  const out: string[] = []
  for (const s of row.owned) {
    const name = h.owners[s.owner] ?? ''
    if (slotOf(h, s.from) < slot + 1 && slotOf(h, s.to) >= slot && !out.includes(name)) out.push(name)
  }
  return out
}

export interface Cell {
  row: number
  slot: number
}

/** The cell that a key leads to; undefined when the key is none of the map's. */
export function move(at: Cell, key: string, rows: number, slots: number): Cell | undefined {
  const clamp = (c: Cell): Cell => ({ row: Math.min(Math.max(c.row, 0), rows - 1), slot: Math.min(Math.max(c.slot, 0), slots - 1) })
  switch (key) {
    case 'ArrowLeft':
      return clamp({ ...at, slot: at.slot - 1 })
    case 'ArrowRight':
      return clamp({ ...at, slot: at.slot + 1 })
    case 'ArrowUp':
      return clamp({ ...at, row: at.row - 1 })
    case 'ArrowDown':
      return clamp({ ...at, row: at.row + 1 })
    case 'Home':
      return clamp({ ...at, slot: 0 })
    case 'End':
      return clamp({ ...at, slot: slots - 1 })
    case 'PageUp':
      return clamp({ ...at, row: at.row - 10 })
    case 'PageDown':
      return clamp({ ...at, row: at.row + 10 })
  }
  return undefined
}

/** Dashes by which owners are told apart; beyond the sixth they come again, and the readout names them. */
export const DASHES = ['', '5 3', '1.5 2.5', '9 3', '6 2 1.5 2', '2 5']

export function dashOf(owner: number): string | undefined {
  return DASHES[owner % DASHES.length] || undefined
}
