import { memo, useEffect, useMemo, useRef, useState, type KeyboardEvent, type PointerEvent } from 'react'
import type { Topology, TopologyEdge, TopologyNode } from '../../api/types'
import { around, edgeLines, edgeName, firstView, fit, fitName, inView, nextNode, nodeLine, nodeName, nodeStates, nameOf, signsOf, standingOut, toneOf, widthOf, zoom, type Arrow, type Neighbourhood, type NodeState, type View } from './graph'
import { middleOf, NODE_HEIGHT as H, NODE_WIDTH as W, pathOf, type Layout, type Point } from './layout'

/** Smaller than this, what cannot be read is left out. */
const NAMES_FROM = 0.32
const LABELS_FROM = 0.55

const CALM: NodeState = { tone: '', say: '' }

export interface GraphProps {
  graph: Topology
  /** What the rates of nodes are over. */
  seconds: number
  layout: Layout
  selected: string
  select: (id: string) => void
  /** Of the URL; undefined shows all. */
  view: View | undefined
  setView: (v: View | undefined) => void
  /** Nodes that a search found. */
  found: ReadonlySet<string> | undefined
  /** Changes when the selection is to be brought into sight. */
  reveal: number
}

/** The graph, to be moved, zoomed and walked by keys. */
export function Graph({ graph, seconds, layout, selected, select, view: wanted, setView, found, reveal }: GraphProps) {
  const svg = useRef<SVGSVGElement>(null)
  const [size, setSize] = useState({ width: 0, height: 0 })
  const [live, setLive] = useState<View>()
  const [hover, setHover] = useState('')
  const [focus, setFocus] = useState('')
  const drag = useRef<{ x: number; y: number; from: View; moved: boolean } | undefined>(undefined)
  const dragged = useRef(false)
  useEffect(() => {
    const el = svg.current
    if (!el) return
    const measure = () => setSize({ width: el.clientWidth, height: el.clientHeight })
    const observer = new ResizeObserver(measure)
    observer.observe(el)
    measure()
    return () => observer.disconnect()
  }, [])
  const view = live ?? wanted ?? firstView(layout, size.width, size.height)
  const now = useRef(view)
  now.current = view

  // The URL follows when the hand rests.
  useEffect(() => {
    if (!live) return
    const t = setTimeout(() => {
      setView(live)
      setLive(undefined)
    }, 250)
    return () => clearTimeout(t)
  }, [live, setView])

  const nearer = (factor: number, px = size.width / 2, py = size.height / 2) => setLive(zoom(now.current, factor, px, py))
  useEffect(() => {
    const el = svg.current
    if (!el) return
    // React listens passively, and the page would scroll.
    const wheel = (e: WheelEvent) => {
      e.preventDefault()
      const box = el.getBoundingClientRect()
      const v = now.current
      if (e.shiftKey) setLive({ ...v, x: v.x - e.deltaY - e.deltaX })
      else setLive(zoom(v, Math.exp(-e.deltaY * (e.ctrlKey ? 0.01 : 0.0016)), e.clientX - box.left, e.clientY - box.top))
    }
    el.addEventListener('wheel', wheel, { passive: false })
    return () => el.removeEventListener('wheel', wheel)
  }, [])

  const centre = (at: Point, k: number) => setLive({ k, x: size.width / 2 - at.x * k, y: size.height / 2 - at.y * k })
  const placeOf = (id: string): Point | undefined => layout.nodes.get(id) ?? (layout.edges.has(id) ? middleOf(layout.edges.get(id)!) : undefined)
  const show = useRef<(id: string, k: number) => void>(() => {})
  show.current = (id, least) => {
    const at = placeOf(id)
    if (!at || size.width === 0) return
    const v = now.current
    const x = at.x * v.k + v.x
    const y = at.y * v.k + v.y
    const inside = x > W * v.k * 0.5 && x < size.width - W * v.k * 0.5 && y > H * v.k && y < size.height - H * v.k
    if (!inside || v.k < least) centre(at, Math.max(v.k, least))
  }
  useEffect(() => {
    if (reveal > 0 && selected) show.current(selected, 0.7)
  }, [reveal, selected])
  // A link to a selection shows it.
  const arrived = useRef(false)
  useEffect(() => {
    if (arrived.current || size.width === 0) return
    arrived.current = true
    if (selected && !wanted) show.current(selected, 0.7)
  }, [selected, wanted, size.width])

  const lit = hover || focus || selected
  const near = useMemo(() => (lit ? around(lit, graph.edges) : undefined), [lit, graph.edges])
  const entry = layout.nodes.has(focus) ? focus : layout.nodes.has(selected) ? selected : (graph.nodes.find((n) => layout.nodes.has(n.id))?.id ?? '')

  const onKey = (e: KeyboardEvent) => {
    if (e.ctrlKey || e.metaKey || e.altKey) return
    const at = (e.target as Element).getAttribute('data-node')
    if (at && e.key.startsWith('Arrow')) {
      const next = nextNode(at, e.key as Arrow, layout, graph.edges)
      e.preventDefault()
      if (next) {
        svg.current?.querySelector<SVGGElement>(`[data-node="${CSS.escape(next)}"]`)?.focus({ preventScroll: true })
        show.current(next, NAMES_FROM)
      }
    } else if (at && (e.key === 'Enter' || e.key === ' ')) {
      e.preventDefault()
      select(at)
    } else if (e.key === '+' || e.key === '=') nearer(1.25)
    else if (e.key === '-') nearer(0.8)
    else if (e.key === '0') setView(fit(layout, size.width, size.height))
    else if (e.key === 'Escape' && selected) select('')
    else return
    e.stopPropagation()
  }
  const down = (e: PointerEvent<SVGSVGElement>) => {
    if (e.button !== 0) return
    drag.current = { x: e.clientX, y: e.clientY, from: view, moved: false }
  }
  const move = (e: PointerEvent<SVGSVGElement>) => {
    const d = drag.current
    if (!d) return
    const dx = e.clientX - d.x
    const dy = e.clientY - d.y
    if (!d.moved && Math.hypot(dx, dy) < 4) return
    if (!d.moved) {
      d.moved = true
      // What was pressed on must not be clicked after the drag.
      e.currentTarget.setPointerCapture(e.pointerId)
    }
    setLive({ ...d.from, x: d.from.x + dx, y: d.from.y + dy })
  }
  const up = () => {
    const d = drag.current
    drag.current = undefined
    // The click that ends a drag is none; it comes before the timer.
    if (d?.moved) {
      dragged.current = true
      setTimeout(() => (dragged.current = false), 0)
    }
  }
  const shown = size.width > 0 ? inView(layout.nodes.values(), view, size.width, size.height) : layout.nodes.size
  const names = view.k >= NAMES_FROM
  const labels = view.k >= LABELS_FROM
  const worst = useMemo(() => standingOut(graph), [graph])
  // What is pointed at and what was found come first.
  const signs = names || size.width === 0 ? [] : signsOf([lit, ...(near && near.nodes.size < 30 ? near.nodes : []), ...(found && found.size < 30 ? found : []), ...(lit || found ? [] : worst)], layout.nodes, view, size.width, size.height)
  return (
    <div className="tgraph" onKeyDown={onKey}>
      <div className="zoom" role="group" aria-label="Zoom">
        <button type="button" className="pick" aria-label="Zoom in" title="Zoom in (+)" onClick={() => nearer(1.4)}>
          +
        </button>
        <button type="button" className="pick" aria-label="Zoom out" title="Zoom out (−)" onClick={() => nearer(1 / 1.4)}>
          −
        </button>
        <button type="button" className="pick" title="Show all (0)" onClick={() => setView(fit(layout, size.width, size.height))}>
          Fit
        </button>
        {shown < layout.nodes.size && (
          <span className="small muted">
            {shown} of {layout.nodes.size} nodes in view
          </span>
        )}
      </div>
      <svg
        ref={svg}
        className={'canvas' + (near ? ' dim' : '') + (found ? ' finding' : '') + (names ? '' : ' far')}
        role="group"
        aria-label="Topology: arrow keys walk along the edges, Enter opens"
        onPointerDown={down}
        onPointerMove={move}
        onPointerUp={up}
        onPointerCancel={up}
        onClick={(e) => e.target === svg.current && !dragged.current && selected && select('')}
      >
        <defs>
          {(['write', 'read', 'process', 'still'] as const).map((kind) => (
            <marker key={kind} id={'arrow-' + kind} className={'arrow ' + kind} viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" markerUnits="userSpaceOnUse" orient="auto">
              <path d="M0 0.5 L7.5 4 L0 7.5z" />
            </marker>
          ))}
        </defs>
        {size.width > 0 && (
          <g transform={`translate(${view.x} ${view.y}) scale(${view.k})`}>
            <Scene graph={graph} seconds={seconds} layout={layout} selected={selected} select={select} found={found} near={near} entry={entry} names={names} labels={labels} hover={setHover} focus={setFocus} />
          </g>
        )}
        {signs.length > 0 && (
          <g className="signs" aria-hidden="true">
            {signs.map((s) => (
              <text key={s.id} x={s.x} y={s.y}>
                {s.text}
              </text>
            ))}
          </g>
        )}
      </svg>
    </div>
  )
}

