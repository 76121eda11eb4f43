import { describe, expect, it } from 'vitest'
import type { Topology, TopologyEdge, TopologyNode } from '../../api/types'
import { plain } from '../../lib/format'
import { around, edgeLabel, edgeName, firstView, fit, fitName, inView, nextNode, nodeLine, nodeStates, numbersAt, readView, signsOf, sortEdges, standingOut, toneOf, viewText, widthOf, worst, zoom } from './graph'
import { layersOf, layout, middleOf, NODE_WIDTH, pathOf, rowsOf } from './layout'
import { clockOf, stepsOf } from './steps'

const SECOND = 1e9
const edge = (from: string, to: string, more: Partial<TopologyEdge> = {}): TopologyEdge => ({
  id: from + '>' + to,
  kind: from[0] === 's' ? 'write' : from[0] === 't' ? 'read' : 'process',
  from,
  to,
  messages: 100,
  failed: 0,
  perSecond: 2,
  lastSeen: '1790000000000000000',
  latency: { count: 100, p50Ns: 1e6, p95Ns: 2e6, p99Ns: 3e6, negative: 0 },
  lagNs: from[0] === 't' ? 0 : null,
  ...more,
})
const node = (id: string, more: Partial<TopologyNode> = {}): TopologyNode => ({
  id,
  kind: id[0] === 's' ? 'service' : id[0] === 't' ? 'topic' : 'group',
  name: id.slice(2),
  written: 100,
  read: 100,
  failed: 0,
  lastSeen: null,
  ...more,
})

/** checkout → orders → payments (group and service) → charges → mail, and audit beside it. */
const edges = [
  edge('s:checkout', 't:orders'),
  edge('t:orders', 'g:payments'),
  edge('t:orders', 'g:audit', { lagNs: 7200 * SECOND }),
  edge('g:payments', 's:payments'),
  edge('g:audit', 's:audit'),
  edge('s:payments', 't:charges', { failed: 2 }),
  edge('t:charges', 'g:mail'),
  edge('g:mail', 's:mailer'),
]
const graph: Topology = {
  finding: { rule: 'wait', tone: 'ok', title: [], text: [] },
  from: '1790000000000000000',
  to: '1790000050000000000',
  nodes: ['s:checkout', 't:orders', 'g:payments', 'g:audit', 's:payments', 's:audit', 't:charges', 'g:mail', 's:mailer'].map((id) => node(id)),
  edges,
  total: { services: 4, topics: 2, groups: 3, written: 0, read: 0, failed: 0 },
  cutNodes: 0,
}

describe('edges', () => {
  const f = (e: TopologyEdge, tone: string, label: string) => {
    expect([toneOf(e), plain(edgeLabel(e))]).toEqual([tone, label])
  }
  it('say what they carry, and whether they need a look', () => {
    f(edge('s:a', 't:b'), '', '2.00/s · ack p99 3.00 ms')
    f(edge('t:a', 'g:b'), '', '2.00/s · p99 3.00 ms')
    f(edge('g:a', 's:b'), '', 'p99 3.00 ms')
    f(edge('t:a', 'g:b', { lagNs: 9 * SECOND }), '', '2.00/s · p99 3.00 ms')
    f(edge('t:a', 'g:b', { lagNs: 3 * 3600 * SECOND }), 'warn', '2.00/s · p99 3.00 ms · 3 h 00 m behind')
    f(edge('t:a', 'g:b', { failed: 3 }), 'bad', '2.00/s · p99 3.00 ms · 3.0 % fail')
    f(edge('t:a', 'g:b', { messages: 1000, failed: 3 }), '', '2.00/s · p99 3.00 ms · 0.30 % fail')
    f(edge('t:a', 'g:b', { messages: 0, perSecond: 0, latency: null, lagNs: 3600 * SECOND }), 'bad', 'stands still · 1 h 00 m behind')
    f(edge('s:a', 't:b', { messages: 0, perSecond: 0, latency: null }), 'still', 'stands still')
    f(edge('s:a', 't:b', { latency: null }), '', '2.00/s')
  })
  it('have a name in words', () => {
    expect(plain(edgeName(edge('t:orders', 'g:')))).toBe('topic orders is read by group no group told: 2.00/s · p99 3.00 ms')
  })
  it('are thicker by the rate, within bounds', () => {
    const widths = [0.001, 0.1, 1, 10, 1000, 1e6, 1e9].map((perSecond) => widthOf(edge('s:a', 't:b', { perSecond })))
    expect(widths).toEqual([...widths].sort((a, b) => a - b))
    expect(widths[0]).toBeGreaterThan(1)
    expect(widths[6]).toBe(9)
    expect(widthOf(edge('s:a', 't:b', { messages: 0 }))).toBe(1)
  })
  it('are sorted by what is asked for', () => {
    expect(sortEdges(edges, 'behind')[0]!.id).toBe('t:orders>g:audit')
    expect(sortEdges(edges, 'failed')[0]!.id).toBe('s:payments>t:charges')
    expect(sortEdges(edges, 'from')[0]!.from).toBe('g:audit')
    expect(sortEdges([edge('s:a', 't:b', { latency: null }), edge('s:b', 't:b')], 'p99')[0]!.id).toBe('s:b>t:b')
  })
})

