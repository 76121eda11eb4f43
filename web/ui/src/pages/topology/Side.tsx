import { useQuery } from '@tanstack/react-query'
import type { ReactNode } from 'react'
import { ask } from '../../api/client'
import type { Topology, TopologyEdge, TopologyNode } from '../../api/types'
import { ago, count, duration, fullTime, rate, share } from '../../lib/format'
import { Link } from '../../parts/Link'
import { edgeLabel, kindOf, MUCH_BEHIND_NS, nameOf, VERB, worst } from './graph'

export interface Span {
  from: string | undefined
  to: string | undefined
}

interface SideProps {
  graph: Topology
  selected: string
  select: (id: string) => void
  /** What is shown: the step, or the whole time. */
  span: Span
  project: string | undefined
  filter: (change: Record<string, string>) => void
}

/** What is selected in numbers and links; without a selection, what deserves a look. */
export function Side(p: SideProps) {
  const edge = p.graph.edges.find((e) => e.id === p.selected)
  const node = p.graph.nodes.find((n) => n.id === p.selected)
  return (
    <aside className="panel side topside" aria-label="Selected">
      {edge ? <EdgeSide e={edge} {...p} /> : node ? <NodeSide n={node} {...p} /> : <Overview {...p} />}
    </aside>
  )
}

function link(path: string, span: Span, params: Record<string, string>): string {
  const q = new URLSearchParams()
  for (const [k, v] of Object.entries({ ...params, from: span.from ?? 'all', to: span.to ?? '' })) if (v) q.set(k, v)
  return path + '?' + q.toString()
}

function EdgeSide({ e, select, span, project }: SideProps & { e: TopologyEdge }) {
  const from = nameOf(e.from)
  const to = nameOf(e.to)
  const of: Record<string, string> =
    e.kind === 'write' ? { service: e.from.slice(2), topic: e.to.slice(2) } : e.kind === 'read' ? { topic: e.from.slice(2), group: e.to.slice(2) } : { group: e.from.slice(2), service: e.to.slice(2) }
  const what = { write: 'Request written → acknowledged', read: 'Record made → handed out by the broker', process: 'Handed over → done' }[e.kind]
  const behind = (e.lagNs ?? 0) >= MUCH_BEHIND_NS
  return (
    <>
      <section>
        <h2 className="name">
          {from} → {to}
        </h2>
        <div className="muted">
          {kindOf(e.from)} {from} {VERB[e.kind]} {kindOf(e.to)} {to}
        </div>
        <dl className="kv">
          <dt>Messages</dt>
          <dd>
            <b>{count(e.messages)}</b> · {rate(e.perSecond)}
          </dd>
          <dt>Failed</dt>
          <dd className={e.failed > 0 ? 'bad' : ''}>{e.failed > 0 ? `${count(e.failed)} · ${share(e.failed / e.messages)}` : '0'}</dd>
          {e.kind === 'read' && (
            <>
              <dt>Behind</dt>
              <dd className={behind ? 'warnword' : ''}>{e.lagNs === null ? <span className="unknown-word">unknown</span> : e.lagNs === 0 ? '0' : duration(e.lagNs)}</dd>
            </>
          )}
          <dt>Last seen</dt>
          <dd title={e.lastSeen ? fullTime(e.lastSeen) : undefined}>{e.lastSeen ? ago(e.lastSeen) : <span className="unknown-word">not in this time</span>}</dd>
        </dl>
      </section>
      <section>
        <h2>{what}</h2>
        <Latency e={e} of={of} span={span} project={project} />
      </section>
      <GoOn>
        {e.kind !== 'process' && <Link to={link('/messages', span, { topic: of['topic'] ?? '', group: of['group'] ?? '', order: 'slowest' })}>Slowest messages</Link>}
        {e.kind === 'process' && <Link to={link('/messages', span, { group: of['group'] ?? '', order: 'slowest' })}>Slowest messages of the group</Link>}
        <Link to={link('/traces', span, of)}>Traces that passed here</Link>
        {e.failed > 0 && <Link to={link('/traces', span, { ...of, errors: 'true' })}>Traces with errors</Link>}
        {e.kind === 'read' && of['group'] && <Link to={'/lag?text=' + encodeURIComponent(of['group'])}>Lag of {to}, by offsets</Link>}
        {e.kind === 'read' && <Link to={link('/topics', span, { open: of['topic'] + '/' + of['group'] })}>Parts of the wait</Link>}
        <button type="button" className="linkish" onClick={() => select(e.from)}>
          {kindOf(e.from)} {from}
        </button>
        <button type="button" className="linkish" onClick={() => select(e.to)}>
          {kindOf(e.to)} {to}
        </button>
      </GoOn>
    </>
  )
}

function GoOn({ children }: { children: ReactNode }) {
  return (
    <section className="goon">
      <h2>Go on</h2>
      {children}
    </section>
  )
}

