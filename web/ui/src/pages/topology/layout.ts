// Where nodes stand and how edges run. The library lays out layers; what it is
// given is chosen here, so that five hundred nodes take no seconds.
import dagre from '@dagrejs/dagre'

export interface LaidNode {
  id: string
}

export interface LaidEdge {
  id: string
  kind: string
  from: string
  to: string
}

export interface Point {
  x: number
  y: number
}

export interface Layout {
  /** Centres of nodes. */
  nodes: Map<string, Point>
  /** Ways of edges, from the border of one node to that of the other. */
  edges: Map<string, Point[]>
  width: number
  height: number
}

export const NODE_WIDTH = 156
export const NODE_HEIGHT = 46

/** Above it the library sees only edges that lead one layer on: long ones take it seconds. */
const FEW_NODES = 90

/**
 * The least number of steps from where records come in. Records come in at
 * services that read nothing; in a circle, at the first node.
 */
export function layersOf(nodes: readonly LaidNode[], edges: readonly LaidEdge[]): Map<string, number> {
  const next = new Map<string, string[]>()
  const entered = new Set<string>()
  for (const e of edges) {
    next.set(e.from, [...(next.get(e.from) ?? []), e.to])
    if (e.from !== e.to) entered.add(e.to)
  }
  const layer = new Map<string, number>()
  const walk = (starts: string[]) => {
    let front = starts.filter((id) => !layer.has(id))
    for (const id of front) layer.set(id, 0)
    for (let depth = 1; front.length > 0; depth++) {
      const found: string[] = []
      for (const id of front) {
        for (const to of next.get(id) ?? []) {
          if (!layer.has(to)) {
            layer.set(to, depth)
            found.push(to)
          }
        }
      }
      front = found
    }
  }
  walk(nodes.filter((n) => !entered.has(n.id)).map((n) => n.id))
  // What is left lies in circles that nothing leads into.
  for (const n of nodes) walk([n.id])
  return layer
}

/** Lays out from left to right. The same nodes and edges give the same layout, whatever the order they come in. */
export function layout(nodes: readonly LaidNode[], edges: readonly LaidEdge[]): Layout {
  const sortedNodes = [...nodes].sort(byId)
  const sortedEdges = [...edges].sort(byId)
  const few = nodes.length <= FEW_NODES
  const layer = few ? undefined : layersOf(sortedNodes, sortedEdges)
  const g = new dagre.graphlib.Graph()
  g.setGraph({ rankdir: 'LR', nodesep: few ? 26 : 12, edgesep: 14, ranksep: few ? 118 : 150, marginx: 24, marginy: 24 })
  g.setDefaultEdgeLabel(() => ({}))
  for (const n of sortedNodes) g.setNode(n.id, { width: NODE_WIDTH, height: NODE_HEIGHT })
  for (const e of sortedEdges) {
    if (!layer || layer.get(e.to) === (layer.get(e.from) ?? 0) + 1) g.setEdge(e.from, e.to, {})
  }
  dagre.layout(g)
  const shift = columns(sortedNodes, sortedEdges, g)
  const out: Layout = { nodes: new Map(), edges: new Map(), width: 0, height: 0 }
  for (const n of sortedNodes) {
    const at = g.node(n.id) as Point
    at.x = shift(at.x)
    out.nodes.set(n.id, { x: at.x, y: at.y })
    out.width = Math.max(out.width, at.x + NODE_WIDTH / 2 + 24)
    out.height = Math.max(out.height, at.y + NODE_HEIGHT / 2 + 24)
  }
  for (const e of sortedEdges) {
    const from = out.nodes.get(e.from)
    const to = out.nodes.get(e.to)
    if (!from || !to) continue
    const laid = g.hasEdge(e.from, e.to) ? ((g.edge(e.from, e.to) as { points?: Point[] }).points ?? []) : []
    const back = to.x <= from.x
    const inner = few ? laid.slice(1, -1).map(({ x, y }) => ({ x: shift(x), y })) : []
    out.edges.set(e.id, back && inner.length < 3 ? around(from, to) : [side(from, 1), ...inner.filter((p) => p.x > from.x + NODE_WIDTH / 2 && p.x < to.x - NODE_WIDTH / 2), side(to, -1)])
    for (const p of out.edges.get(e.id)!) {
      out.width = Math.max(out.width, p.x + 24)
      out.height = Math.max(out.height, p.y + 24)
    }
    if (back && inner.length >= 3) out.edges.set(e.id, [edgeOf(from, inner[0]!), ...inner, edgeOf(to, inner[inner.length - 1]!)])
  }
  return folded(out, sortedEdges)
}

/** The frame that a layout is folded for: about that of the page at 1280 px. */
const FRAME = { width: 840, height: 400 }
/** Between two rows of a folded layout; edges from row to row run here. */
const ROW_GAP = 90

/** In how many rows a layout can be read; where in none, in how many it is largest, if that is much. */
export function rowsOf(columns: number, width: number, height: number): number {
  const size = (rows: number) => Math.min(1, FRAME.width / (width / rows), FRAME.height / (rows * (height + ROW_GAP) - ROW_GAP))
  let best = 1
  for (let rows = 1; rows <= Math.min(columns, 40); rows++) {
    if (size(rows) >= 0.72) return rows
    if (size(rows) > size(best)) best = rows
  }
  return size(best) > 1.3 * size(1) ? best : 1
}

