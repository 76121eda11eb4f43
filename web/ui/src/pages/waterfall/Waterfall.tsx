import { useQuery } from '@tanstack/react-query'
import { lazy, Suspense, useCallback, useEffect, useMemo, useRef, useState } from 'react'
import { useLocation, useSearch } from 'wouter'
import { ask } from '../../api/client'
import type { Batch as BatchRef, Journey, Status } from '../../api/types'
import { MODES, type Interval, type Mode } from '../../lib/axis'
import { pathByRow } from '../../lib/critical'
import { withParams } from '../../lib/filters'
import { count, duration, minus, short } from '../../lib/format'
import { useTitle, useWidth } from '../../lib/hooks'
import { useKeys, type Keys } from '../../lib/keys'
import { spanAt } from '../../lib/placed'
import { rowsOf, type Row } from '../../lib/tree'
import { hits, nextHit, opened, subtreeEnds, visible } from '../../lib/view'
import { edgesOf, workOf } from '../../lib/work'
import { changed, readZoom, writeZoom, zoomedAxis } from '../../lib/zoom'
import { Export } from '../../parts/Export'
import { Finding, titleText } from '../../parts/Finding'
import { Link } from '../../parts/Link'
import { Shell } from '../../parts/Shell'
import { Failed } from '../../parts/States'
import { nextView, VIEWS, Views } from '../journey/Views'
import { Chart, keyOf, type Acts } from './Chart'
import { Legend } from './Legend'
import { Overview } from './Overview'
import { Path, type By } from './Path'
import { Side } from './Side'
import './waterfall.css'

const Lanes = lazy(() => import('../journey/Lanes').then((m) => ({ default: m.Lanes })))
const Batch = lazy(() => import('./Batch'))

/** How many rows may be shut one by one, and how many traces one may have come through, in a link. */
const MOST_SHUT = 200
const MOST_VIA = 8
const PAGE = 10_000
/** From so many rows on a picture of all of them helps. */
const OVERVIEW_FROM = 20
const NOTHING: ReadonlySet<string> = new Set()