describe('nodes', () => {
  it('are as bad as the worst edge of theirs', () => {
    const states = nodeStates({ ...graph, nodes: [...graph.nodes, node('t:old', { written: 0, read: 0 })] })
    expect(states.get('g:audit')).toEqual({ tone: 'warn', say: '2\u202fh\u202f00\u202fm behind' })
    expect(states.get('t:orders')).toEqual({ tone: '', say: '' })
    expect(states.get('s:payments')!.tone).toBe('bad')
    expect(states.get('t:old')).toEqual({ tone: 'still', say: 'stands still' })
  })
  it('say their kind and rate, and leave the kind out where there is no room', () => {
    expect(nodeLine(node('t:a'), { tone: '', say: '' }, 50)).toBe('topic · 2.00/s')
    expect(nodeLine(node('g:a'), { tone: 'warn', say: '2 h 00 m behind' }, 50)).toBe('group · 2 h 00 m behind')
    expect(nodeLine(node('g:a'), { tone: 'warn', say: '2 h 00 m behind' }, 50, 110)).toBe('2 h 00 m behind')
  })
  it('have names that fit', () => {
    expect(fitName('orders', 100)).toBe('orders')
    expect(fitName('a-very-long-name-of-a-topic', 100)).toMatch(/^a-very-long-.*…$/)
    expect(fitName('注文注文注文注文注文', 100).length).toBeLessThan(10)
  })
})

describe('what hangs together', () => {
  it('of a topic leads from its writers to the services that read it', () => {
    const n = around('t:orders', edges)
    expect([...n.nodes].sort()).toEqual(['g:audit', 'g:payments', 's:audit', 's:checkout', 's:payments', 't:orders'])
  })
  it('of a service leads to the next services both ways', () => {
    const n = around('s:payments', edges)
    expect([...n.nodes].sort()).toEqual(['g:mail', 'g:payments', 's:checkout', 's:mailer', 's:payments', 't:charges', 't:orders'])
    expect(n.edges.has('t:orders>g:audit')).toBe(false)
  })
  it('of an edge is its way alone', () => {
    const n = around('t:orders>g:audit', edges)
    expect([...n.nodes].sort()).toEqual(['g:audit', 's:audit', 's:checkout', 't:orders'])
    expect([...n.edges].sort()).toEqual(['g:audit>s:audit', 's:checkout>t:orders', 't:orders>g:audit'])
  })
  it('ends in a circle', () => {
    const circle = [edge('s:a', 't:a'), edge('t:a', 'g:a'), edge('g:a', 's:a')]
    expect(around('s:a', circle).edges.size).toBe(3)
  })
})

describe('time travel', () => {
  it('puts the numbers of a step on the whole graph', () => {
    const then: Topology = { ...graph, nodes: graph.nodes.slice(0, 3), edges: [edge('s:checkout', 't:orders', { messages: 7 })], cutNodes: 3 }
    const got = numbersAt(graph, then)
    expect(got.nodes.map((n) => n.id)).toEqual(graph.nodes.map((n) => n.id))
    expect(got.edges.map((e) => e.messages)).toEqual([7, 0, 0, 0, 0, 0, 0, 0])
    expect(got.edges[2]!.lagNs).toBeNull()
    expect(got.nodes[8]!.read).toBe(0)
    expect(got.cutNodes).toBe(0)
    expect(numbersAt(graph, undefined)).toBe(graph)
  })
  it('has a step also where nothing passed', () => {
    const all = stepsOf({ from: '1790000000000000000', to: '1790001000000000000', stepNs: 300e9, steps: [{ start: '1790000300000000000', written: 1, read: 2, failed: 0, wait: null }] })
    expect(all.map((s) => s.read)).toEqual([0, 2, 0, 0])
    expect(all[3]!.end).toBe('1790001000000000000')
    expect(clockOf('1790000000000000000', false)).toMatch(/^\d\d:\d\d$/)
  })
})

