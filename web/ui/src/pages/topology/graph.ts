// What the graph says, as pure functions.
import type { Topology, TopologyEdge, TopologyNode } from '../../api/types'
import { count, duration, rate, share } from '../../lib/format'
import { NODE_HEIGHT, type Layout } from './layout'

/** A lag that is worth colour and words; some records are always on their way. */
export const MUCH_BEHIND_NS = 10e9

/** Numbers of one time on the nodes and edges of a longer one: what was not there stands still. */
export function numbersAt(whole: Topology, then: Topology | undefined): Topology {
  if (!then) return whole
  const nodes = new Map(then.nodes.map((n) => [n.id, n]))
  const edges = new Map(then.edges.map((e) => [e.id, e]))
  return {
    ...then,
    cutNodes: whole.cutNodes,
    nodes: whole.nodes.map((n) => nodes.get(n.id) ?? { ...n, written: 0, read: 0, failed: 0, lastSeen: null }),
    edges: whole.edges.map((e) => edges.get(e.id) ?? { ...e, messages: 0, failed: 0, perSecond: 0, lastSeen: null, latency: null, lagNs: null }),
  }
}

export type Tone = 'bad' | 'warn' | 'still' | ''

/** Whether an edge needs a look: bad fails or has stopped with records unread, warn is behind, still carries nothing. */
export function toneOf(e: TopologyEdge): Tone {
  if (e.failed > 0 && e.failed / e.messages >= 0.01) return 'bad'
  const behind = (e.lagNs ?? 0) >= MUCH_BEHIND_NS
  if (behind) return e.messages === 0 ? 'bad' : 'warn'
  return e.messages === 0 ? 'still' : ''
}

const ORDER: Tone[] = ['', 'still', 'warn', 'bad']

export interface NodeState {
  tone: Tone
  /** Why, in words; empty when there is nothing to say. */
  say: string
}

/** A node is as its worst edge: who reads is behind, not what is read; who writes fails to. */
export function nodeStates(t: Topology): Map<string, NodeState> {
  const out = new Map<string, NodeState>()
  for (const n of t.nodes) out.set(n.id, n.written + n.read === 0 ? { tone: 'still', say: 'stands still' } : { tone: '', say: '' })
  const worstLag = new Map<string, number>()
  for (const e of t.edges) {
    const tone = toneOf(e)
    if (tone === '' || tone === 'still') continue
    const id = e.kind === 'write' ? e.from : e.to
    const have = out.get(id)
    const lag = e.lagNs ?? 0
    const failing = e.messages > 0 && e.failed / e.messages >= 0.01
    if (!have || ORDER.indexOf(tone) < ORDER.indexOf(have.tone) || (tone === have.tone && lag <= (worstLag.get(id) ?? 0))) continue
    worstLag.set(id, lag)
    out.set(id, { tone, say: failing ? share(e.failed / e.messages) + ' fail' : duration(lag) + ' behind' })
  }
  return out
}

/** The stroke of an edge in px, by messages a second: 1 for what stands still, 9 at most. */
export function widthOf(e: TopologyEdge): number {
  if (e.messages === 0) return 1
  return Math.min(9, Math.max(1.2, 2.2 + 1.3 * Math.log10(e.perSecond + 0.01)))
}

/** What stands above and below the line of an edge: short enough for the gap between two nodes. */
export function edgeLines(e: TopologyEdge): { above: string; below: string[] } {
  const behind = (e.lagNs ?? 0) >= MUCH_BEHIND_NS ? [duration(e.lagNs!) + ' behind'] : []
  if (e.messages === 0) return { above: 'stands still', below: behind }
  const p99 = e.latency ? duration(e.latency.p99Ns) : ''
  // Between a group and its service there is little room; what fails stands on the edge before.
  if (e.kind === 'process') return { above: p99 && 'p99', below: p99 ? [p99] : [] }
  const fails = e.failed > 0 ? [share(e.failed / e.messages) + ' fail'] : []
  return { above: rate(e.perSecond), below: [...(p99 ? [(e.kind === 'write' ? 'ack p99 ' : 'p99 ') + p99] : []), ...behind, ...fails] }
}