/** One journey: its spans and hops on one axis of time. What is selected, shut, looked for and zoomed into lives in the URL. */
export function Waterfall({ id, status }: { id: string; status: Status | undefined }) {
  const search = useSearch()
  const [path, go] = useLocation()
  const q = new URLSearchParams(search)
  const project = q.get('project') ?? undefined
  const skip = Math.max(0, Math.floor(Number(q.get('from_span')) || 0))
  const journey = useQuery({
    queryKey: ['journey', project, id, skip],
    queryFn: ({ signal }) => ask<'/api/v1/traces/{id}'>('/traces/' + encodeURIComponent(id), { project, skip: skip || undefined }, signal),
  })
  const j = journey.data
  const rows = useMemo(() => (j ? rowsOf(j.spans, j.hops) : []), [j])
  const ends = useMemo(() => subtreeEnds(rows), [rows])
  const parents = useMemo(() => new Set(rows.filter((_, i) => ends[i]! > i + 1).map((r) => r.id)), [rows, ends])
  const broken = useMemo(() => new Set(j?.events.map((e) => e.traceId + '/' + e.spanId)), [j])
  const failed = useCallback((r: Row) => (r.kind === 'hop' ? r.hop.failed : r.span.status === 'error' || broken.has(r.span.traceId + '/' + r.span.spanId)), [broken])

  const view = VIEWS.find((v) => v === q.get('view'))
  const readAt = String(BigInt(journey.dataUpdatedAt) * 1_000_000n)
  const mode: Mode = MODES.find((m) => m === q.get('axis')) ?? 'folded'
  const errors = q.get('errors') === 'true'
  const find = q.get('find') ?? ''
  const shutText = q.get('shut') ?? ''
  const shut = useMemo(() => (shutText ? new Set(shutText.split(',').slice(0, MOST_SHUT)) : NOTHING), [shutText])
  const shown = useMemo(() => visible(rows, ends, { shut, errors }, failed).map((i) => rows[i]!), [rows, ends, shut, errors, failed])
  const found = useMemo(() => hits(rows, find), [rows, find])
  const foundKeys = useMemo(() => new Set(found.map((i) => keyOf(rows[i]!))), [found, rows])
  const wanted = q.get('row')
  const selected = useMemo(
    () => rows.find((r) => r.id === wanted) ?? rows.find((r) => (r.kind === 'span' ? r.span.spanId === wanted : r.spans.some((s) => s.spanId === wanted))) ?? (wanted ? undefined : largest(rows)) ?? rows[0],
    [rows, wanted],
  )
  const batches = useMemo(() => new Map(j?.batches.map((b) => [b.traceId + '/' + b.spanId, b])), [j])
  const marks = q.get('path') !== 'false'
  const onPath = useMemo(() => (j && marks ? pathByRow(j, rows) : undefined), [j, rows, marks])
  const by: By = q.get('by') === 'topic' ? 'topic' : q.get('by') === 'service' ? 'service' : 'part'
  const batch = batches.get(q.get('batch') ?? '')

  // A commit may come after all else.
  const total = useMemo(() => (j ? j.hops.reduce((most, h) => (h.settle?.to ? Math.max(most, minus(h.settle.to, j.start)) : most), j.durationNs) : 0), [j])
  const zoomText = q.get('zoom')
  const zoom = useMemo(() => readZoom(zoomText, total), [zoomText, total])
  const [laneRef, width] = useWidth()
  const across = Math.max(2, Math.round(width / 110))
  const work = useMemo(() => (j ? workOf(rows, j.spans, j.hops, j.start) : []), [rows, j])
  const edges = useMemo(() => (j ? edgesOf(j.hops, j.start) : []), [j])
  const axis = useMemo(() => zoomedAxis(mode, total, zoom, work, across, edges), [mode, total, zoom, work, across, edges])
  const whole = useMemo(() => zoomedAxis(mode, total, undefined, work, across, edges), [mode, total, work, across, edges])

  const set = (change: Record<string, string | undefined>) => go(path + withParams(search, change), { replace: true })
  const select = (row: Row) => set({ row: row.id })
  const setZoom = (z: Interval | undefined) => set({ zoom: writeZoom(z, total) })
  const toggle = (row: Row) => {
    const next = new Set(shut)
    if (!next.delete(row.id)) next.add(row.id)
    set({ shut: [...next].slice(-MOST_SHUT).join(',') })
  }
  const openBatch = (b: BatchRef) => go(path + withParams(search, { batch: b.traceId + '/' + b.spanId, order: '', skip: '' }))
  // One object for the rows, which are drawn again only when they change.
  const latest = useRef({ select, toggle, batch: openBatch })
  useEffect(() => {
    latest.current = { select, toggle, batch: openBatch }
  })
  const acts = useMemo<Acts>(() => ({ select: (r) => latest.current.select(r), toggle: (r) => latest.current.toggle(r), batch: (b) => latest.current.batch(b) }), [])

  const at = selected ? shown.indexOf(selected) : -1
  const setMode = (m: Mode) => set({ axis: m === 'folded' ? '' : m })
  const selectHop = (id: string) => {
    const row = rows.find((r) => r.kind === 'hop' && r.hop.id === id)
    if (row) select(row)
  }
  const stepHop = (by: number) => {
    const hops = j?.hops ?? []
    const i = selected?.kind === 'hop' ? hops.indexOf(selected.hop) : -1
    const next = hops[Math.min(Math.max(i + by, 0), hops.length - 1)]
    if (next) selectHop(next.id)
  }
  const step = (by: number) => {
    if (view) return stepHop(by)
    const next = shown[Math.min(Math.max(at + by, 0), shown.length - 1)]
    if (next) select(next)
  }
  const toHit = (direction: 1 | -1) => {
    const i = nextHit(found, selected ? rows.indexOf(selected) : -1, direction)
    if (i !== undefined) set({ row: rows[i]!.id, shut: [...opened(rows, shut, i)].join(','), ...(errors && !failed(rows[i]!) ? { errors: '' } : {}) })
  }
  const inward = () => {
    if (selected && parents.has(selected.id) && shut.has(selected.id)) toggle(selected)
    else step(1)
  }
  const outward = () => {
    if (!selected) return
    if (parents.has(selected.id) && !shut.has(selected.id)) return toggle(selected)
    const above = shown.findLast((r, i) => i < at && r.depth < selected.depth)
    if (above) select(above)
  }
  const selectedTime = selected && j ? timeOf(selected, j.start) : undefined
  const middle = selectedTime && (selectedTime.from + selectedTime.to) / 2
  // The trace and row that one came from by a link, the last one first.
  const via = (q.get('via') ?? '').split(',').filter(Boolean)
  const back = via.at(-1)
  const goBack = () => {
    const [trace, row] = (back ?? '').split('~')
    go('/traces/' + trace + withParams('', { project, row, via: via.slice(0, -1).join(',') }))
  }
  // A trace of this journey is on this page already.
  const to = (trace: string, row: string) => '/traces/' + (j?.traces.includes(trace) ? id : trace) + withParams('', { row, via: [...via, id + '~' + (selected?.id ?? '')].slice(-MOST_VIA).join(',') })
  const selectedBatch = selected?.kind === 'span' ? batches.get(keyOf(selected)) : undefined
  const keys: Keys = batch
    ? { Escape: () => set({ batch: '', order: '', skip: '' }) }
    : {
        j: () => step(1),
        k: () => step(-1),
        ArrowDown: () => step(1),
        ArrowUp: () => step(-1),
        ArrowRight: inward,
        ArrowLeft: outward,
        z: () => setMode(MODES[(MODES.indexOf(mode) + 1) % MODES.length]!),
        v: () => set({ view: nextView(view) }),
        p: () => set({ path: marks ? 'false' : '' }),
        e: () => set({ errors: errors ? '' : 'true' }),
        f: () => document.querySelector<HTMLInputElement>('#findrow')?.focus(),
        n: () => toHit(1),
        N: () => toHit(-1),
        '+': () => setZoom(changed(zoom, total, 0.5, 0, middle)),
        '-': () => setZoom(changed(zoom, total, 2)),
        '0': () => setZoom(undefined),
        '<': () => setZoom(changed(zoom, total, 1, -0.25)),
        '>': () => setZoom(changed(zoom, total, 1, 0.25)),
        s: () => selectedTime && setZoom(around(selectedTime, total)),
        Enter: () => (selectedBatch ? openBatch(selectedBatch) : document.querySelector<HTMLElement>('#side a')?.focus()),
        ...(zoom ? { Escape: () => setZoom(undefined) } : back ? { Escape: goBack } : {}),
      }
  useKeys(keys)
  useTitle(titleText(j?.finding) || 'Trace ' + short(id))
  return (
    <Shell page="Traces" status={status} back="/traces">
      {journey.error && !j ? (
        <>
          <div className="sum">
            <div className="said">
              <h1>Trace {short(id)} cannot be shown</h1>
              <p>
                Back to {back ? <Link to={backPath(via)}>where you came from</Link> : <Link to="/traces">traces</Link>}.
              </p>
            </div>
          </div>
          <Failed error={journey.error} retry={() => void journey.refetch()} retrying={journey.isFetching} />
        </>
      ) : batch ? (
        <Suspense fallback={<Finding finding={undefined} />}>
          <Batch trace={batch.traceId} span={batch.spanId} project={project} to={to} close={() => set({ batch: '', order: '', skip: '' })} />
        </Suspense>
      ) : (
        <>
          {back && (
            <nav className="crumbs" aria-label="Where you came from">
              <Link to={backPath(via)}>← trace {short(back.split('~')[0]!)}</Link>
              <span className="muted">
                <kbd>Esc</kbd>
              </span>
            </nav>
          )}
          <Finding finding={j?.finding}>{j && <Tags j={j} skip={skip} page={(n) => path + withParams(search, { from_span: n ? String(n) : '', row: '' })} />}</Finding>
          <div className="split">
            <div className="panel wf">
              <Views view={view} search={search}>
                {j && j.hops.length > 0 && <Export path={'/traces/' + j.traceId} params={{ project: new URLSearchParams(search).get('project') ?? undefined }} what="hops" />}
              </Views>
              {(!j || j.hops.length > 0) && <Legend totals={j?.totals} />}
              {j && <Path journey={j} by={by} setBy={(b) => set({ by: b === 'part' ? '' : b })} all={q.get('shares') === 'all'} setAll={(on) => set({ shares: on ? 'all' : '' })} shown={marks} setShown={(on) => set({ path: on ? '' : 'false' })} select={(row) => set({ row, shut: [...opened(rows, shut, rows.findIndex((r) => r.id === row))].join(',') })} />}
              {j && !view && rows.length > 1 && (
                <div className="wftools">
                  <Find find={find} many={found.length} set={(text) => set({ find: text })} move={toHit} />
                  <button type="button" className={'pick' + (errors ? ' on' : '')} aria-pressed={errors} onClick={() => set({ errors: errors ? '' : 'true' })} title="Only what failed: press e">
                    Errors only
                  </button>
                  {shut.size > 0 ? (
                    <button type="button" className="pick" onClick={() => set({ shut: '' })}>
                      Open all
                    </button>
                  ) : (
                    parents.size > 0 && (
                      <button type="button" className="pick" onClick={() => set({ shut: closable(rows, parents).join(',') })}>
                        Shut hops
                      </button>
                    )
                  )}
                  <span className="muted">
                    {count(shown.length)}
                    {shown.length < rows.length && ` of ${count(rows.length)}`} rows
                  </span>
                  {zoom && (
                    <button type="button" className="pick on push" onClick={() => setZoom(undefined)} aria-label="Show all of the time">
                      {duration(zoom.to - zoom.from)} of {duration(total)} ✕
                    </button>
                  )}
                </div>
              )}
              {j && !view && rows.length >= OVERVIEW_FROM && <Overview journey={j} rows={rows} whole={whole} zoom={zoom} setZoom={setZoom} />}
              {j && view ? (
                <Suspense fallback={<div className="loading" aria-busy="true" aria-label="Loading the lanes" />}>
                  <Lanes journey={j} rows={rows} mode={mode} setMode={setMode} selected={selected?.kind === 'hop' ? selected.hop.id : undefined} select={selectHop} now={readAt} table={view === 'table'} />
                </Suspense>
              ) : j ? (
                shown.length === 0 ? (
                  <section className="state">
                    <h2>No row failed</h2>
                    <p>
                      <Link to={'?errors='}>Show all {count(rows.length)} rows</Link>.
                    </p>
                  </section>
                ) : (
                  <Chart
                    journey={j}
                    rows={shown}
                    parents={parents}
                    shut={shut}
                    found={foundKeys}
                    failed={failed}
                    batches={batches}
                    path={onPath}
                    axis={axis}
                    mode={mode}
                    setMode={setMode}
                    setZoom={setZoom}
                    selected={selected}
                    chosen={wanted !== null}
                    acts={acts}
                    laneRef={laneRef}
                    width={width}
                  />
                )
              ) : (
                <div className="loading" aria-busy="true" aria-label="Loading the journey">
                  {Array.from({ length: 10 }, (_, i) => (
                    <div className="cell" key={i}>
                      <span className="ghost" />
                    </div>
                  ))}
                </div>
              )}
            </div>
            <Side journey={j} row={selected} project={project} to={to} batch={selectedBatch} openBatch={openBatch} />
          </div>
        </>
      )}
    </Shell>
  )
}