describe('the layout', () => {
  it('leads from left to right and is the same whatever the order', () => {
    expect(layout(graph.nodes, edges)).toEqual(layout([...graph.nodes].reverse(), [...edges].reverse()))
    const short = edges.slice(0, 5)
    const nodes = [...new Set(short.flatMap((e) => [e.from, e.to]))].map((id) => node(id))
    const a = layout(nodes, short)
    for (const e of short) {
      const from = a.nodes.get(e.from)!
      const to = a.nodes.get(e.to)!
      expect(to.x - from.x).toBeGreaterThan(NODE_WIDTH)
      const way = a.edges.get(e.id)!
      expect(way[0]!.x).toBe(from.x + NODE_WIDTH / 2)
      expect(way[way.length - 1]!.x).toBe(to.x - NODE_WIDTH / 2)
    }
  })
  it('leaves room for words where edges carry them', () => {
    const l = layout(graph.nodes, edges)
    const gap = (a: string, b: string) => l.nodes.get(b)!.x - l.nodes.get(a)!.x - NODE_WIDTH
    expect(gap('t:orders', 'g:audit')).toBeGreaterThan(100)
    expect(gap('g:payments', 's:payments')).toBeLessThan(80)
  })
  it('is folded like a text where it is long and low', () => {
    expect(rowsOf(10, 2200, 100)).toBe(2)
    expect(rowsOf(4, 900, 100)).toBe(1)
    expect(rowsOf(60, 9600, 5800)).toBe(1)
    const chain: TopologyEdge[] = []
    for (let i = 0; i < 20; i++) chain.push(edge(`s:${i}`, `t:${i}`), edge(`t:${i}`, `g:${i}`), edge(`g:${i}`, `s:${i + 1}`))
    const nodes = [...new Set(chain.flatMap((e) => [e.from, e.to]))].map((id) => node(id))
    const l = layout(nodes, chain)
    expect(l.width / l.height).toBeLessThan(6)
    const rows = new Set([...l.nodes.values()].map((p) => Math.round(p.y)))
    expect(rows.size).toBeGreaterThan(2)
    for (const n of nodes) {
      const p = l.nodes.get(n.id)!
      expect(p.x).toBeGreaterThan(NODE_WIDTH / 2)
      expect(p.x).toBeLessThan(l.width)
      expect(p.y).toBeLessThan(l.height)
    }
    // Lines are read from the left: the next row begins below the one before.
    expect(l.nodes.get('s:0')!.y).toBe(Math.min(...[...l.nodes.values()].map((p) => p.y)))
    expect(l.nodes.get('s:20')!.y).toBe(Math.max(...[...l.nodes.values()].map((p) => p.y)))
    for (const e of chain) expect(l.edges.get(e.id)!.length).toBeGreaterThan(1)
  })
  it('takes circles, and 500 nodes in a moment', () => {
    const circle = [edge('s:a', 't:a'), edge('t:a', 'g:a'), edge('g:a', 's:a')]
    expect(layout(['s:a', 't:a', 'g:a'].map((id) => node(id)), circle).edges.size).toBe(3)
    const many: TopologyEdge[] = []
    for (let i = 0; i < 167; i++) many.push(edge(`s:${i}`, `t:${i}`), edge(`t:${i}`, `g:${(i * 7) % 167}`), edge(`t:${i}`, `g:${(i * 31) % 167}`), edge(`g:${i}`, `s:${(i + 1) % 167}`))
    const nodes = [...new Set(many.flatMap((e) => [e.from, e.to]))].map((id) => node(id))
    expect(nodes.length).toBeGreaterThan(490)
    const began = performance.now()
    const l = layout(nodes, many)
    expect(performance.now() - began).toBeLessThan(10_000)
    expect(l.nodes.size).toBe(nodes.length)
    for (const e of many) expect(pathOf(l.edges.get(e.id)!)).toMatch(/^M[-\d. ]+( C[-\d. ]+)+$/)
    // No two stand on one another.
    const places = new Set([...l.nodes.values()].map((p) => `${Math.round(p.x)} ${Math.round(p.y)}`))
    expect(places.size).toBe(nodes.length)
  })
  it('puts each node in the layer of its shortest way', () => {
    const l = layersOf(graph.nodes, [...edges, edge('s:mailer', 't:orders')])
    expect([l.get('s:checkout'), l.get('t:orders'), l.get('g:audit'), l.get('s:mailer')]).toEqual([0, 1, 2, 6])
    expect(layersOf([node('s:a'), node('t:a')], [edge('s:a', 't:a'), edge('t:a', 's:a')]).size).toBe(2)
  })
  it('has the words of an edge on its middle', () => {
    expect(middleOf([{ x: 0, y: 0 }, { x: 10, y: 4 }])).toEqual({ x: 5, y: 2 })
    expect(middleOf([{ x: 0, y: 0 }, { x: 3, y: 1 }, { x: 10, y: 4 }])).toEqual({ x: 3, y: 1 })
  })
  it('is walked by arrows', () => {
    const l = layout(graph.nodes, edges)
    expect(nextNode('s:checkout', 'ArrowRight', l, edges)).toBe('t:orders')
    expect(['g:payments', 'g:audit']).toContain(nextNode('t:orders', 'ArrowRight', l, edges))
    expect(nextNode('g:audit', 'ArrowLeft', l, edges)).toBe('t:orders')
    const up = l.nodes.get('g:audit')!.y > l.nodes.get('g:payments')!.y
    expect(nextNode('g:audit', up ? 'ArrowUp' : 'ArrowDown', l, edges)).toBe('g:payments')
    expect(nextNode('s:checkout', 'ArrowLeft', l, edges)).toBeUndefined()
  })
})

