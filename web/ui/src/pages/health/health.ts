import type { DeadLetter, HealthStage, LineHealth } from '../../api/types'
import { count, duration } from '../../lib/format'

export type HealthState = HealthStage['state']

/** The states of a station in words, worst first. */
export const STATES: Record<HealthState, { word: string; tone: 'ok' | 'warn' | 'bad' | ''; says: string }> = {
  silent: { word: 'Silent', tone: 'bad', says: 'the process that runs it does not report' },
  stopped: { word: 'Stands still', tone: 'bad', says: 'records wait, and it does not go on by itself' },
  failing: { word: 'Tries again', tone: 'bad', says: 'what it does fails, and is tried again' },
  behind: { word: 'Behind', tone: 'warn', says: 'records wait longer than a batch takes' },
  unknown: { word: 'Not told', tone: '', says: 'no process that runs it has reported' },
  ok: { word: 'Keeps up', tone: 'ok', says: 'what comes is made durable' },
  idle: { word: 'Idle', tone: '', says: 'nothing comes, and nothing waits' },
}

/** Where a stage stands among others: its name is not enough, since stages of one name read several topics. */
export const keyOf = (s: Pick<HealthStage, 'name' | 'topic'>): string => s.name + '/' + s.topic

/** The stage that the URL names, by its name or by name and topic. */
export function stageOf(stages: readonly HealthStage[], wanted: string): HealthStage | undefined {
  return stages.find((s) => keyOf(s) === wanted) ?? stages.find((s) => s.name === wanted)
}

/** Stages that have something to show, and those that are only there. kept: the keys of the former, where that is settled. */
export function split(stages: readonly HealthStage[], kept?: readonly string[]): { busy: HealthStage[]; still: HealthStage[] } {
  const still = (s: HealthStage) => (s.state === 'idle' || s.state === 'unknown') && s.batches === 0 && s.deadLetters === 0
  if (kept) {
    const by = new Map(stages.map((s) => [keyOf(s), s]))
    return { busy: kept.flatMap((k) => by.get(k) ?? []), still: stages.filter((s) => !kept.includes(keyOf(s))) }
  }
  return { busy: stages.filter((s) => !still(s)), still: stages.filter(still) }
}

export interface Station {
  id: string
  kind: 'box' | 'drum'
  name: string
  line: string
  tone: '' | 'ok' | 'warn' | 'bad'
  still: boolean
  /** A stage of the table, or a part of the page. */
  href: string
  says: string
}

export interface Track {
  id: string
  from: string
  to: string
  kind: 'write' | 'read' | 'process'
  still: boolean
}

/** The line as a graph: who hands on to whom. Stages that are only there are one station. */
export function line(h: LineHealth, persec: (v: number) => string, kept?: readonly string[]): { nodes: Station[]; edges: Track[] } {
  const { busy, still } = split(h.stages, kept)
  const nodes: Station[] = []
  const edges: Track[] = []
  const add = (n: Station) => nodes.push(n)
  const lead = (from: string, to: string, kind: Track['kind'], quiet = false) => edges.push({ id: from + ' ' + to, from, to, kind, still: quiet })
  const tone = (state: HealthState) => STATES[state].tone
  const c = h.collector
  add({
    id: 'collector', kind: 'box', name: 'collector', tone: c ? tone(c.state) : '', still: !c, href: '#collector',
    line: c ? (c.spoolRequests > 0 ? `${count(c.spoolRequests)} in its spool` : c.requests === null ? 'reports' : persec(c.requests)) : 'not told', says: c ? STATES[c.state].says : 'no collector has reported',
  })
  const topics = new Set(busy.map((s) => s.topic))
  for (const s of busy) {
    const waits = s.lagRecords !== null && s.lagRecords > 0 ? `${count(s.lagRecords)} wait` : s.items === null ? STATES[s.state].word.toLowerCase() : persec(s.items)
    add({ id: keyOf(s), kind: 'box', name: s.name, tone: tone(s.state), still: s.state === 'idle' || s.state === 'unknown', href: keyOf(s), line: s.deadLetters > 0 ? `${waits} · ${count(s.deadLetters)} aside` : waits, says: s.why || STATES[s.state].says })
  }
  const follows = (s: HealthStage) => (s.topic === 'events' && topics.has('ingest-events') ? busy.find((x) => x.topic === 'ingest-events') : undefined)
  for (const s of busy) {
    const before = follows(s)
    lead(before ? keyOf(before) : 'collector', keyOf(s), before ? 'read' : 'write', s.state === 'idle')
  }
  const store = h.stores[0]
  add({
    id: 'store', kind: 'drum', name: store?.name ?? 'store', tone: store?.error ? 'bad' : '', still: false, href: '#stores',
    line: store?.error ? 'does not answer' : store?.inserted != null ? persec(store.inserted) : 'answers', says: store?.error || 'rows a second that the stages made durable',
  })
  for (const s of busy) if (!(s.topic === 'ingest-events' && busy.some((x) => x.topic === 'events'))) lead(keyOf(s), 'store', 'process', s.state === 'idle')
  if (still.length > 0) {
    add({ id: 'still', kind: 'box', name: still.length === 1 ? still[0]!.name : `${still.length} more stages`, tone: '', still: true, href: '#stages', line: 'nothing comes', says: 'idle: ' + still.map((s) => s.name).join(', ') })
    lead('collector', 'still', 'write', true)
    lead('still', 'store', 'process', true)
  }
  add({ id: 'web', kind: 'box', name: 'web', tone: '', still: !h.web, href: '#web', line: h.web?.requests != null ? persec(h.web.requests) : 'not told', says: 'questions that the UI and the API are asked' })
  lead('store', 'web', 'read', !h.web)
  return { nodes, edges }
}

/** How far a stage is behind, in time where that is known. */
export function behind(s: Pick<HealthStage, 'behindNs' | 'lagRecords'>): string {
  if (s.behindNs !== null) return s.behindNs === 0 ? '0' : duration(s.behindNs)
  return s.lagRecords === 0 ? '0' : 'unknown'
}

/** Topic/partition@offset. */
export const letterKey = (l: Pick<DeadLetter, 'topic' | 'partition' | 'offset'>): string => `${l.topic}/${l.partition}@${l.offset}`

/** Reads what letterKey wrote. */
export function parseLetter(s: string): { topic: string; partition: number; offset: number } | undefined {
  const m = /^(\w[\w.-]*)\/(\d{1,10})@(\d{1,15})$/.exec(s)
  return m ? { topic: m[1]!, partition: Number(m[2]), offset: Number(m[3]) } : undefined
}

/** What an outcome of an action means, and how it is to be taken. */
export const OUTCOMES: Record<string, { word: string; tone: 'ok' | 'warn' | 'bad' }> = {
  retried: { word: 'put back', tone: 'ok' },
  discarded: { word: 'discarded', tone: 'ok' },
  already: { word: 'was done before', tone: 'ok' },
  busy: { word: 'somebody is at it', tone: 'warn' },
  gone: { word: 'is gone', tone: 'warn' },
  not_whole: { word: 'is not whole', tone: 'bad' },
  uncertain: { word: 'is not certain', tone: 'bad' },
  failed: { word: 'failed', tone: 'bad' },
}

/** Unix seconds at the middle of each slot. */
export function slots(fromNs: string, stepNs: number, n: number): number[] {
  const from = Number(BigInt(fromNs) / 1_000_000n) / 1000
  return Array.from({ length: n }, (_, i) => from + ((i + 0.5) * stepNs) / 1e9)
}