interface SceneProps extends Pick<GraphProps, 'graph' | 'seconds' | 'layout' | 'selected' | 'select' | 'found'> {
  near: Neighbourhood | undefined
  entry: string
  names: boolean
  labels: boolean
  hover: (id: string) => void
  focus: (id: string) => void
}

/** All that is drawn; a move or a zoom does not draw it anew. */
const Scene = memo(function Scene({ graph, seconds, layout, selected, select, found, near, entry, names, labels, hover, focus }: SceneProps) {
  const states = useMemo(() => nodeStates(graph), [graph])
  const isFound = (id: string) => found?.has(id) ?? false
  return (
    <>
            {graph.edges.map((e) => {
              const points = layout.edges.get(e.id)
              return points && <Edge key={e.id} e={e} points={points} hot={near?.edges.has(e.id) ?? false} selected={e.id === selected} select={select} hover={hover} label={labels || (near !== undefined && near.edges.size < 40 && near.edges.has(e.id) && names)} />
            })}
            {graph.nodes.map((n) => {
              const at = layout.nodes.get(n.id)
              return (
                at && (
                  <Node
                    key={n.id}
                    n={n}
                    at={at}
                    tone={states.get(n.id)?.tone ?? ''}
                    name={nodeName(n, states.get(n.id) ?? CALM)}
                    line={nodeLine(n, states.get(n.id) ?? CALM, seconds, W - 30)}
                    hot={(near?.nodes.has(n.id) ?? false) || isFound(n.id)}
                    found={isFound(n.id)}
                    selected={n.id === selected}
                    entry={n.id === entry}
                    names={names}
                    select={select}
                    hover={hover}
                    focus={focus}
                  />
                )
              )
            })}
    </>
  )
})