/** The same in one line. */
export function edgeLabel(e: TopologyEdge): string {
  const { above, below } = edgeLines(e)
  if (e.kind === 'process' && above && e.messages > 0) return [above + ' ' + below[0], ...below.slice(1)].join(' · ')
  return [above, ...below].filter(Boolean).join(' · ')
}

/** How an edge is called in words. */
export const VERB: Record<TopologyEdge['kind'], string> = { write: 'writes', read: 'is read by', process: 'is processed by' }

export function nameOf(id: string): string {
  const name = id.slice(2)
  if (name) return name
  return id.startsWith('g') ? 'no group told' : 'no name'
}

export function kindOf(id: string): TopologyNode['kind'] {
  return id.startsWith('s:') ? 'service' : id.startsWith('t:') ? 'topic' : 'group'
}

/** The whole edge in words, for those who do not see it. */
export function edgeName(e: TopologyEdge): string {
  return `${kindOf(e.from)} ${nameOf(e.from)} ${VERB[e.kind]} ${kindOf(e.to)} ${nameOf(e.to)}: ${edgeLabel(e) || 'nothing measured'}`
}

/** The second line of a node: what it is, and the worst or the most of it; without what it is where that does not fit. */
export function nodeLine(n: TopologyNode, state: NodeState, seconds: number, px = Infinity): string {
  const busiest = n.kind === 'group' ? n.read : n.kind === 'topic' ? n.written || n.read : Math.max(n.written, n.read)
  const what = state.say || rate(busiest / seconds)
  const both = n.kind + ' · ' + what
  return fitName(both, px) === both ? both : fitName(what, px)
}

export function nodeName(n: TopologyNode, state: NodeState): string {
  return `${n.kind} ${nameOf(n.id)}, ${count(n.written)} written, ${count(n.read)} read${state.say && ', ' + state.say}`
}

/** A name that fits into so many px of 12.5 px type; wide letters count double. */
export function fitName(name: string, px: number): string {
  const width = (c: string) => (/[\u1100-\u11ff\u2e80-\u9fff\uac00-\ud7af\uff00-\uff60]/.test(c) ? 12.5 : /[A-ZА-ЯMWmw@]/.test(c) ? 9 : 6.9)
  let used = 0
  let out = ''
  for (const c of name) {
    used += width(c)
    if (used > px) return out.slice(0, -1) + '…'
    out += c
  }
  return out
}

export interface Neighbourhood {
  nodes: Set<string>
  edges: Set<string>
}

/** What hangs together with a node or an edge by one hop: on to the next services, and back to those before. */
export function around(id: string, edges: readonly TopologyEdge[]): Neighbourhood {
  const out: Neighbourhood = { nodes: new Set(), edges: new Set() }
  const walk = (start: string, way: 'on' | 'back') => {
    const queue = [start]
    const seen = new Set(queue)
    for (let at = queue.shift(); at !== undefined; at = queue.shift()) {
      out.nodes.add(at)
      if (at !== start && kindOf(at) === 'service') continue
      for (const e of edges) {
        const [here, there] = way === 'on' ? [e.from, e.to] : [e.to, e.from]
        if (here !== at) continue
        out.edges.add(e.id)
        out.nodes.add(there)
        if (!seen.has(there)) {
          seen.add(there)
          queue.push(there)
        }
      }
    }
  }
  const edge = edges.find((e) => e.id === id)
  if (edge) {
    out.edges.add(edge.id)
    for (const [end, way] of [
      [edge.from, 'back'],
      [edge.to, 'on'],
    ] as const) {
      if (kindOf(end) === 'service') out.nodes.add(end)
      else walk(end, way)
    }
    return out
  }
  walk(id, 'on')
  walk(id, 'back')
  return out
}

