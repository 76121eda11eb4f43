import { keepPreviousData, useQuery } from '@tanstack/react-query'
import { useRef, useState, type KeyboardEvent, type MouseEvent } from 'react'
import { useLocation, useSearch } from 'wouter'
import { ask, type Params } from '../../api/client'
import type { Heatmap, HeatRow, Rebalance } from '../../api/types'
import { withParams } from '../../lib/filters'
import { count, date, duration, fullTime, plain, share } from '../../lib/format'
import { useMedia, useWidth } from '../../lib/hooks'
import { Export } from '../../parts/Export'
import { Link } from '../../parts/Link'
import { Pages } from '../../parts/Pages'
import { Failed, Ghosts } from '../../parts/States'
import { HopTable } from '../messages/Messages'
import { BANDS, bandEnds, cellPaths, dashOf, geometry, LEFT, move, ownersAt, ROW, scaleOf, slotOf, stretchOf, ticks, TOP, type Cell } from './heat'
import { CROSSES, partLine, STATS, TOPIC_PARTS } from './topic'

const PAGE = 50

/** Time × partition of one part. The URL holds part, percentile, page, view and the marked cell. */
export function Heat({ topic, group, params, ready, live }: { topic: string; group: string; params: Params; ready: boolean; live: number | false }) {
  const search = useSearch()
  const [path, go] = useLocation()
  const q = new URLSearchParams(search)
  const part = q.get('part') || 'residence'
  const stat = q.get('stat') || 'p99'
  const skip = Number(q.get('pskip')) || 0
  const small = useMedia('(max-width: 760px)')
  const asTable = (q.get('heat') || (small ? 'table' : 'map')) === 'table'
  const set = (c: Record<string, string>, replace = false) => go(path + withParams(location.search, c), { replace })
  const asked = { ...params, group, part, stat: stat === 'p99' ? undefined : stat, skip: skip || undefined, limit: PAGE }
  const heat = useQuery({
    queryKey: ['heat', topic, asked],
    queryFn: ({ signal }) => ask<'/api/v1/topics/{topic}/heatmap'>(`/topics/${encodeURIComponent(topic)}/heatmap`, asked, signal),
    placeholderData: keepPreviousData,
    enabled: ready,
    refetchInterval: live,
  })
  const d = heat.data
  const line = partLine(part)
  const marked = d && cellOf(d, q.get('row'), q.get('at'))
  const mark = (c: Cell) => d && set({ row: nameOf(d.rows[c.row]!), at: stretchOf(d, c.slot).from }, true)
  const scale = d && scaleOf(d.rows)
  return (
    <section className="panel heat" aria-label="Time by partition" id="heat">
      <header>
        <h2>{line.label} by partition</h2>
        <span className="muted small">
          {stat} a cell{d ? ` of ${plain(duration(d.stepNs))}` : ''}
          {CROSSES.has(part) && ' · crosses two clocks'}
        </span>
        <span className="picks">
          <select className="pick" aria-label="Part" value={part} onChange={(e) => set({ part: e.target.value === 'residence' ? '' : e.target.value })}>
            {TOPIC_PARTS.map((p) => (
              <option key={p.name} value={p.name}>
                {p.label}
              </option>
            ))}
          </select>
          <select className="pick" aria-label="Percentile of a cell" value={stat} onChange={(e) => set({ stat: e.target.value === 'p99' ? '' : e.target.value })}>
            {STATS.map((s) => (
              <option key={s}>{s}</option>
            ))}
          </select>
          <button type="button" className="pick" aria-pressed={asTable} onClick={() => set({ heat: asTable ? 'map' : 'table' })}>
            {asTable ? 'Show the map' : 'Show as a table'}
          </button>
          <Export path={`/topics/${encodeURIComponent(topic)}/heatmap`} params={asked} what="cells" />
        </span>
      </header>
      {heat.error && !d ? (
        <Failed error={heat.error} retry={() => void heat.refetch()} retrying={heat.isFetching} />
      ) : !d ? (
        <div className="loading heatroom" />
      ) : d.total === 0 ? (
        <p className="muted">No message of this topic was {['batch_queue', 'retry', 'ack'].includes(part) ? 'written' : group ? `read by group ${group}` : 'read'} in this time.</p>
      ) : (
        <div className={heat.isPlaceholderData ? 'stale' : ''}>
          {d.rows.length === 0 ? (
            <p className="muted">This page lies behind the last one.</p>
          ) : asTable ? (
            <Rows d={d} topic={topic} marked={marked} open={(row) => set({ row: nameOf(row) === q.get('row') ? '' : nameOf(row), at: '' })} selected={q.get('row') ?? ''} />
          ) : (
            <>
              <Legend token={line.token} scale={scale} />
              <Map d={d} token={line.token} marked={marked} mark={mark} />
              <Owners d={d} />
            </>
          )}
          <Pages skip={d.skip} shown={d.rows.length} total={d.total} size={PAGE} what="partitions" go={(to) => set({ pskip: to, row: '', at: '' })} />
          <Rebalances d={d} />
          {!asTable && marked && <CellMessages key={`${marked.row}/${marked.slot}`} d={d} cell={marked} topic={topic} group={group} project={params['project']} />}
        </div>
      )}
    </section>
  )
}

