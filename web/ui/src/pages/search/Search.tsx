import { keepPreviousData, useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { lazy, Suspense, useEffect, useMemo, useRef, useState } from 'react'
import { useLocation, useSearch } from 'wouter'
import { ask, question, saveQuery, dropQuery } from '../../api/client'
import type { Hop, SavedQuery, Span, Status } from '../../api/types'
import { asCommand, asCurl, term, withTerm } from '../../lib/complete'
import { apiRange, readFilters, withParams } from '../../lib/filters'
import { bytes, count, duration } from '../../lib/format'
import { useTitle } from '../../lib/hooks'
import { useKeys, useRowKeys } from '../../lib/keys'
import { useLive } from '../../lib/live'
import { useCan, useSession } from '../../lib/session'
import { Finding, titleText } from '../../parts/Finding'
import { Link } from '../../parts/Link'
import { NewOnes, showNew } from '../../parts/Live'
import { Older } from '../../parts/Pages'
import { Plan } from '../../parts/Plan'
import { Shell } from '../../parts/Shell'
import { Copy, Empty, Failed, Ghosts } from '../../parts/States'
import { columnsOf, HOP_COLUMNS, HOP_DEFAULT, SPAN_COLUMNS, SPAN_DEFAULT, type Column } from './columns'
import { QueryField } from './QueryField'
import './search.css'

const Bars = lazy(() => import('./Bars'))

const PAGE = 100

/** Spans and hops by a query. */
export function SearchPage({ status }: { status: Status | undefined }) {
  const search = useSearch()
  const [path, go] = useLocation()
  const cache = useQueryClient()
  const [live, setLive] = useLive()
  const field = useRef<HTMLInputElement>(null)
  const f = readFilters(search)
  const u = new URLSearchParams(search)
  const subject: 'spans' | 'hops' = u.get('in') === 'hops' ? 'hops' : 'spans'
  const q = u.get('q') ?? ''
  const order = u.get('order') ?? '-time'
  const cursor = u.get('cursor') ?? undefined
  const project = u.get('project') ?? undefined
  const range = apiRange(f)
  const params = { ...range, project, q: q || undefined }
  const asked = { ...params, order: order === '-time' ? undefined : order }
  const set = (change: Record<string, string>) => go(path + withParams(search, { cursor: '', ...change }))

  const spans = useQuery({
    queryKey: ['search', 'spans', asked, cursor],
    queryFn: ({ signal }) => ask<'/api/v1/search/spans'>('/search/spans', { ...asked, cursor, limit: PAGE }, signal),
    enabled: subject === 'spans',
    placeholderData: keepPreviousData,
    retry: false,
  })
  const hops = useQuery({
    queryKey: ['search', 'hops', asked, cursor],
    queryFn: ({ signal }) => ask<'/api/v1/search/hops'>('/search/hops', { ...asked, cursor, limit: PAGE }, signal),
    enabled: subject === 'hops',
    placeholderData: keepPreviousData,
    retry: false,
  })
  const rows = subject === 'spans' ? spans : hops
  const list: readonly (Span | Hop)[] | undefined = subject === 'spans' ? spans.data?.spans : hops.data?.hops
  const histogram = useQuery({
    queryKey: ['search-histogram', subject, params],
    queryFn: ({ signal }) => ask<'/api/v1/search/spans/histogram'>(`/search/${subject}/histogram`, { ...params, buckets: 80 }, signal),
    placeholderData: keepPreviousData,
    retry: false,
  })
  const newest = order === '-time' && !cursor ? (subject === 'spans' ? spans.data?.spans[0]?.start : (hops.data?.hops[0]?.end ?? undefined)) : undefined
  const fresh = useQuery({
    queryKey: ['search-since', subject, params, newest],
    queryFn: async ({ signal }) => {
      const since = { ...params, from: String(BigInt(newest!) + 1n), to: undefined, limit: 500 }
      if (subject === 'spans') return (await ask<'/api/v1/search/spans'>('/search/spans', since, signal)).spans.length
      return (await ask<'/api/v1/search/hops'>('/search/hops', since, signal)).hops.length
    },
    enabled: live && !f.to && !!newest && !rows.isPlaceholderData,
    refetchInterval: 5000,
    staleTime: 5000,
    retry: false,
  })
  useRowKeys()
  useKeys({ '/': () => field.current?.focus() })
  useTitle(titleText(histogram.data?.finding) || 'Search')

  const names = (u.get('cols') ?? '').split(',').filter(Boolean)
  const chosen = names.length > 0 ? names : subject === 'spans' ? SPAN_DEFAULT : HOP_DEFAULT
  const attributes = useMemo(() => {
    const keys = new Set<string>()
    if (subject === 'spans') {
      for (const s of spans.data?.spans ?? []) {
        for (const a of s.attributes) keys.add(a.key)
        for (const a of s.resource) keys.add('resource.' + a.key)
      }
    }
    return [...keys].sort()
  }, [subject, spans.data])
  const h = histogram.data
  const times = useMemo(() => (h ? h.rows.map((_, i) => Number(BigInt(h.from) / 1_000_000n) / 1000 + (i * h.stepNs) / 1e9) : []), [h])
  const narrow = (from: number, to: number) => set({ from: String(BigInt(Math.floor(from * 1e6)) * 1000n), to: String(BigInt(Math.ceil(to * 1e6)) * 1000n) })
  const by = subject === 'hops' && !/^-?time$/.test(order) ? order.replace(/^-/, '') : ''
  const cancelled = !rows.isFetching && !rows.data && !rows.error
  return (
    <Shell page="Search" status={status} ownSearch ranged live={{ on: live, set: setLive }}>
      <Finding finding={h?.finding} failed={(histogram.error ?? rows.error) && 'The search cannot be answered'}>
        <NewOnes many={fresh.data ?? 0} what={fresh.data === 1 ? subject.slice(0, -1) : subject} show={() => void showNew(cache, 'search')} />
      </Finding>
      <QueryField subject={subject} project={project} from={range.from} to={range.to} value={q} run={(next) => set({ q: next })} field={field} />
      <div className="filters tools" role="group" aria-label="What is searched">
        {(['spans', 'hops'] as const).map((s) => (
          <Link key={s} to={path + withParams(search, { in: s === 'spans' ? '' : s, order: '', cols: '', cursor: '', project: '' })} className={'pick' + (s === subject ? ' on' : '')} aria-current={s === subject ? 'true' : undefined}>
            {s === 'spans' ? 'Spans' : 'Hops'}
          </Link>
        ))}
        <Columns subject={subject} chosen={chosen} attributes={attributes} set={(cols) => go(path + withParams(search, { cols: cols.join(',') }))} />
        <Saved subject={subject} project={project} q={q} view={withParams('', { order: order === '-time' ? '' : order, cols: names.join(','), from: f.from, to: f.to }).slice(1)} />
        <CopyAs subject={subject} params={asked} />
        <a className="pick" href={question(`/search/${subject}`, { ...asked, format: 'csv' })} download>
          CSV
        </a>
        <a className="pick" href={question(`/search/${subject}`, { ...asked, format: 'json' })} download>
          JSON
        </a>
        <Progress running={rows.isFetching || histogram.isFetching} cancel={() => void Promise.all([cache.cancelQueries({ queryKey: ['search'] }), cache.cancelQueries({ queryKey: ['search-histogram'] })])} read={rows.data?.read} />
      </div>
      {h && h.rows.length > 0 && h.total > 0 && (
        <section className={'panel hist' + (histogram.isPlaceholderData ? ' stale' : '')} aria-label="Over time">
          <Suspense fallback={<div style={{ height: 110 }} />}>
            <Bars label={`${count(h.total)} ${subject} over time, ${count(h.errors)} failed; drag to choose a stretch`} times={times} step={h.stepNs / 1e9} rows={h.rows} failed={h.failed} choose={narrow} />
          </Suspense>
        </section>
      )}
      {rows.error && !list ? (
        <Failed error={rows.error} retry={() => void rows.refetch()} retrying={rows.isFetching} />
      ) : cancelled ? (
        <Empty title="The search was cancelled">
          <p>
            <button type="button" className="pick" onClick={() => void Promise.all([rows.refetch(), histogram.refetch()])}>
              Search again
            </button>
          </p>
        </Empty>
      ) : list && list.length === 0 ? (
        <Teach subject={subject} q={q} />
      ) : (
        <div className={'panel scroll' + (rows.isPlaceholderData ? ' stale' : '')}>
          {subject === 'spans' ? (
            <Table label="Spans" rows={list as readonly Span[] | undefined} id={(s) => s.traceId + s.spanId + s.start} columns={columnsOf(chosen, SPAN_COLUMNS, true)} order={order} sort={(o) => set({ order: o === '-time' ? '' : o })} q={q} ask={(next) => set({ q: next })} />
          ) : (
            <Table label="Hops" rows={list as readonly Hop[] | undefined} id={(x) => x.id} columns={columnsOf(chosen, HOP_COLUMNS, false)} order={order} sort={(o) => set({ order: o === '-time' ? '' : o })} q={q} ask={(next) => set({ q: next })} />
          )}
        </div>
      )}
      {list && list.length > 0 && by && (
        <p className="muted small">
          Hops are left out of this order whose “{HOP_COLUMNS.find((c) => c.sort === by)?.label ?? by}” is unknown: <Link className="inline" to={path + withParams(search, { q: withTerm(q, '-has:' + by), order: '', cursor: '', project: '' })}>see them</Link>.
        </p>
      )}
      <Older
        first={cursor ? path + withParams(search, { cursor: '', project: '' }) : ''}
        firstWord="First page"
        next={rows.data?.next ? path + withParams(search, { cursor: rows.data.next }) : ''}
        nextWord="Next page"
        stale={rows.isPlaceholderData}
      />
    </Shell>
  )
}

interface TableProps<T> {
  label: string
  rows: readonly T[] | undefined
  id: (row: T) => string
  columns: readonly Column<T>[]
  order: string
  sort: (order: string) => void
  q: string
  ask: (q: string) => void
}

function Table<T>({ label, rows, id, columns, order, sort, q, ask }: TableProps<T>) {
  return (
    <table aria-label={label} className="found">
      <thead>
        <tr>
          {columns.map((c) => {
            const down = order === '-' + c.sort
            const up = order === c.sort
            return (
              <th key={c.name} className={c.numeric ? 'num' : ''} aria-sort={down ? 'descending' : up ? 'ascending' : undefined}>
                {c.sort ? (
                  <button type="button" className="sort" onClick={() => sort(down ? c.sort! : '-' + c.sort)}>
                    {c.label} <span aria-hidden="true">{down ? '↓' : up ? '↑' : ''}</span>
                  </button>
                ) : (
                  c.label
                )}
              </th>
            )
          })}
        </tr>
      </thead>
      <tbody>
        {rows ? (
          rows.map((r) => (
            <tr key={id(r)}>
              {columns.map((c) => {
                const value = c.asks?.(r)
                return (
                  <td key={c.name} className={c.numeric ? 'num' : ''}>
                    {value === undefined ? c.cell(r) : <Cell name={c.name} value={value} attribute={c.attribute ?? false} shown={c.cell(r)} q={q} ask={ask} />}
                  </td>
                )
              })}
            </tr>
          ))
        ) : (
          <Ghosts rows={12} columns={columns.length} />
        )}
      </tbody>
    </table>
  )
}

/** A cell that the query can be narrowed by. */
function Cell({ name, value, attribute, shown, q, ask }: { name: string; value: string; attribute: boolean; shown: React.ReactNode; q: string; ask: (q: string) => void }) {
  const [open, setOpen] = useState(false)
  const t = term(name, value, attribute)
  return (
    <span
      className="cellpick"
      onBlur={(e) => {
        if (!e.currentTarget.contains(e.relatedTarget)) setOpen(false)
      }}
      onKeyDown={(e) => {
        if (e.key === 'Escape' && open) {
          e.preventDefault()
          setOpen(false)
        }
      }}
    >
      <button type="button" className="cellbutton" aria-expanded={open} onClick={() => setOpen(!open)}>
        {shown}
      </button>
      {open && (
        <span className="cellmenu">
          <button type="button" onClick={() => ask(withTerm(q, t))}>
            Only with {t}
          </button>
          <button type="button" onClick={() => ask(withTerm(q, '-' + t))}>
            Without it
          </button>
        </span>
      )}
    </span>
  )
}

const SLOW_MS = 400

/** That a search runs, for how long, and a way to end it; then what it took. */
function Progress({ running, cancel, read }: { running: boolean; cancel: () => void; read: { rows: number; bytes: number; ns: number } | undefined }) {
  const [ms, setMs] = useState(0)
  useEffect(() => {
    setMs(0)
    if (!running) return
    const began = performance.now()
    const t = setInterval(() => setMs(performance.now() - began), 200)
    return () => clearInterval(t)
  }, [running])
  return (
    <span className="progress muted small" role="status">
      {running && ms > SLOW_MS ? (
        <>
          Running for {(ms / 1000).toFixed(1)} s{' '}
          <button type="button" className="pick" onClick={cancel}>
            Cancel
          </button>
        </>
      ) : (
        read && `${count(read.rows)} rows (${bytes(read.bytes)}) read in ${duration(read.ns)}`
      )}
    </span>
  )
}

/** A button that opens something below it. */
function Drop({ label, children }: { label: string; children: React.ReactNode }) {
  const el = useRef<HTMLDetailsElement>(null)
  return (
    <details
      className="drop"
      ref={el}
      name="drop"
      onKeyDown={(e) => {
        if (e.key === 'Escape' && el.current?.open) {
          e.preventDefault()
          el.current.open = false
          el.current.querySelector('summary')?.focus()
        }
      }}
    >
      <summary className="pick">{label}</summary>
      <div className="panel dropped">{children}</div>
    </details>
  )
}

function Columns({ subject, chosen, attributes, set }: { subject: 'spans' | 'hops'; chosen: readonly string[]; attributes: readonly string[]; set: (cols: string[]) => void }) {
  const known = (subject === 'spans' ? SPAN_COLUMNS : HOP_COLUMNS).map((c) => ({ name: c.name, label: c.label }))
  const all = [...known, ...[...new Set([...attributes, ...chosen.filter((c) => !known.some((k) => k.name === c))])].sort().map((name) => ({ name, label: name }))]
  return (
    <Drop label="Columns">
      <fieldset>
        <legend>Columns</legend>
        {all.slice(0, 200).map((c) => (
          <label key={c.name}>
            <input type="checkbox" checked={chosen.includes(c.name)} onChange={(e) => set(e.target.checked ? [...chosen, c.name] : chosen.filter((x) => x !== c.name))} /> {c.label}
          </label>
        ))}
      </fieldset>
      <button type="button" className="pick" onClick={() => set([])}>
        The usual ones
      </button>
    </Drop>
  )
}

function CopyAs({ subject, params }: { subject: string; params: Record<string, string | undefined> }) {
  return (
    <Drop label="Copy as">
      <Copy label="Copy the command" text={asCommand(location.origin, subject, params)} />
      <Copy label="Copy the request" text={asCurl(location.origin, '/api/v1/search/' + subject, params)} />
    </Drop>
  )
}

function Saved({ subject, project, q, view }: { subject: 'spans' | 'hops'; project: string | undefined; q: string; view: string }) {
  const cache = useQueryClient()
  const [saving, setSaving] = useState(false)
  const [deleting, setDeleting] = useState<SavedQuery>()
  const can = useCan('member')
  const saved = useQuery({ queryKey: ['saved', project], queryFn: ({ signal }) => ask<'/api/v1/queries'>('/queries', { project }, signal), staleTime: 30_000, retry: false })
  const again = () => cache.invalidateQueries({ queryKey: ['saved'] })
  const list = (saved.data?.queries ?? []).filter((s) => s.subject === 'spans' || s.subject === 'hops')
  return (
    <>
      <Drop label={list.length > 0 ? `Saved (${list.length})` : 'Saved'}>
        {saved.error ? (
          <p>Saved queries cannot be read: {saved.error.message}</p>
        ) : list.length === 0 ? (
          <p>None yet. A saved query keeps what is asked, the order, the columns and the time.{!can && ' Members save them.'}</p>
        ) : (
          <ul className="saved">
            {list.map((s) => (
              <li key={s.id}>
                <Link to={'/search?' + [s.subject === 'hops' ? 'in=hops' : '', s.query ? 'q=' + encodeURIComponent(s.query) : '', s.view].filter(Boolean).join('&')}>
                  <b>{s.name}</b>
                </Link>{' '}
                <code>{s.query}</code> <span className="muted">{s.owner}</span>
                {s.yours && (
                  <button type="button" className="pick" aria-label={`Delete ${s.name}…`} onClick={() => setDeleting(s)}>
                    Delete…
                  </button>
                )}
              </li>
            ))}
          </ul>
        )}
      </Drop>
      {can && (
        <button type="button" className="pick" onClick={() => setSaving(true)}>
          Save…
        </button>
      )}
      {saving && <SavePlan subject={subject} project={project} q={q} view={view} close={() => setSaving(false)} saved={() => void again()} />}
      {deleting && <DeletePlan query={deleting} project={project} close={() => setDeleting(undefined)} deleted={() => void again()} />}
    </>
  )
}

function SavePlan({ subject, project, q, view, close, saved }: { subject: 'spans' | 'hops'; project: string | undefined; q: string; view: string; close: () => void; saved: () => void }) {
  const [name, setName] = useState('')
  const [owner, setOwner] = useState('')
  const member = useSession().data?.member
  const save = useMutation({
    mutationFn: () => saveQuery(project, { name, subject, query: q, view, ...(owner ? { owner } : {}) }),
    onSuccess: () => {
      saved()
      close()
    },
  })
  return (
    <Plan title="Save this query" verb="Save it" busy={save.isPending} error={save.error} disabled={name.trim() === ''} close={close} go={() => save.mutate()}>
      <p>
        Everybody who opens this project finds <code>{q || 'all ' + subject}</code> under its name. Nothing else changes; it can be deleted from the list of saved queries.
      </p>
      <p>
        <label>
          Name <input className="pick" type="text" value={name} maxLength={100} autoFocus onChange={(e) => setName(e.target.value)} />
        </label>{' '}
        {!member && (
          <label>
            Yours, if you like <input className="pick" type="text" value={owner} maxLength={60} onChange={(e) => setOwner(e.target.value)} />
          </label>
        )}
      </p>
    </Plan>
  )
}

function DeletePlan({ query, project, close, deleted }: { query: SavedQuery; project: string | undefined; close: () => void; deleted: () => void }) {
  const drop = useMutation({
    mutationFn: () => dropQuery(project, query.id),
    onSuccess: () => {
      deleted()
      close()
    },
  })
  return (
    <Plan title={`Delete “${query.name}”`} verb="Delete it" danger busy={drop.isPending} error={drop.error} close={close} go={() => drop.mutate()}>
      <p>
        The name goes; no data does. To have it back, save <code>{query.query || 'all ' + query.subject}</code> again. Links to the search itself keep working.
      </p>
    </Plan>
  )
}

const EXAMPLES: Record<'spans' | 'hops', [string, string][]> = {
  spans: [
    ['status:error', 'what failed'],
    ['duration>250ms -kind:consumer', 'slow spans that process no message'],
    ['name:send* (status:error OR duration>1s)', 'sends that failed or took long'],
    ['has:http.route http.status_code>=500', 'any attribute can be asked'],
  ],
  hops: [
    ['backlog>2s', 'records that waited because the group was behind'],
    ['processing>500ms -status:error', 'slow work that did not fail'],
    ['age>1h', 'records that were old when they were handed over'],
    ['ack>100ms OR batch_queue>1s', 'the producer’s share'],
  ],
}

/** Nothing is found: the language by examples, with names that are stored. */
function Teach({ subject, q }: { subject: 'spans' | 'hops'; q: string }) {
  const search = useSearch()
  const project = new URLSearchParams(search).get('project') ?? undefined
  const names = useQuery({ queryKey: ['names', project, undefined, undefined], queryFn: ({ signal }) => ask<'/api/v1/names'>('/names', { project }, signal), staleTime: 60_000 })
  const own: [string, string][] = []
  const service = names.data?.services[0]
  const topic = names.data?.topics[0]
  if (service) own.push([term('service', service), 'one service'])
  if (topic) own.push([term('topic', topic), subject === 'hops' ? 'one topic' : 'spans about records of one topic'])
  return (
    <Empty title={q ? `No ${subject.slice(0, -1)} matches` : `No ${subject.slice(0, -1)} is here`}>
      <p>
        Ask for a <Link to="?from=all">longer time</Link>, or for something else:
      </p>
      <ul className="examples">
        {[...own, ...EXAMPLES[subject]].map(([example, does]) => (
          <li key={example}>
            <Link to={'/search' + withParams(search, { q: example, cursor: '', project: '' })}>
              <code>{example}</code>
            </Link>{' '}
            <span className="muted">{does}</span>
          </li>
        ))}
      </ul>
    </Empty>
  )
}