interface EdgeProps {
  e: TopologyEdge
  points: Point[]
  hot: boolean
  selected: boolean
  label: boolean
  select: (id: string) => void
  hover: (id: string) => void
}

const Edge = memo(function Edge({ e, points, hot, selected, label, select, hover }: EdgeProps) {
  const d = useMemo(() => pathOf(points), [points])
  const at = middleOf(points)
  const tone = toneOf(e)
  const text = label ? edgeLines(e) : undefined
  return (
    <g
      className={`tedge ${e.kind}${tone ? ' ' + tone : ''}${hot ? ' hot' : ''}${selected ? ' sel' : ''}`}
      role="button"
      tabIndex={-1}
      aria-label={edgeName(e)}
      aria-pressed={selected}
      onClick={() => select(e.id)}
      onPointerEnter={() => hover(e.id)}
      onPointerLeave={() => hover('')}
    >
      <path className="hit" d={d} />
      <path className="line" d={d} strokeWidth={widthOf(e)} markerEnd={`url(#arrow-${tone === 'still' ? 'still' : e.kind})`} />
      {text && (
        <text textAnchor="middle">
          <tspan x={at.x} y={at.y - 7}>
            {text.above}
          </tspan>
          {text.below.map((line, i) => (
            <tspan key={i} x={at.x} y={at.y + 16 + i * 13} className={/behind|fail/.test(line) ? 'loud' : ''}>
              {line}
            </tspan>
          ))}
        </text>
      )}
    </g>
  )
})

interface NodeProps {
  n: TopologyNode
  at: Point
  tone: NodeState['tone']
  name: string
  line: string
  hot: boolean
  found: boolean
  selected: boolean
  entry: boolean
  names: boolean
  select: (id: string) => void
  hover: (id: string) => void
  focus: (id: string) => void
}

/** A service is a box, a topic a drum, a group a hexagon. */
export function shapeOf(kind: TopologyNode['kind'], w: number, h: number): string {
  switch (kind) {
    case 'service':
      return `M6 0 H${w - 6} a6 6 0 0 1 6 6 V${h - 6} a6 6 0 0 1 -6 6 H6 a6 6 0 0 1 -6 -6 V6 a6 6 0 0 1 6 -6z`
    case 'topic':
      return `M8 0 H${w - 8} a8 ${h / 2} 0 0 1 0 ${h} H8 a8 ${h / 2} 0 0 1 0 -${h}z`
    case 'group':
      return `M12 0 H${w - 12} L${w} ${h / 2} L${w - 12} ${h} H12 L0 ${h / 2}z`
  }
}

const Node = memo(function Node({ n, at, tone, name, line, hot, found, selected, entry, names, select, hover, focus }: NodeProps) {
  const inset = n.kind === 'service' ? 12 : 17
  return (
    <g
      className={`tnode ${n.kind}${tone ? ' ' + tone : ''}${hot ? ' hot' : ''}${selected ? ' sel' : ''}${found ? ' found' : ''}`}
      transform={`translate(${at.x - W / 2} ${at.y - H / 2})`}
      role="button"
      data-node={n.id}
      tabIndex={entry ? 0 : -1}
      aria-label={name}
      aria-pressed={selected}
      onClick={() => select(n.id)}
      onPointerEnter={() => hover(n.id)}
      onPointerLeave={() => hover('')}
      onFocus={() => focus(n.id)}
      onBlur={() => focus('')}
    >
      <path className="shape" d={shapeOf(n.kind, W, H)} />
      {n.kind === 'topic' && <path className="rim" d={`M${W - 8} 0 a8 ${H / 2} 0 0 0 0 ${H}`} />}
      {names && (
        <>
          <text className="name" x={inset} y={19}>
            {fitName(nameOf(n.id), W - inset - 20)}
          </text>
          <text className="line" x={inset} y={35}>
            {line}
          </text>
        </>
      )}
    </g>
  )
})