function backPath(via: readonly string[]): string {
  const [trace, row] = (via.at(-1) ?? '').split('~')
  return '/traces/' + trace + withParams('', { row, via: via.slice(0, -1).join(',') })
}

/** The hops whose work can be put away, as far as a link holds them. */
function closable(rows: readonly Row[], parents: ReadonlySet<string>): string[] {
  const hops = rows.filter((r) => r.kind === 'hop' && parents.has(r.id))
  return (hops.length > 0 ? hops : rows.filter((r) => r.depth > 0 && parents.has(r.id))).slice(0, MOST_SHUT).map((r) => r.id)
}

function timeOf(row: Row, origin: string): Interval | undefined {
  if (row.kind === 'span') return spanAt(row.span, origin)
  const { start: from, end: to } = row.hop
  return from !== null && to !== null ? { from: minus(from, origin), to: minus(to, origin) } : undefined
}

function around(i: Interval, total: number): Interval {
  const pad = Math.max((i.to - i.from) * 0.05, 50)
  return { from: Math.max(0, i.from - pad), to: Math.min(total, i.to + pad) }
}

function Find({ find, many, set, move }: { find: string; many: number; set: (text: string) => void; move: (direction: 1 | -1) => void }) {
  const [typed, setTyped] = useState(find)
  const [last, setLast] = useState(find)
  if (last !== find) {
    setLast(find)
    setTyped(find)
  }
  // A row of ten thousand is looked through once one pauses.
  const latest = useRef(set)
  useEffect(() => {
    latest.current = set
  })
  useEffect(() => {
    if (typed === find) return
    const t = setTimeout(() => latest.current(typed.slice(0, 200)), 200)
    return () => clearTimeout(t)
  }, [typed, find])
  return (
    <form
      className="findrow"
      onSubmit={(e) => {
        e.preventDefault()
        move(1)
      }}
    >
      <input id="findrow" type="search" aria-label="Find within the trace" placeholder="Find a row" value={typed} maxLength={200} spellCheck={false} autoComplete="off" onChange={(e) => setTyped(e.target.value)} />
      {find ? (
        <>
          <span className="muted" role="status">
            {count(many)}
          </span>
          <button type="button" className="axisbutton" onClick={() => move(-1)} aria-label="Previous hit" disabled={many === 0}>
            ↑
          </button>
          <button type="button" className="axisbutton" onClick={() => move(1)} aria-label="Next hit" disabled={many === 0}>
            ↓
          </button>
        </>
      ) : (
        <kbd aria-hidden="true">f</kbd>
      )}
    </form>
  )
}

