import { useQuery } from '@tanstack/react-query'
import { lazy, Suspense, useMemo } from 'react'
import { useLocation, useSearch } from 'wouter'
import { ask } from '../../api/client'
import type { Journey, Status } from '../../api/types'
import { MODES, type Mode } from '../../lib/axis'
import { withParams } from '../../lib/filters'
import { count, short } from '../../lib/format'
import { useTitle } from '../../lib/hooks'
import { useKeys } from '../../lib/keys'
import { rowsOf, type Row } from '../../lib/tree'
import { Finding, titleText } from '../../parts/Finding'
import { Link } from '../../parts/Link'
import { Shell } from '../../parts/Shell'
import { Failed } from '../../parts/States'
import { nextView, VIEWS, Views } from '../journey/Views'
import { Chart } from './Chart'
import { Legend } from './Legend'
import { Side } from './Side'

const Lanes = lazy(() => import('../journey/Lanes').then((m) => ({ default: m.Lanes })))

/** One journey: its spans and hops on one axis of time. The selected row and the axis live in the URL. */
export function Waterfall({ id, status }: { id: string; status: Status | undefined }) {
  const search = useSearch()
  const [path, go] = useLocation()
  const q = new URLSearchParams(search)
  const project = q.get('project') ?? undefined
  const journey = useQuery({
    queryKey: ['journey', project, id],
    queryFn: ({ signal }) => ask<'/api/v1/traces/{id}'>('/traces/' + encodeURIComponent(id), { project }, signal),
  })
  const j = journey.data
  const rows = useMemo(() => (j ? rowsOf(j.spans, j.hops) : []), [j])
  const view = VIEWS.find((v) => v === q.get('view'))
  const readAt = String(BigInt(journey.dataUpdatedAt) * 1_000_000n)
  const mode: Mode = MODES.find((m) => m === q.get('axis')) ?? 'folded'
  const wanted = q.get('row')
  const selected = rows.find((r) => r.id === wanted) ?? rows.find((r) => (r.kind === 'span' ? r.span.spanId === wanted : r.spans.some((s) => s.spanId === wanted))) ?? (wanted ? undefined : largest(rows)) ?? rows[0]
  const at = selected ? rows.indexOf(selected) : -1
  const select = (row: Row) => go(path + withParams(search, { row: row.id }), { replace: true })
  const setMode = (m: Mode) => go(path + withParams(search, { axis: m === 'folded' ? '' : m }), { replace: true })
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
    const next = rows[Math.min(Math.max(at + by, 0), rows.length - 1)]
    if (next) select(next)
  }
  useKeys({
    j: () => step(1),
    k: () => step(-1),
    z: () => setMode(MODES[(MODES.indexOf(mode) + 1) % MODES.length]!),
    v: () => go(path + withParams(search, { view: nextView(view) }), { replace: true }),
    Enter: () => document.querySelector<HTMLElement>('#side a')?.focus(),
  })
  useTitle(titleText(j?.finding) || 'Trace ' + short(id))
  return (
    <Shell page="Traces" status={status} back="/traces">
      {journey.error && !j ? (
        <>
          <div className="sum">
            <div className="said">
              <h1>Trace {short(id)} cannot be shown</h1>
              <p>
                Back to <Link to="/traces">traces</Link>.
              </p>
            </div>
          </div>
          <Failed error={journey.error} retry={() => void journey.refetch()} retrying={journey.isFetching} />
        </>
      ) : (
        <>
          <Finding finding={j?.finding}>{j && <Tags j={j} />}</Finding>
          <div className="split">
            <div className="panel wf">
              <Views view={view} search={search} />
              <Legend totals={j?.totals} />
              {j && view ? (
                <Suspense fallback={<div className="loading" aria-busy="true" aria-label="Loading the lanes" />}>
                  <Lanes journey={j} rows={rows} mode={mode} setMode={setMode} selected={selected?.kind === 'hop' ? selected.hop.id : undefined} select={selectHop} now={readAt} table={view === 'table'} />
                </Suspense>
              ) : j ? (
                <Chart journey={j} rows={rows} mode={mode} setMode={setMode} selected={selected} select={select} />
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
            <Side journey={j} row={selected} />
          </div>
        </>
      )}
    </Shell>
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

function Tags({ j }: { j: Journey }) {
  const errors = j.events.length
  const failed = j.spans.filter((s) => s.status === 'error').length
  return (
    <>
      <span className="tag">{plural(j.hops.length, 'hop')}</span>
      <span className="tag">{plural(j.services.length, 'service')}</span>
      <span className="tag">{plural(j.spans.length, 'span')}</span>
      {j.traces.length > 1 && <span className="tag">{plural(j.traces.length, 'trace')}</span>}
      {failed > 0 && <span className="tag bad">{plural(failed, 'failed span')}</span>}
      {errors > 0 && <span className="tag bad">{plural(errors, 'error')}</span>}
      <Link to={'/logs?trace=' + j.traceId} className="tag">
        its logs
      </Link>
      {j.cut.map((c) => (
        <span className="tag warn" key={c.what}>
          only {count(c.limit)} {c.what}
        </span>
      ))}
    </>
  )
}

function plural(n: number, word: string): string {
  return count(n) + ' ' + word + (n === 1 ? '' : 's')
}