function nameOf(row: HeatRow): string {
  return row.partition === null ? 'unknown' : String(row.partition)
}

function cellOf(d: Heatmap, row: string | null, at: string | null): Cell | undefined {
  if (!row || !at || !/^\d+$/.test(at)) return undefined
  const r = d.rows.findIndex((x) => nameOf(x) === row)
  const s = Math.floor(slotOf(d, at))
  return r < 0 || s < 0 || s >= d.slots ? undefined : { row: r, slot: s }
}

function clock(ns: string, seconds = false): string {
  return date(ns).toLocaleTimeString('en-GB', { hour: '2-digit', minute: '2-digit', ...(seconds ? { second: '2-digit' } : {}) })
}

/** What a cell says in words. */
function say(d: Heatmap, c: Cell): string {
  const row = d.rows[c.row]!
  const v = row.values[c.slot] ?? null
  const n = row.counts[c.slot] ?? 0
  const t = stretchOf(d, c.slot)
  const owners = ownersAt(d, row, c.slot)
  const value = n === 0 ? 'no message' : `${v === null ? 'unknown' : duration(v)}${v !== null && v < 0 ? ' (clocks disagree)' : ''}, ${count(n)} ${n === 1 ? 'message' : 'messages'}`
  return plain(`${row.partition === null ? 'partition unknown' : 'p' + row.partition}, ${clock(t.from, d.stepNs < 60e9)} to ${clock(t.to, d.stepNs < 60e9)}: ${value}${owners.length > 0 ? ', read by ' + owners.join(', then ') : ''}`)
}

function Legend({ token, scale }: { token: string; scale: { min: number; max: number } | undefined }) {
  const ends = scale ? bandEnds(scale.min, scale.max) : []
  return (
    <p className="heatlegend muted small" aria-label="Scale">
      {ends.map((end, i) => (
        <span key={i}>
          <svg width="16" height="13" viewBox="0 0 16 13" aria-hidden="true">
            <rect className={'hb band' + (ends.length === 1 ? BANDS : i + 1)} y={13 - Math.round((13 * ((ends.length === 1 ? BANDS : i + 1) + 1)) / (BANDS + 1))} width="16" height={Math.round((13 * ((ends.length === 1 ? BANDS : i + 1) + 1)) / (BANDS + 1))} style={{ fill: `var(--${token})` }} />
          </svg>
          to {duration(end)}
        </span>
      ))}
      <span>
        <svg width="16" height="13" viewBox="0 0 16 13" aria-hidden="true">
          <rect className="unknown" x=".5" y=".5" width="15" height="12" />
        </svg>
        unknown
      </span>
      <span>
        <svg width="16" height="13" viewBox="0 0 16 13" aria-hidden="true">
          <rect className="hb negative" width="16" height="13" />
        </svg>
        below zero
      </span>
      <span>The line under a row is its owner; ┆ a rebalance.</span>
    </p>
  )
}

