import { expect, test } from 'vitest'
import type { HealthStage, LineHealth } from '../../api/types'
import { behind, letterKey, line, parseLetter, slots, split, stageOf } from './health'

function stage(change: Partial<HealthStage>): HealthStage {
  return {
    name: 'persist-spans', topic: 'ingest-spans', dlq: 'ingest-spans-dlq', group: 'g', does: '', state: 'ok', why: '', processes: 1, records: 1, items: 100, written: 1, lagRecords: 0, behindNs: 0,
    handleNs: null, writeNs: null, batches: 3, slow: 0, retries: 0, errors: 0, deadLetters: 0, gaps: 0, lost: 0, standing: [], failures: [], lastBatch: null, itemsOver: [], lagOver: [], ...change,
  }
}

function health(stages: HealthStage[]): LineHealth {
  return { finding: { rule: 'ok', tone: 'ok', title: [], text: [] }, ruledOut: [], now: '0', from: '0', stepNs: 1, processes: [], collector: null, stages, stores: [], web: null, letters: null }
}

const events = [stage({ name: 'process-events', topic: 'ingest-events' }), stage({ name: 'persist-events', topic: 'events' })]
const idle = stage({ name: 'persist-logs', topic: 'ingest-logs', state: 'idle', batches: 0 })

test('stages that are only there are folded into one station', () => {
  const { nodes, edges } = line(health([stage({}), ...events, idle, { ...idle, name: 'persist-replays' }]), String)
  expect(nodes.map((n) => n.id)).toEqual(['collector', 'persist-spans/ingest-spans', 'process-events/ingest-events', 'persist-events/events', 'store', 'still', 'web'])
  expect(nodes.find((n) => n.id === 'still')?.name).toBe('2 more stages')
  expect(edges.filter((e) => e.from === 'process-events/ingest-events').map((e) => e.to)).toEqual(['persist-events/events'])
  expect(edges.filter((e) => e.to === 'store').map((e) => e.from)).toEqual(['persist-spans/ingest-spans', 'persist-events/events', 'still'])
})

test('an idle stage that put something aside, or handled something, is shown', () => {
  const { busy, still } = split([idle, { ...idle, deadLetters: 2 }, { ...idle, batches: 1 }, stage({ state: 'unknown', batches: 0 })])
  expect(busy.length).toBe(2)
  expect(still.length).toBe(2)
})

test('a station says what waits, and what was put aside', () => {
  const { nodes } = line(health([stage({ lagRecords: 1204, deadLetters: 6, state: 'behind' })]), String)
  const n = nodes.find((n) => n.id.startsWith('persist-spans'))
  expect(n?.line).toBe('1\u202f204 wait · 6 aside')
  expect(n?.tone).toBe('warn')
})

test('a stage is found by its name, or by name and topic', () => {
  const two = [stage({ name: 'persist-replays', topic: 'a' }), stage({ name: 'persist-replays', topic: 'b' })]
  expect(stageOf(two, 'persist-replays')?.topic).toBe('a')
  expect(stageOf(two, 'persist-replays/b')?.topic).toBe('b')
  expect(stageOf(two, 'x')).toBeUndefined()
})

test('time behind is unknown only when records wait and nobody knows for how long', () => {
  expect(behind({ behindNs: null, lagRecords: 0 })).toBe('0')
  expect(behind({ behindNs: null, lagRecords: 3 })).toBe('unknown')
  expect(behind({ behindNs: null, lagRecords: null })).toBe('unknown')
  expect(behind({ behindNs: 41e9, lagRecords: 3 })).toMatch(/^41/)
})

test('a letter is named in the URL', () => {
  const l = { topic: 'ingest-spans-dlq', partition: 2, offset: 71 }
  expect(letterKey(l)).toBe('ingest-spans-dlq/2@71')
  expect(parseLetter(letterKey(l))).toEqual(l)
  for (const bad of ['', 'a@1', 'a/1', 'a/x@1', '../1@1', 'a/1@-1']) expect(parseLetter(bad)).toBeUndefined()
})

test('slots have the times of their middles', () => {
  expect(slots('1000000000000', 2e9, 3)).toEqual([1001, 1003, 1005])
})

test('stages that are shown stay where they are', () => {
  const [a, b, c] = ['a', 'b', 'c'].map((name) => stage({ name, topic: name })) as [HealthStage, HealthStage, HealthStage]
  const asleep = { ...a, state: 'idle' as const, batches: 0, deadLetters: 0 }
  const { busy, still } = split([asleep, b, c], ['b/b', 'a/a'])
  expect(busy.map((s) => s.name)).toEqual(['b', 'a'])
  expect(busy[1]!.state).toBe('idle')
  expect(still.map((s) => s.name)).toEqual(['c'])
})
