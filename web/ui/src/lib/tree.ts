import type { Hop, Span } from '../api/types'

/** One row of the waterfall. A hop carries the spans that it stands for: the one that sent it and the one that fetched it. */
export type Row = { kind: 'span'; id: string; depth: number; span: Span } | { kind: 'hop'; id: string; depth: number; hop: Hop; spans: Span[] }

const keyOf = (traceId: string, spanId: string) => traceId + '/' + spanId
const startOf = (ns: string | null) => (ns === null ? 0n : BigInt(ns))

interface Node {
  row: { kind: 'span'; span: Span } | { kind: 'hop'; hop: Hop; spans: Span[] }
  id: string
  start: bigint
  children: Node[]
}

/**
 * The rows of a journey, parents before children, siblings by time. A hop takes
 * the place of the span that sent it (unless that span sent several records or
 * has work of its own below it) and of the span that only fetched it; the span
 * that processed it stands below the hop.
 * Links that form a cycle are cut, so every span and hop comes exactly once.
 */
export function rowsOf(spans: readonly Span[], hops: readonly Hop[]): Row[] {
  const byKey = new Map<string, Span>()
  for (const s of spans) byKey.set(keyOf(s.traceId, s.spanId), s)
  const sent = new Map<string, Hop[]>()
  const read = new Map<string, Hop>()
  for (const h of hops) {
    if (h.producer) push(sent, keyOf(h.producer.traceId, h.producer.spanId), h)
    if (h.consumer) {
      const key = keyOf(h.consumer.traceId, h.consumer.spanId)
      const before = read.get(key)
      if (!before || startOf(h.start) < startOf(before.start)) read.set(key, h)
    }
  }
  const fetched = new Map<string, Hop>()
  for (const h of hops) if (h.consumer) fetched.set(h.consumer.traceId + '/' + readingOf(h.topic, String(h.partition), String(h.offset), h.group), h)
  const parentKeys = new Set(spans.filter((s) => s.parentId).map((s) => keyOf(s.traceId, s.parentId)))
  const polls = new Map<string, Hop>()
  for (const s of spans) {
    const key = keyOf(s.traceId, s.spanId)
    const hop = fetched.get(s.traceId + '/' + pollOf(s))
    if (hop && !read.has(key) && !parentKeys.has(key)) polls.set(key, hop)
  }
  const pollsOf = new Map<Hop, Span[]>()
  for (const [key, h] of polls) push(pollsOf, h, byKey.get(key)!)
  const ownChildren = new Set<string>()
  for (const s of spans) {
    const key = keyOf(s.traceId, s.spanId)
    if (s.parentId && !read.has(key) && !polls.has(key)) ownChildren.add(keyOf(s.traceId, s.parentId))
  }
  const absorbed = new Set<string>()
  for (const [key, list] of sent) {
    const records = new Set(list.map((h) => `${h.topic}/${h.partition}/${h.offset}`))
    if (byKey.has(key) && !ownChildren.has(key) && !read.has(key) && records.size === 1) absorbed.add(key)
  }

  const spanNodes = new Map<string, Node>()
  for (const s of spans) {
    const key = keyOf(s.traceId, s.spanId)
    if (!absorbed.has(key) && !polls.has(key)) spanNodes.set(key, { row: { kind: 'span', span: s }, id: s.spanId, start: BigInt(s.start) + BigInt(s.movedNs ?? 0), children: [] })
  }
  const hopNodes = new Map<Hop, Node>()
  for (const h of hops) {
    const key = h.producer ? keyOf(h.producer.traceId, h.producer.spanId) : ''
    const own = absorbed.has(key) ? [byKey.get(key)!] : []
    own.push(...(pollsOf.get(h) ?? []))
    hopNodes.set(h, { row: { kind: 'hop', hop: h, spans: own }, id: h.id, start: startOf(h.start), children: [] })
  }

  const parents = new Map<Node, Node>()
  const parentOfSpan = (s: Span): Node | undefined => {
    if (!s.parentId) return undefined
    const key = keyOf(s.traceId, s.parentId)
    const node = spanNodes.get(key)
    if (node) return node
    const first = sent.get(key)?.[0] // absorbed: its hop stands for it
    return first && absorbed.has(key) ? hopNodes.get(first) : undefined
  }
  for (const h of hops) {
    const node = hopNodes.get(h)!
    let parent: Node | undefined
    if (h.producer) {
      const key = keyOf(h.producer.traceId, h.producer.spanId)
      const sender = byKey.get(key)
      parent = absorbed.has(key) && sender ? parentOfSpan(sender) : spanNodes.get(key)
    } else if (h.consumer) {
      const reader = byKey.get(keyOf(h.consumer.traceId, h.consumer.spanId))
      parent = reader && parentOfSpan(reader)
    }
    if (parent) parents.set(node, parent)
  }
  for (const [key, node] of spanNodes) {
    const s = byKey.get(key)!
    const hop = read.get(key)
    const parent = hop ? hopNodes.get(hop) : parentOfSpan(s)
    if (parent) parents.set(node, parent)
  }

  const all = [...spanNodes.values(), ...hopNodes.values()]
  cutCycles(all, parents)
  const roots: Node[] = []
  for (const node of all) {
    const parent = parents.get(node)
    if (parent) parent.children.push(node)
    else roots.push(node)
  }
  const out: Row[] = []
  const stack = sorted(roots)
    .reverse()
    .map((node) => ({ node, depth: 0 }))
  for (let top = stack.pop(); top; top = stack.pop()) {
    out.push({ ...top.node.row, id: top.node.id, depth: top.depth })
    for (const child of sorted(top.node.children).reverse()) stack.push({ node: child, depth: top.depth + 1 })
  }
  return out
}

function readingOf(topic: string, partition: string, offset: string, group: string): string {
  return [topic, partition, offset, group].join('/')
}

/** The reading that a receive span tells of; empty for other spans. */
function pollOf(s: Span): string {
  const get = (key: string) => s.attributes.find((a) => a.key === key)?.value ?? ''
  if (get('messaging.operation.type') !== 'receive') return ''
  return readingOf(get('messaging.destination.name'), get('messaging.destination.partition.id'), get('messaging.kafka.offset'), get('messaging.consumer.group.name'))
}

function push<K, V>(map: Map<K, V[]>, key: K, value: V) {
  const list = map.get(key)
  if (list) list.push(value)
  else map.set(key, [value])
}

function sorted(nodes: Node[]): Node[] {
  return nodes.sort((a, b) => (a.start < b.start ? -1 : a.start > b.start ? 1 : a.row.kind === b.row.kind ? 0 : a.row.kind === 'hop' ? -1 : 1))
}

/** Takes one link out of every circle, so that going up always ends. Each node is walked once. */
function cutCycles(all: readonly Node[], parents: Map<Node, Node>) {
  const ends = new Set<Node>()
  for (const start of all) {
    const path = new Set<Node>()
    let at: Node | undefined = start
    while (at && !ends.has(at)) {
      path.add(at)
      const parent: Node | undefined = parents.get(at)
      if (parent && path.has(parent)) parents.delete(at)
      at = parents.get(at)
    }
    for (const node of path) ends.add(node)
  }
}
