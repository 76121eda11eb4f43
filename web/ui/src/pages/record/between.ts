import type { NearRecords } from '../../api/schema'

/** How many written records lie between a stored neighbour and an offset that may lie outside of the log. */
export function between(near: Pick<NearRecords, 'logStart' | 'logEnd'>, offset: number, neighbour: number): number {
  const from = Math.max(Math.min(offset, neighbour) + 1, near.logStart ?? 0)
  const to = Math.min(Math.max(offset, neighbour), near.logEnd ?? Infinity)
  return Math.max(to - from, 0)
}