function Map({ d, token, marked, mark }: { d: Heatmap; token: string; marked: Cell | undefined; mark: (c: Cell) => void }) {
  const [box, width] = useWidth()
  const svg = useRef<SVGSVGElement>(null)
  const [over, setOver] = useState<Cell>()
  const g = geometry(width, d.slots, d.rows.length)
  const paths = width > 0 ? cellPaths(d.rows, g, scaleOf(d.rows)) : undefined
  const at = (e: MouseEvent): Cell | undefined => {
    const r = svg.current?.getBoundingClientRect()
    if (!r) return undefined
    const slot = Math.floor((((e.clientX - r.left) / r.width) * g.width - LEFT) / g.step)
    const row = Math.floor((((e.clientY - r.top) / r.height) * g.height - TOP) / ROW)
    return slot >= 0 && slot < d.slots && row >= 0 && row < d.rows.length ? { row, slot } : undefined
  }
  const key = (e: KeyboardEvent) => {
    if (e.ctrlKey || e.metaKey || e.altKey) return
    const next = move(marked ?? { row: 0, slot: d.slots - 1 }, e.key, d.rows.length, d.slots)
    if (!next) return
    e.preventDefault()
    e.stopPropagation()
    mark(marked ? next : { row: 0, slot: d.slots - 1 })
  }
  const shown = over ?? marked
  return (
    <>
      <div className="heatbox" ref={box} tabIndex={0} role="application" aria-roledescription="heat map" aria-label="Cells of time and partition: arrow keys walk over them, Home and End go to the first and last" aria-describedby="heat-says" onKeyDown={key}>
        {paths && (
          <svg ref={svg} width={g.width} height={g.height} aria-hidden="true" onMouseMove={(e) => setOver(at(e))} onMouseLeave={() => setOver(undefined)} onClick={(e) => { const c = at(e); if (c) mark(c) }}>
            {d.rows.map((r, i) => (
              <g key={nameOf(r)}>
                <text x={LEFT - 8} y={g.y(i) + 11} textAnchor="end">
                  {r.partition === null ? 'p?' : 'p' + r.partition}
                </text>
                {r.owned.map((s, j) => (
                  <line key={j} x1={g.x(Math.max(slotOf(d, s.from), 0))} x2={Math.max(g.x(Math.min(slotOf(d, s.to), d.slots)), g.x(Math.max(slotOf(d, s.from), 0)) + 2)} y1={g.y(i) + 15} y2={g.y(i) + 15} className="owner" strokeDasharray={dashOf(s.owner)} />
                ))}
              </g>
            ))}
            {[...paths].map(([kind, path]) => (
              <path key={kind} d={path} className={kind === 'unknown' ? 'unknown' : 'hb ' + kind} style={kind === 'unknown' || kind === 'negative' ? undefined : { fill: `var(--${token})` }} />
            ))}
            {ticks(d.slots, g.step, 64).filter((s) => g.x(s) + (d.stepNs < 60e9 ? 52 : 40) <= g.width).map((s) => (
              <text key={s} x={g.x(s)} y={g.bottom + 14}>
                {clock(stretchOf(d, s).from, d.stepNs < 60e9)}
              </text>
            ))}
            {d.rebalances.map((r, i) => {
              const x = g.x(slotOf(d, r.at))
              return (
                <g key={i} className="rebalance">
                  <line x1={x} x2={x} y1="14" y2={g.bottom} />
                  {d.rebalances.length <= 30 && (
                    <text x={x} y="11" textAnchor="middle">
                      {i + 1}
                    </text>
                  )}
                </g>
              )
            })}
            {over && <rect className="over" x={g.x(over.slot) - 1} y={g.y(over.row) - 1} width={g.step + 1} height={ROW - 1} />}
            {marked && <rect className="marked" x={g.x(marked.slot) - 1} y={g.y(marked.row) - 1} width={g.step + 1} height={ROW - 1} />}
          </svg>
        )}
      </div>
      <p className="small says" id="heat-says" role="status">
        {shown ? say(d, shown) : 'Choose a cell to see its messages.'}
      </p>
    </>
  )
}