/** Percentiles at once, the distribution when it has arrived. */
function Latency({ e, of, span, project }: { e: TopologyEdge; of: Record<string, string>; span: Span; project: string | undefined }) {
  const params = { ...of, from: span.from, to: span.to, project, bars: true }
  const bars = useQuery({
    queryKey: ['topology', params],
    queryFn: ({ signal }) => ask<'/api/v1/topology'>('/topology', params, signal),
    enabled: e.latency !== null,
  })
  if (!e.latency) return <p className="unknown-word">unknown: nobody measured it in this time</p>
  const l = e.latency
  const list = bars.data?.edges.find((x) => x.id === e.id)?.latency?.bars ?? []
  const most = Math.max(...list.map((b) => b.count), 1)
  const color = { write: 'ack', read: 'backlog', process: 'process' }[e.kind]
  const say = (ns: number) => (Math.abs(ns) <= 1000 ? '0' : duration(ns))
  return (
    <>
      <dl className="kv three">
        <dt>p50</dt>
        <dd>{duration(l.p50Ns)}</dd>
        <dt>p95</dt>
        <dd>{duration(l.p95Ns)}</dd>
        <dt>p99</dt>
        <dd>
          <b>{duration(l.p99Ns)}</b>
        </dd>
      </dl>
      <div className="bars">
        {list.length > 0 && (
          <svg viewBox={`0 0 ${list.length * 10} 60`} preserveAspectRatio="none" role="img" aria-label={`Distribution of ${count(l.count)}: ${list.map((b) => `${say(b.fromNs)} to ${say(b.toNs)}: ${b.count}`).join(', ')}`}>
            {list.map((b, i) => (
              <rect key={b.fromNs} className={color} x={i * 10 + 1} width={8} y={60 - Math.max(1.5, (b.count / most) * 58)} height={Math.max(1.5, (b.count / most) * 58)}>
                <title>{`${say(b.fromNs)} to ${say(b.toNs)}: ${count(b.count)}`}</title>
              </rect>
            ))}
          </svg>
        )}
        {bars.error && <p className="bad small">The distribution was not answered.</p>}
      </div>
      {list.length > 0 && (
        <div className="ends small muted">
          <span>{say(list[0]!.fromNs)}</span>
          <span>each bar a doubling</span>
          <span>{say(list[list.length - 1]!.toNs)}</span>
        </div>
      )}
      <p className="muted small">
        {count(l.count)} measured, to 9 %{e.kind === 'read' ? '; it crosses two clocks' : ''}.{l.negative > 0 && <b className="bad"> {count(l.negative)} are negative: clocks disagree.</b>}
      </p>
    </>
  )
}

function NodeSide({ n, graph, select, span, filter }: SideProps & { n: TopologyNode }) {
  const name = nameOf(n.id)
  const into = graph.edges.filter((e) => e.to === n.id)
  const out = graph.edges.filter((e) => e.from === n.id)
  const of = { [n.kind]: n.name }
  return (
    <>
      <section>
        <h2 className="name">{name}</h2>
        <div className="muted">{n.kind}</div>
        <dl className="kv">
          {n.kind !== 'group' && (
            <>
              <dt>Written</dt>
              <dd>{count(n.written)}</dd>
            </>
          )}
          <dt>Read</dt>
          <dd>{count(n.read)}</dd>
          <dt>Failed</dt>
          <dd className={n.failed > 0 ? 'bad' : ''}>{count(n.failed)}</dd>
          <dt>Last seen</dt>
          <dd title={n.lastSeen ? fullTime(n.lastSeen) : undefined}>{n.lastSeen ? ago(n.lastSeen) : <span className="unknown-word">not in this time</span>}</dd>
        </dl>
      </section>
      <Edges title={{ service: 'Reads as', topic: 'Written by', group: 'Reads' }[n.kind]} edges={into} other="from" select={select} />
      <Edges title={{ service: 'Writes', topic: 'Read by', group: 'In services' }[n.kind]} edges={out} other="to" select={select} />
      <GoOn>
        {n.name && (
          <button type="button" className="linkish" onClick={() => filter(of)}>
            Show only its way
          </button>
        )}
        <Link to={link('/traces', span, of)}>Traces of the {n.kind}</Link>
        {n.kind === 'group' && n.name && <Link to={'/lag?text=' + encodeURIComponent(n.name)}>Lag of the group, by offsets</Link>}
        {n.kind !== 'service' && <Link to={link('/messages', span, { ...of, order: 'slowest' })}>Slowest messages</Link>}
        {n.failed > 0 && <Link to={link('/traces', span, { ...of, errors: 'true' })}>Traces with errors</Link>}
      </GoOn>
    </>
  )
}

const MOST_LINES = 12

function Edges({ title, edges, other, select }: { title: string; edges: readonly TopologyEdge[]; other: 'from' | 'to'; select: (id: string) => void }) {
  if (edges.length === 0) return null
  return (
    <section>
      <h2>{title}</h2>
      <ul className="plainlist lines">
        {edges.slice(0, MOST_LINES).map((e) => (
          <li key={e.id}>
            <button type="button" className="linkish" onClick={() => select(e.id)}>
              {nameOf(e[other])}
            </button>
            <span className="muted">{edgeLabel(e)}</span>
          </li>
        ))}
      </ul>
      {edges.length > MOST_LINES && <p className="muted small">and {edges.length - MOST_LINES} more, in the table</p>}
    </section>
  )
}

function Overview({ graph, select }: SideProps) {
  const w = worst(graph, 6)
  const list = (title: string, edges: TopologyEdge[], value: (e: TopologyEdge) => string) =>
    edges.length > 0 && (
      <section>
        <h2>{title}</h2>
        <ul className="plainlist lines">
          {edges.map((e) => (
            <li key={e.id}>
              <button type="button" className="linkish" onClick={() => select(e.id)}>
                {nameOf(e.from)} → {nameOf(e.to)}
              </button>
              <span className="num">{value(e)}</span>
            </li>
          ))}
        </ul>
      </section>
    )
  return (
    <>
      {list('Furthest behind', w.behind, (e) => duration(e.lagNs ?? 0))}
      {list('Failing most', w.failing, (e) => share(e.failed / e.messages))}
      {list('Longest wait in the broker, p99', w.waiting, (e) => duration(e.latency?.p99Ns ?? 0))}
      <section className="muted">Choose a node or an edge to see its numbers.</section>
    </>
  )
}