export type Arrow = 'ArrowLeft' | 'ArrowRight' | 'ArrowUp' | 'ArrowDown'

/** The node that an arrow leads to: along an edge to the left and the right, else the nearest above and below. */
export function nextNode(id: string, arrow: Arrow, l: Layout, edges: readonly TopologyEdge[]): string | undefined {
  const at = l.nodes.get(id)
  if (!at) return undefined
  const nearest = (ids: Iterable<string>, cost: (dx: number, dy: number) => number | undefined) => {
    let best: string | undefined
    let least = Infinity
    for (const other of ids) {
      const p = l.nodes.get(other)
      if (!p || other === id) continue
      const c = cost(p.x - at.x, p.y - at.y)
      if (c !== undefined && (c < least || (c === least && best !== undefined && other < best))) {
        least = c
        best = other
      }
    }
    return best
  }
  switch (arrow) {
    case 'ArrowRight':
      return nearest(edges.filter((e) => e.from === id).map((e) => e.to), (_, dy) => Math.abs(dy))
    case 'ArrowLeft':
      return nearest(edges.filter((e) => e.to === id).map((e) => e.from), (_, dy) => Math.abs(dy))
    case 'ArrowUp':
      return nearest(l.nodes.keys(), (dx, dy) => (dy < 0 ? -dy + 4 * Math.abs(dx) : undefined))
    case 'ArrowDown':
      return nearest(l.nodes.keys(), (dx, dy) => (dy > 0 ? dy + 4 * Math.abs(dx) : undefined))
  }
}

export interface View {
  x: number
  y: number
  k: number
}

export const MIN_ZOOM = 0.04
export const MAX_ZOOM = 2.5

/** Buttons stand at the top of the frame. */
const ABOVE = 36

/** The view that shows all of a layout in a frame, no larger than life. */
export function fit(l: { width: number; height: number }, width: number, height: number): View {
  const k = Math.max(MIN_ZOOM, Math.min(1.15, width / Math.max(l.width, 1), (height - ABOVE) / Math.max(l.height, 1)))
  return { x: (width - l.width * k) / 2, y: ABOVE + (height - ABOVE - l.height * k) / 2, k }
}

/** Below it names are hard to read. */
const READABLE = 0.62

/**
 * The first view: all of it when it can be read, or when it is so large that an
 * overview says more; else the beginning, where records come in.
 */
export function firstView(l: { width: number; height: number }, width: number, height: number): View {
  const all = fit(l, width, height)
  if (all.k >= READABLE || all.k < 0.22) return all
  const x = l.width * READABLE <= width ? (width - l.width * READABLE) / 2 : 0
  return { x, y: (height - l.height * READABLE) / 2, k: READABLE }
}

/** How many points of a layout lie in the frame. */
export function inView(points: Iterable<{ x: number; y: number }>, v: View, width: number, height: number): number {
  let n = 0
  for (const p of points) {
    const x = p.x * v.k + v.x
    const y = p.y * v.k + v.y
    if (x >= 0 && x <= width && y >= 0 && y <= height) n++
  }
  return n
}

/** A name beside its node, in px of the frame, where the graph is too small for names within. */
export interface Sign {
  id: string
  x: number
  y: number
  text: string
}

const SIGN_HEIGHT = 14
const SIGN_WIDTH = 190