function Owners({ d }: { d: Heatmap }) {
  if (d.owners.length === 0) return ['batch_queue', 'retry', 'ack'].includes(d.part) ? null : <p className="muted small">Who read is unknown: the spans tell no instance, host or client.</p>
  return (
    <ul className="owners small" aria-label="Owners">
      {d.owners.slice(0, 24).map((name, i) => (
        <li key={name}>
          <svg width="34" height="6" aria-hidden="true">
            <line x1="0" x2="34" y1="3" y2="3" className="owner" strokeDasharray={dashOf(i)} />
          </svg>
          <span className="mono">{name}</span>
        </li>
      ))}
      {d.owners.length > 24 && <li className="muted">and {count(d.owners.length - 24)} more</li>}
    </ul>
  )
}

/** A rebalance in words. */
export function rebalanceText(r: Rebalance): string {
  const moved = r.moved === 0 ? 'told by members; no partition was seen to move' : `${count(r.moved)} ${r.moved === 1 ? 'partition' : 'partitions'} moved`
  return plain([moved, r.left.length > 0 ? r.left.join(', ') + ' left' : '', r.joined.length > 0 ? r.joined.join(', ') + ' joined' : '', r.causes.length > 0 ? 'cause: ' + r.causes.join(', ') : ''].filter(Boolean).join('; '))
}

function Rebalances({ d }: { d: Heatmap }) {
  const [all, setAll] = useState(false)
  if (d.rebalances.length === 0) return null
  const shown = all ? d.rebalances : d.rebalances.slice(-8)
  const first = d.rebalances.length - shown.length
  return (
    <div>
      <ol className="rebalances small" aria-label="Rebalances" start={first + 1}>
        {shown.map((r, i) => {
          const around = 5 * 60_000_000_000
          return (
            <li key={i} value={first + i + 1}>
              <span className="mono" title={fullTime(r.at)}>
                {clock(r.at, true)}
              </span>{' '}
              rebalance{r.group && r.group !== d.group ? ` of ${r.group}` : ''}: {rebalanceText(r)}{' '}
              <Link to={`?from=${BigInt(r.at) - BigInt(around)}&to=${BigInt(r.at) + BigInt(around)}`}>ten minutes around it</Link>
            </li>
          )
        })}
      </ol>
      {first > 0 && (
        <button type="button" className="pick" onClick={() => setAll(true)}>
          Show {count(first)} earlier rebalances
        </button>
      )}
    </div>
  )
}

/** The messages of just one cell, slowest first. */
function CellMessages({ d, cell, topic, group, project }: { d: Heatmap; cell: Cell; topic: string; group: string; project: Params[string] }) {
  const row = d.rows[cell.row]!
  const t = stretchOf(d, cell.slot)
  const writes = ['batch_queue', 'retry', 'ack'].includes(d.part)
  const query = { topic, ...(writes ? {} : { group }), partition: row.partition ?? undefined, from: t.from, to: t.to, order: writes ? 'sent' : 'slowest' }
  const n = row.counts[cell.slot] ?? 0
  const hops = useQuery({
    queryKey: ['hops', query, project, 8],
    queryFn: ({ signal }) => ask<'/api/v1/hops'>('/hops', { ...query, project, limit: 8 }, signal),
    enabled: n > 0 && row.partition !== null,
  })
  const to = '/messages?' + new URLSearchParams(Object.entries(query).flatMap(([k, v]) => (v === undefined || v === '' ? [] : [[k, String(v)]]))).toString()
  return (
    <section className="ofcell" aria-label="Messages of the marked cell">
      <p className="zero">
        {n === 0 ? <>No message was done in the marked cell.</> : <Link to={to}>{plain(count(n))} {n === 1 ? 'message' : 'messages'} in the marked cell</Link>}{' '}
        <span className="muted">{say(d, cell)}</span>
      </p>
      {n > 0 && row.partition !== null && (hops.error ? <Failed error={hops.error} retry={() => void hops.refetch()} retrying={hops.isFetching} /> : <div className="scroll"><HopTable hops={hops.data?.hops} ghosts={Math.min(n, 8)} label={writes ? 'Sent in the marked cell, oldest first' : 'Slowest of the marked cell'} /></div>)}
    </section>
  )
}

