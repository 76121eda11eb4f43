import type { LagForecast, LagLine, LagState } from '../../api/types'
import { count, duration, plain, THIN } from '../../lib/format'

/** The states, worst first, in words. */
export const STATES: readonly { state: LagState; word: string; tone: 'ok' | 'warn' | 'bad'; says: string }[] = [
  { state: 'stop', word: 'Stopped', tone: 'bad', says: 'records wait, and no member is there to read them' },
  { state: 'stall', word: 'Stalled', tone: 'bad', says: 'records wait, members are there, and nothing is committed' },
  { state: 'rewind', word: 'Went back', tone: 'warn', says: 'the committed offset went back' },
  { state: 'warn', word: 'Falling behind', tone: 'warn', says: 'it reads slower than is written, or retention is faster than it' },
  { state: 'ok', word: 'OK', tone: 'ok', says: 'it keeps up or catches up' },
]

export function stateStyle(state: LagState) {
  return STATES.find((s) => s.state === state) ?? STATES[STATES.length - 1]!
}

/** 2.2, 18.4, 1 204: records a second. */
export function rate(v: number | null): string {
  if (v === null) return 'unknown'
  if (v === 0) return '0'
  if (v >= 1000) return count(v)
  return v >= 100 ? v.toFixed(0) : v >= 10 ? v.toFixed(1) : v.toFixed(v >= 1 ? 1 : 2)
}

/** When all is read: now, in 12 m 03 s, never at this rate. */
export function drained(f: LagForecast, state: LagState): string {
  if (f.when === 'unknown') return 'unknown'
  if (f.when === 'never') return state === 'stop' || state === 'stall' ? 'never' : 'never at this rate'
  return f.ns === 0 ? 'now' : 'in' + THIN + duration(f.ns)
}

const HOUR = 3600e9

/** When retention deletes the first unread record, and how that is to be taken. */
export function deleted(l: Pick<LagLine, 'deleted' | 'spare' | 'lag'>): { text: string; tone: '' | 'warn' | 'bad'; says: string } {
  if (l.deleted.when === 'in') {
    const tone = l.lag === 0 ? '' : l.deleted.ns < 6 * HOUR ? 'bad' : l.deleted.ns < 48 * HOUR ? 'warn' : ''
    return { text: l.deleted.ns === 0 ? 'any moment' : duration(l.deleted.ns), tone, says: 'at the present rates' }
  }
  if (l.spare.when === 'in') return { text: duration(l.spare.ns), tone: '', says: 'if it read nothing from now on; at the present rates never' }
  if (l.spare.when === 'never') return { text: 'never', tone: '', says: 'retention has no limit' }
  return { text: 'unknown', tone: '', says: 'how long records are kept is not told' }
}

export const keyOf = (l: Pick<LagLine, 'cluster' | 'group' | 'topic'>): string => [l.cluster, l.group, l.topic].join('\n')

/** The page of a group; open is topic/partition. */
export function groupPage(l: Pick<LagLine, 'cluster' | 'group'>, open?: string): string {
  const q = new URLSearchParams({ cluster: l.cluster, group: l.group })
  if (open) q.set('open', open)
  return '/lag/group?' + q.toString()
}

/** What was read last of a partition, and what is unread: first and behind the last. */
export function stretches(p: { committed: number; committedBefore: number; logStart: number; logEnd: number }): { read: [number, number]; unread: [number, number] } {
  const from = p.committedBefore < p.committed ? p.committedBefore : p.committed - 500
  return { read: [Math.max(from, 0), p.committed], unread: [Math.max(p.committed, p.logStart), p.logEnd] }
}

/** A line of time behind in words, for those who do not see it. */
export function sparkText(values: readonly (number | null)[]): string {
  const known = values.filter((v): v is number => v !== null)
  if (known.length === 0) return 'time behind: nothing is kept yet'
  return plain(`time behind: last ${duration(known[known.length - 1]! * 1e9)}, at most ${duration(Math.max(...known) * 1e9)}`)
}

/** The path of a small line chart; a gap where nothing is known. */
export function sparkPath(values: readonly (number | null)[], width: number, height: number): string {
  const known = values.filter((v): v is number => v !== null)
  if (known.length === 0) return ''
  const most = Math.max(...known, 1)
  const step = values.length > 1 ? width / (values.length - 1) : 0
  let d = ''
  let pen = false
  values.forEach((v, i) => {
    if (v === null) {
      pen = false
      return
    }
    const x = (i * step).toFixed(1)
    const y = (height - 1 - (v / most) * (height - 2)).toFixed(1)
    // A value between two gaps is a point, not nothing.
    d += pen ? `L${x} ${y}` : values[i + 1] == null ? `M${x} ${y}h0.1` : `M${x} ${y}`
    pen = true
  })
  return d
}