/** Names of those nodes that have room for one, the first before the others. */
export function signsOf(ids: Iterable<string>, places: ReadonlyMap<string, { x: number; y: number }>, v: View, width: number, height: number): Sign[] {
  const out: (Sign & { to: number })[] = []
  for (const id of ids) {
    const at = places.get(id)
    if (!at || out.some((o) => o.id === id)) continue
    const text = fitName(nameOf(id), SIGN_WIDTH)
    const wide = 6.9 * [...text].length
    const centre = at.x * v.k + v.x
    const y = at.y * v.k + v.y - 0.5 * NODE_HEIGHT * v.k - 4
    if (centre < 0 || centre > width || y < 0 || y > height) continue
    const x = Math.min(Math.max(centre - wide / 2, 2), Math.max(width - wide - 2, 2))
    if (out.some((o) => Math.abs(o.y - y) < SIGN_HEIGHT && x < o.to + 6 && o.x < x + wide + 6)) continue
    out.push({ id, x, y, text, to: x + wide })
  }
  return out.map(({ id, x, y, text }) => ({ id, x, y, text }))
}

/** The nodes at the ends of what stands out, the worst first. */
export function standingOut(t: Topology): string[] {
  const w = worst(t, 3)
  return [0, 1, 2].flatMap((i) => [w.behind[i], w.failing[i], w.waiting[i]]).flatMap((e) => (e ? [e.to, e.from] : []))
}

/** Nearer or farther by a factor, with the point (px, py) of the frame where it is. */
export function zoom(v: View, factor: number, px: number, py: number): View {
  const k = Math.min(MAX_ZOOM, Math.max(MIN_ZOOM, v.k * factor))
  return { k, x: px - ((px - v.x) * k) / v.k, y: py - ((py - v.y) * k) / v.k }
}

/** The view as it stands in the URL, and back; undefined for what is none. */
export function viewText(v: View): string {
  return `${Math.round(v.x)},${Math.round(v.y)},${v.k.toPrecision(3)}`
}

export function readView(s: string | null): View | undefined {
  const m = /^(-?\d{1,6}),(-?\d{1,6}),(\d(?:\.\d{1,6})?)$/.exec(s ?? '')
  if (!m) return undefined
  const k = Number(m[3])
  return k >= MIN_ZOOM && k <= MAX_ZOOM ? { x: Number(m[1]), y: Number(m[2]), k } : undefined
}

/** Edges that deserve the first look, worst first, at most n of each kind. */
export function worst(t: Topology, n: number): { behind: TopologyEdge[]; failing: TopologyEdge[]; waiting: TopologyEdge[] } {
  const reads = t.edges.filter((e) => e.kind === 'read')
  return {
    behind: reads.filter((e) => (e.lagNs ?? 0) >= MUCH_BEHIND_NS).sort((a, b) => (b.lagNs ?? 0) - (a.lagNs ?? 0)).slice(0, n),
    failing: t.edges.filter((e) => e.kind !== 'process' && e.failed > 0).sort((a, b) => b.failed / b.messages - a.failed / a.messages).slice(0, n),
    waiting: reads.filter((e) => (e.latency?.p99Ns ?? 0) > 0).sort((a, b) => (b.latency?.p99Ns ?? 0) - (a.latency?.p99Ns ?? 0)).slice(0, n),
  }
}

export const SORTS = ['messages', 'p99', 'behind', 'failed', 'from'] as const
export type Sort = (typeof SORTS)[number]

export function sortEdges(edges: readonly TopologyEdge[], by: Sort): TopologyEdge[] {
  const size: Record<Exclude<Sort, 'from'>, (e: TopologyEdge) => number> = {
    messages: (e) => e.messages,
    p99: (e) => e.latency?.p99Ns ?? -Infinity,
    behind: (e) => e.lagNs ?? -Infinity,
    failed: (e) => (e.messages > 0 ? e.failed / e.messages : 0),
  }
  const names = (a: TopologyEdge, b: TopologyEdge) => nameOf(a.from).localeCompare(nameOf(b.from)) || nameOf(a.to).localeCompare(nameOf(b.to))
  if (by === 'from') return [...edges].sort(names)
  const f = size[by]
  return [...edges].sort((a, b) => {
    const x = f(a)
    const y = f(b)
    return x === y ? names(a, b) : y - x
  })
}