/** The row that holds the longest part: what one most likely came for. */
function largest(rows: readonly Row[]): Row | undefined {
  let best: Row | undefined
  let most = 0
  for (const r of rows) {
    if (r.kind !== 'hop') continue
    for (const p of r.hop.parts) {
      if (p.known && p.ns > most) {
        most = p.ns
        best = r
      }
    }
  }
  return best ?? rows.find((r) => r.kind === 'hop')
}

function Tags({ j, skip, page }: { j: Journey; skip: number; page: (n: number) => string }) {
  const errors = j.events.length
  const failed = j.spans.filter((s) => s.status === 'error').length
  const widest = j.hops.reduce((most, h) => {
    const u = h.residence?.uncertaintyNs
    return u ? Math.max(most, (u.hi - u.lo) / 2) : most
  }, 0)
  const spans = j.cut.find((c) => c.what === 'spans')
  const of = spans?.of ?? 0
  return (
    <>
      <span className="tag">{plural(j.hops.length, 'hop')}</span>
      <span className="tag">{plural(j.services.length, 'service')}</span>
      {!spans && <span className="tag">{plural(j.spans.length, 'span')}</span>}
      {j.traces.length > 1 && <span className="tag">{plural(j.traces.length, 'trace')}</span>}
      {widest > 0 && <span className="tag">clocks ± {duration(widest)}</span>}
      {failed > 0 && <span className="tag bad">{plural(failed, 'failed span')}</span>}
      {errors > 0 && <span className="tag bad">{plural(errors, 'error')}</span>}
      <Link to={'/logs?trace=' + j.traceId} className="tag">
        its logs
      </Link>
      {j.cut.map((c) =>
        c.what === 'spans' && j.spans.length === 0 ? null : c.what === 'spans' ? (
          <span className="tag warn" key={c.what}>
            spans {count(skip + 1)} to {count(skip + j.spans.length)}
            {c.of !== null && ` of ${count(c.of)}`}
          </span>
        ) : (
          <span className="tag warn" key={c.what}>
            only {count(c.limit)} {c.what}
            {c.of !== null && ` of ${count(c.of)}`}
          </span>
        ),
      )}
      {skip > 0 && (
        <Link to={page(Math.max(0, skip - PAGE))} className="tag">
          spans before
        </Link>
      )}
      {skip + j.spans.length < of && (
        <Link to={page(skip + PAGE)} className="tag">
          next spans
        </Link>
      )}
    </>
  )
}

function plural(n: number, word: string): string {
  return count(n) + ' ' + word + (n === 1 ? '' : 's')
}