/** A long, low layout in rows, as a text has lines. */
function folded(l: Layout, edges: readonly LaidEdge[]): Layout {
  const xs = [...new Set([...l.nodes.values()].map((p) => p.x))].sort((a, b) => a - b)
  const rows = rowsOf(xs.length, l.width, l.height)
  if (rows === 1) return l
  const most = Math.ceil(xs.length / rows)
  const rowOf = new Map(xs.map((x, i) => [x, Math.floor(i / most)]))
  const left = (row: number) => xs[row * most]! - NODE_WIDTH / 2 - 24
  const move = (p: Point, row: number) => ({ x: p.x - left(row) + 16, y: p.y + row * (l.height - 24 + ROW_GAP) })
  const out: Layout = { nodes: new Map(), edges: new Map(), width: 0, height: 0 }
  const rowOfNode = new Map<string, number>()
  for (const [id, p] of l.nodes) {
    const row = rowOf.get(p.x)!
    rowOfNode.set(id, row)
    out.nodes.set(id, move(p, row))
  }
  for (const e of edges) {
    const way = l.edges.get(e.id)
    if (!way) continue
    const a = rowOfNode.get(e.from)!
    const b = rowOfNode.get(e.to)!
    if (a === b) {
      out.edges.set(e.id, way.map((p) => move(p, a)))
      continue
    }
    const from = side(out.nodes.get(e.from)!, 1)
    const to = side(out.nodes.get(e.to)!, -1)
    const between = Math.max(a, b) * (l.height - 24 + ROW_GAP) - ROW_GAP / 2 + 12
    out.edges.set(e.id, [from, { x: from.x + 26, y: between }, { x: to.x - 26, y: between }, to])
  }
  for (const p of [...out.nodes.values()].map(({ x, y }) => ({ x: x + NODE_WIDTH / 2, y: y + NODE_HEIGHT / 2 })).concat(...out.edges.values())) {
    out.width = Math.max(out.width, p.x + 24)
    out.height = Math.max(out.height, p.y + 24)
  }
  return out
}

/** The gap before a column: wide where edges carry words, narrow between a group and its services. */
const WIDE_GAP = 112
const NARROW_GAP = 66

/** Closes the gaps between columns that only processing crosses. Gives the new x of an old one. */
function columns(nodes: readonly LaidNode[], edges: readonly LaidEdge[], g: { node: (id: string) => unknown }): (x: number) => number {
  const xOf = (id: string) => Math.round((g.node(id) as Point).x)
  const xs = [...new Set(nodes.map((n) => xOf(n.id)))].sort((a, b) => a - b)
  const column = new Map(xs.map((x, i) => [x, i]))
  const wide = new Set<number>()
  for (const e of edges) {
    const a = column.get(xOf(e.from)) ?? 0
    const b = column.get(xOf(e.to)) ?? 0
    // The words of a long edge stand somewhere between.
    if (e.kind !== 'process' || b > a + 1) for (let i = a + 1; i <= b; i++) wide.add(i)
  }
  const at: number[] = []
  xs.forEach((_, i) => at.push(i === 0 ? NODE_WIDTH / 2 + 24 : at[i - 1]! + NODE_WIDTH + (wide.has(i) ? WIDE_GAP : NARROW_GAP)))
  return (x) => {
    const i = xs.findIndex((c) => c >= x)
    if (i < 0) return (at[xs.length - 1] ?? 0) + x - (xs[xs.length - 1] ?? 0)
    if (i === 0) return at[0]! + x - xs[0]!
    // Between two columns: in the same proportion.
    return at[i - 1]! + ((x - xs[i - 1]!) / (xs[i]! - xs[i - 1]!)) * (at[i]! - at[i - 1]!)
  }
}

function byId(a: LaidNode, b: LaidNode): number {
  return a.id < b.id ? -1 : a.id > b.id ? 1 : 0
}

function side(at: Point, way: 1 | -1): Point {
  return { x: at.x + (way * NODE_WIDTH) / 2, y: at.y }
}

/** The middle of the side that looks towards a point. */
function edgeOf(at: Point, towards: Point): Point {
  return side(at, towards.x >= at.x ? 1 : -1)
}

/** A way back: out at the right, past the nodes, in at the left. */
function around(from: Point, to: Point): Point[] {
  const a = side(from, 1)
  const b = side(to, -1)
  const below = from.y === to.y ? from.y + NODE_HEIGHT * 1.3 : (from.y + to.y) / 2
  return [a, { x: a.x + 46, y: below }, { x: b.x - 46, y: below }, b]
}

/** The way as a path of an SVG, rounded. */
export function pathOf(points: readonly Point[]): string {
  const [first, ...rest] = points
  if (!first || rest.length === 0) return ''
  const at = (p: Point) => `${round(p.x)} ${round(p.y)}`
  let last = first
  let d = 'M' + at(first)
  rest.forEach((p, i) => {
    const bend = Math.max(Math.abs(p.x - last.x) / 2, 8)
    // Ends are level; bends between them follow the way.
    const out = i === 0 || p.x > last.x ? last.x + bend : last.x - bend
    const into = i === rest.length - 1 || p.x > last.x ? p.x - bend : p.x + bend
    d += ` C${round(out)} ${round(last.y)} ${round(into)} ${round(p.y)} ${at(p)}`
    last = p
  })
  return d
}

function round(n: number): number {
  return Math.round(n * 10) / 10
}

/** The middle of a way, where its label stands. */
export function middleOf(points: readonly Point[]): Point {
  if (points.length === 0) return { x: 0, y: 0 }
  if (points.length % 2 === 1) return points[(points.length - 1) / 2]!
  const a = points[points.length / 2 - 1]!
  const b = points[points.length / 2]!
  return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 }
}
