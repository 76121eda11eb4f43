import { useState } from 'react'
import type { Topology, TopologyEdge } from '../../api/types'
import { ago, count, duration, fullTime, rate, share } from '../../lib/format'
import { kindOf, MUCH_BEHIND_NS, nameOf, sortEdges, toneOf, VERB, type Sort } from './graph'

/** Rows that are drawn at once; the rest on request. */
const FIRST_ROWS = 100

/** The graph as a table: one row an edge. */
export function EdgeTable({ graph, selected, select, sort, setSort }: { graph: Topology; selected: string; select: (id: string) => void; sort: Sort; setSort: (s: Sort) => void }) {
  const [all, setAll] = useState(false)
  const rows = sortEdges(graph.edges, sort)
  const shown = all ? rows : rows.slice(0, FIRST_ROWS)
  const head = (by: Sort, text: string, more = '') => (
    <th className={more} aria-sort={sort === by ? (by === 'from' ? 'ascending' : 'descending') : undefined}>
      <button type="button" className="sorter" onClick={() => setSort(by)}>
        {text}
        <span aria-hidden="true">{sort === by ? (by === 'from' ? ' ▴' : ' ▾') : ''}</span>
      </button>
    </th>
  )
  return (
    <div className="panel scroll">
      <table aria-label="Edges" className="edges">
        <thead>
          <tr>
            {head('from', 'From → to')}
            {head('messages', 'Messages', 'num')}
            <th className="num wide">p50</th>
            {head('p99', 'p99', 'num')}
            {head('behind', 'Behind', 'num')}
            {head('failed', 'Failed', 'num wide')}
            <th className="num wide">Last seen</th>
          </tr>
        </thead>
        <tbody>
          {shown.map((e) => (
            <Row key={e.id} e={e} selected={e.id === selected} select={select} />
          ))}
        </tbody>
      </table>
      {rows.length > shown.length && (
        <p className="pad">
          <button type="button" className="pick" onClick={() => setAll(true)}>
            Show all {count(rows.length)} edges
          </button>
        </p>
      )}
    </div>
  )
}

function Row({ e, selected, select }: { e: TopologyEdge; selected: boolean; select: (id: string) => void }) {
  const behind = (e.lagNs ?? 0) >= MUCH_BEHIND_NS
  const tone = toneOf(e)
  return (
    <tr className={selected ? 'sel' : ''}>
      <td className="two">
        <button type="button" className="rowbutton" data-row aria-pressed={selected} onClick={() => select(selected ? '' : e.id)}>
          <b>{nameOf(e.from)}</b> → <b>{nameOf(e.to)}</b>
        </button>
        <div className="muted small">
          {kindOf(e.from)} {VERB[e.kind]} {kindOf(e.to)}
          {tone === 'still' && ' · stands still'}
        </div>
      </td>
      <td className="num">
        {count(e.messages)}
        <div className="muted small">{rate(e.perSecond)}</div>
      </td>
      <td className="num wide">{e.latency ? duration(e.latency.p50Ns) : <span className="faint">–</span>}</td>
      <td className="num">{e.latency ? duration(e.latency.p99Ns) : <span className="faint">–</span>}</td>
      <td className="num">{e.lagNs === null ? <span className="faint">–</span> : behind ? <span className={'tag ' + (tone === 'bad' && e.messages === 0 ? 'bad' : 'warn')}>{duration(e.lagNs)}</span> : e.lagNs === 0 ? '0' : duration(e.lagNs)}</td>
      <td className="num wide">{e.failed > 0 ? <span className="tag bad">{share(e.failed / e.messages)}</span> : <span className="faint">0</span>}</td>
      <td className="num wide" title={e.lastSeen ? fullTime(e.lastSeen) : undefined}>
        {e.lastSeen ? ago(e.lastSeen) : <span className="faint">–</span>}
      </td>
    </tr>
  )
}