describe('the view', () => {
  it('shows all, and begins at the left where all could not be read', () => {
    const wide = { width: 2000, height: 300 }
    expect(fit(wide, 1000, 500).k).toBe(0.5)
    const first = firstView(wide, 1000, 500)
    expect([first.x, first.k]).toEqual([0, 0.62])
    expect(firstView({ width: 20_000, height: 9000 }, 1000, 500)).toEqual(fit({ width: 20_000, height: 9000 }, 1000, 500))
    expect(inView([{ x: 10, y: 10 }, { x: 1900, y: 10 }], first, 1000, 500)).toBe(1)
  })
  it('keeps the place under the hand where it is', () => {
    const v = zoom({ x: 10, y: 20, k: 0.5 }, 2, 110, 220)
    expect(v.k).toBe(1)
    expect((110 - v.x) / v.k).toBeCloseTo((110 - 10) / 0.5)
    expect(zoom(v, 100, 0, 0).k).toBe(2.5)
  })
  it('goes into the URL and back', () => {
    const v = { x: -120, y: 33, k: 0.72 }
    expect(readView(viewText(v))).toEqual(v)
    for (const bad of [null, '', '1,2', '1,2,3', 'a,b,c', '1,2,0.001', '1,2,NaN']) expect(readView(bad)).toBeUndefined()
  })
})

it('names the worst first', () => {
  const w = worst(graph, 2)
  expect(w.behind.map((e) => e.to)).toEqual(['g:audit'])
  expect(w.failing.map((e) => e.to)).toEqual(['t:charges'])
  expect(w.waiting.length).toBe(2)
})

describe('names beside nodes that are too small for them', () => {
  const places = new Map([
    ['t:orders', { x: 1000, y: 1000 }],
    ['g:billing', { x: 1100, y: 1000 }],
    ['s:shop', { x: 3000, y: 1000 }],
    ['s:edge', { x: 10, y: 2000 }],
    ['s:away', { x: 9000, y: 1000 }],
  ])
  const view = { x: 0, y: 0, k: 0.1 }
  it('lie over no other, within the frame, and the first comes first', () => {
    const signs = signsOf(['t:orders', 'g:billing', 't:orders', 's:shop', 's:edge', 's:away', 's:none'], places, view, 400, 400)
    expect(signs.map((s) => s.text)).toEqual(['orders', 'shop', 'edge'])
    expect(signs[2]!.x).toBe(2)
    expect(signsOf(['g:billing', 't:orders'], places, view, 400, 400).map((s) => s.text)).toEqual(['billing'])
  })
  it('are of the ends of what stands out', () => {
    const e = (to: string, failed: number, lagNs: number) => ({ id: to, kind: 'read', from: 't:orders', to, messages: 10, failed, lagNs, latency: null }) as unknown as TopologyEdge
    const graph = { edges: [e('g:calm', 0, 0), e('g:late', 0, 60e9), e('g:broken', 5, 0)] } as unknown as Topology
    expect(standingOut(graph)).toEqual(['g:late', 't:orders', 'g:broken', 't:orders'])
  })
})