/** The same as a table: a row a partition, which opens to its steps. */
function Rows({ d, topic, selected, open }: { d: Heatmap; topic: string; marked: Cell | undefined; selected: string; open: (row: HeatRow) => void }) {
  return (
    <div className="scroll">
      <table aria-label="Partitions">
        <thead>
          <tr>
            <th>Partition</th>
            <th className="num">Messages</th>
            <th className="num wide">Failed</th>
            <th className="num">p50</th>
            <th className="num">p99</th>
            <th className="num">Of the wait</th>
            <th className="wide">Owner last</th>
          </tr>
        </thead>
        <tbody>
          {d.rows.length === 0 ? (
            <Ghosts rows={4} columns={7} />
          ) : (
            d.rows.map((r) => {
              const name = nameOf(r)
              const isOpen = selected === name
              const last = r.owned.at(-1)
              return [
                <tr key={name} className={isOpen ? 'sel' : ''}>
                  <td>
                    <button type="button" className="rowbutton" data-row aria-expanded={isOpen} onClick={() => open(r)}>
                      <span className="twist" aria-hidden="true">{isOpen ? '▾' : '▸'}</span> {r.partition === null ? 'unknown' : 'p' + r.partition}
                    </button>
                  </td>
                  <td className="num">{count(r.messages)}</td>
                  <td className="num wide">{r.failed > 0 ? <span className="tag bad">{count(r.failed)}</span> : <span className="faint">0</span>}</td>
                  <td className="num">{r.p50Ns === null ? <span className="unknown-word">unknown</span> : duration(r.p50Ns)}</td>
                  <td className="num">
                    {r.p99Ns === null ? <span className="unknown-word">unknown</span> : duration(r.p99Ns)}
                    {r.negative > 0 && <span className="tag warn gap">{count(r.negative)} &lt; 0</span>}
                  </td>
                  <td className="num">{r.waitShare === null ? <span className="unknown-word">unknown</span> : share(r.waitShare)}</td>
                  <td className="wide mono">{last ? d.owners[last.owner] : <span className="unknown-word">unknown</span>}</td>
                </tr>,
                isOpen && (
                  <tr key={name + '/steps'} className="opened">
                    <td colSpan={7}>
                      <Steps d={d} row={r} topic={topic} />
                    </td>
                  </tr>
                ),
              ]
            })
          )}
        </tbody>
      </table>
    </div>
  )
}

function Steps({ d, row, topic }: { d: Heatmap; row: HeatRow; topic: string }) {
  const some = row.counts.map((n, i) => ({ n, i })).filter((x) => x.n > 0)
  return (
    <table aria-label={`Partition ${nameOf(row)} over time`} className="steps">
      <thead>
        <tr>
          <th>From</th>
          <th className="num">{d.stat}</th>
          <th className="num">Messages</th>
          <th>Read by</th>
        </tr>
      </thead>
      <tbody>
        {some.map(({ n, i }) => {
          const t = stretchOf(d, i)
          const v = row.values[i] ?? null
          const to = new URLSearchParams({ topic, ...(d.group ? { group: d.group } : {}), ...(row.partition === null ? {} : { partition: String(row.partition) }), from: t.from, to: t.to, order: 'slowest' }).toString()
          return (
            <tr key={i}>
              <td className="mono" title={fullTime(t.from)}>
                {clock(t.from, d.stepNs < 60e9)}
              </td>
              <td className="num">{v === null ? <span className="unknown-word">unknown</span> : duration(v)}</td>
              <td className="num">
                <Link to={'/messages?' + to}>{count(n)}</Link>
              </td>
              <td className="mono">{ownersAt(d, row, i).join(', then ') || <span className="unknown-word">unknown</span>}</td>
            </tr>
          )
        })}
      </tbody>
    </table>
  )
}
