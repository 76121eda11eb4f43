import type { Quantiles, TopicDetail, TopicSeries, TopicSide } from '../../api/types'
import { PARTS } from '../../lib/parts'

export type Stat = 'p50' | 'p90' | 'p99'

export const STATS: readonly Stat[] = ['p50', 'p90', 'p99']

/** A part as the page of topics names and draws it: the tiles of a hop and the two that are none. */
export interface PartLine {
  name: Quantiles['name']
  label: string
  token: string
  waits: boolean
  explain: string
}

/** The tiles of a hop that a topic tells. */
export const TILES = PARTS.filter((p): p is typeof p & { name: Quantiles['name'] } => p.name !== 'settle')

/** Parts in time order; residence stands before the two that it is made of, and the whole last. */
export const TOPIC_PARTS: readonly PartLine[] = [
  ...TILES.slice(0, 3),
  { name: 'residence', label: 'Residence', token: 'backlog', waits: true, explain: "the record's own time → handed out by the broker: backlog and long poll together" },
  ...TILES.slice(3),
  { name: 'end_to_end', label: 'Record → done', token: 'text', waits: false, explain: "the record's own time → done" },
]

/** What crosses two clocks: their difference is in it. */
export const CROSSES: ReadonlySet<string> = new Set(['residence', 'backlog', 'long_poll', 'end_to_end'])

export function partLine(name: string): PartLine {
  return TOPIC_PARTS.find((p) => p.name === name) ?? TOPIC_PARTS[3]!
}

/** Page of a topic. */
export function topicPage(topic: string, params: Record<string, string> = {}): string {
  const q = new URLSearchParams(Object.entries(params).filter(([, v]) => v !== '')).toString()
  return '/topics/' + encodeURIComponent(topic) + (q ? '?' + q : '')
}

// As the API tells dead letters by their topic's name.
const DEAD = /(^|[._-])(dlq|dlt|dead[._-]?letters?|dead)([._-]|$)/i

/** The topics in which a topic's dead letters lie, by their names: its own and one of the words for them. At most four. */
export function deadLettersOf(topic: string, names: readonly string[]): string[] {
  if (DEAD.test(topic)) return []
  const bounds = (at: number, name: string) => (at === 0 || /[._-]/.test(name[at - 1]!)) && (at + topic.length === name.length || /[._-]/.test(name[at + topic.length]!))
  return names.filter((n) => n !== topic && DEAD.test(n) && n.includes(topic) && bounds(n.indexOf(topic), n)).slice(0, 4)
}

/** Unix seconds of the begin of each step. */
export function timesOf(d: Pick<TopicDetail, 'from' | 'stepNs' | 'slots'>): number[] {
  const from = Number(BigInt(d.from) / 1_000_000n) / 1000
  return Array.from({ length: d.slots }, (_, i) => from + (i * d.stepNs) / 1e9)
}

/** One part over time at one percentile. */
export function partValues(series: TopicSeries | null | undefined, name: string, stat: Stat): (number | null)[] | undefined {
  const p = series?.parts.find((x) => x.name === name)
  return p && { p50: p.p50Ns, p90: p.p90Ns, p99: p.p99Ns }[stat]
}

/** Messages a second in each step. The last one ends with the range, so it may be shorter than the others. */
export function ratesOf(counts: readonly number[], d: Pick<TopicDetail, 'from' | 'to' | 'stepNs'>): number[] {
  const whole = d.stepNs / 1e9
  const last = Number(BigInt(d.to) - BigInt(d.from)) / 1e9 - (counts.length - 1) * whole
  return counts.map((n, i) => n / (i === counts.length - 1 ? Math.max(Math.min(last, whole), 1) : whole))
}

/** The side that tells a part: what was written, or the group that is looked at. */
export function sideOf(d: TopicDetail, name: string): TopicSide | undefined {
  const writes = name === 'batch_queue' || name === 'retry' || name === 'ack'
  return (writes ? d.written : d.groups.find((g) => g.group === d.group)) ?? undefined
}

/** How many messages of a side do not tell a part. */
export function unknownOf(side: TopicSide | undefined, q: Quantiles | undefined): number {
  return side && q ? Math.max(side.messages - q.count, 0) : 0
}
