import { keepPreviousData, useQuery, useQueryClient } from '@tanstack/react-query'
import { Fragment, useState } from 'react'
import { useLocation, useSearch } from 'wouter'
import { ask } from '../../api/client'
import type { Attribute, Log, Status } from '../../api/types'
import { apiRange, readFilters, withParams } from '../../lib/filters'
import { count, fullTime, short, time } from '../../lib/format'
import { useTitle } from '../../lib/hooks'
import { useRowKeys } from '../../lib/keys'
import { useLive } from '../../lib/live'
import { Export } from '../../parts/Export'
import { Finding, titleText } from '../../parts/Finding'
import { Link } from '../../parts/Link'
import { NewOnes, showNew } from '../../parts/Live'
import { Older } from '../../parts/Pages'
import { Shell } from '../../parts/Shell'
import { Empty, Failed, Ghosts } from '../../parts/States'
import { keysOf, LEVELS, logsFinding, toneOf } from './logs'

/** Log records, newest first. */
export function Logs({ status }: { status: Status | undefined }) {
  const search = useSearch()
  const [path, go] = useLocation()
  const cache = useQueryClient()
  const [live, setLive] = useLive()
  const q = new URLSearchParams(search)
  const f = readFilters(search)
  const get = (name: string) => q.get(name) ?? ''
  const [level, service, text, trace, before, skip, open] = ['level', 'service', 'text', 'trace', 'before', 'skip', 'open'].map(get) as [string, string, string, string, string, string, string]
  const project = q.get('project') ?? undefined
  // A trace is asked for whole, whenever it was.
  const range = trace && !q.has('from') ? { from: undefined, to: undefined } : apiRange(f)
  const params = { ...range, project, level, service, text, trace, q: f.q }
  const filtered = !!(level || service || text || trace || f.q)
  const logs = useQuery({
    queryKey: ['logs', params, before, skip],
    queryFn: ({ signal }) => ask<'/api/v1/logs'>('/logs', { ...params, before, skip, limit: 100 }, signal),
    placeholderData: keepPreviousData,
  })
  const list = logs.data?.logs
  const newest = list?.[0]?.time
  const fresh = useQuery({
    queryKey: ['logs-since', params, newest],
    queryFn: ({ signal }) => ask<'/api/v1/logs'>('/logs', { ...params, from: newest ? String(BigInt(newest) + 1n) : params.from, to: undefined, limit: 500 }, signal),
    enabled: live && !before && !f.to && !!logs.data && !logs.isPlaceholderData,
    refetchInterval: 5000,
    staleTime: 5000,
    retry: false,
  })
  const set = (change: Record<string, string>) => go(path + withParams(search, { ...change, before: '', skip: '', open: '' }))
  const toggle = (key: string) => go(path + withParams(search, { open: open === key ? '' : key }), { replace: true })
  const keys = list ? keysOf(list) : []
  const finding = logs.data && logsFinding(logs.data, filtered)
  useRowKeys()
  useTitle(titleText(finding) || 'Logs')
  return (
    <Shell page="Logs" status={status} filters="words" ranged live={{ on: live, set: setLive }}>
      <Finding finding={finding} failed={logs.error && 'Logs cannot be shown'}>
        <NewOnes many={fresh.data?.logs.length ?? 0} what={fresh.data?.logs.length === 1 ? 'log' : 'logs'} show={() => void showNew(cache, 'logs')} />
      </Finding>
      <div className="filters" role="group" aria-label="Filters">
        <select className={'pick' + (level ? ' on' : '')} aria-label="Level" value={level} onChange={(e) => set({ level: e.target.value })}>
          <option value="">any level</option>
          {LEVELS.slice(1).map((l) => (
            <option key={l} value={l}>
              {l === 'fatal' ? 'fatal' : `${l} and worse`}
            </option>
          ))}
        </select>
        <Services value={service} set={(s) => set({ service: s })} />
        {trace && (
          <button type="button" className="pick on" aria-label="Take the trace filter away" onClick={() => set({ trace: '' })}>
            trace {short(trace)} ×
          </button>
        )}
        {trace && (
          <Link to={'/traces/' + trace} className="pick">
            Its waterfall
          </Link>
        )}
        {text && (
          <button type="button" className="pick on" aria-label="Take the words away" onClick={() => set({ text: '' })}>
            “{text}” ×
          </button>
        )}
        {f.q && (
          <button type="button" className="pick on" aria-label="Take the query away" onClick={() => set({ q: '' })}>
            <span className="mono">{f.q}</span> ×
          </button>
        )}
        <Export path="/logs" params={params} what="logs" />
      </div>
      {logs.error && !logs.data ? (
        <Failed error={logs.error} retry={() => void logs.refetch()} retrying={logs.isFetching} />
      ) : list && list.length === 0 ? (
        <Empty title={filtered ? 'No log matches' : 'No log was sent in this time'}>
          {filtered ? (
            <p>
              <Link to="/logs">Take all filters away</Link>, or ask for a <Link to="?from=all">longer time</Link>.
            </p>
          ) : (
            <p>
              Ask for a <Link to="?from=all">longer time</Link>, or send some: a Sentry SDK with logs enabled, or any OTLP exporter of logs at <code>{status?.endpoints.otlpHttp}/v1/logs</code>.
            </p>
          )}
        </Empty>
      ) : (
        <div className={'panel scroll' + (logs.isPlaceholderData ? ' stale' : '')}>
          <table aria-label="Logs" className="logs" aria-busy={logs.isFetching}>
            <thead>
              <tr>
                <th>Time</th>
                <th>Level</th>
                <th className="wide">Service</th>
                <th>What it says</th>
                <th className="wide">Trace</th>
              </tr>
            </thead>
            <tbody>{list ? list.map((l, i) => <Line key={keys[i]} l={l} open={open === keys[i]} toggle={() => toggle(keys[i]!)} />) : <Ghosts rows={12} columns={5} />}</tbody>
          </table>
        </div>
      )}
      <Older
        first={before ? path + withParams(search, { before: '', skip: '', open: '' }) : ''}
        next={logs.data?.next ? path + withParams(search, { before: logs.data.next.before, skip: logs.data.next.skip ? String(logs.data.next.skip) : '', open: '' }) : ''}
        nextWord="Older logs"
        stale={logs.isPlaceholderData}
      />
    </Shell>
  )
}

/** Services that sent spans, and the one that is chosen. */
function Services({ value, set }: { value: string; set: (s: string) => void }) {
  const search = useSearch()
  const project = new URLSearchParams(search).get('project') ?? undefined
  const [typed, setTyped] = useState(value)
  const [last, setLast] = useState(value)
  if (last !== value) {
    setLast(value)
    setTyped(value)
  }
  const names = useQuery({
    queryKey: ['names', project, undefined, undefined],
    queryFn: ({ signal }) => ask<'/api/v1/names'>('/names', { project }, signal),
    staleTime: 60_000,
  })
  return (
    <form
      onSubmit={(e) => {
        e.preventDefault()
        set(typed.trim())
      }}
    >
      <input
        className={'pick' + (value ? ' on' : '')}
        type="text"
        aria-label="Service"
        placeholder="any service"
        list="services"
        maxLength={256}
        value={typed}
        onChange={(e) => {
          setTyped(e.target.value)
          // One of the list was taken, or the field was emptied.
          if (e.target.value === '' || names.data?.services.includes(e.target.value)) set(e.target.value)
        }}
        onBlur={() => typed.trim() !== value && set(typed.trim())}
      />
      <datalist id="services">
        {(names.data?.services ?? []).map((s) => (
          <option key={s} value={s} />
        ))}
      </datalist>
    </form>
  )
}

function Line({ l, open, toggle }: { l: Log; open: boolean; toggle: () => void }) {
  return (
    <Fragment>
      <tr className={open ? 'sel' : ''}>
        <td className="muted when">{time(l.time)}</td>
        <td>
          <span className={'tag ' + toneOf(l.level)}>{l.level}</span>
        </td>
        <td className="wide">{l.service || <span className="faint">not told</span>}</td>
        <td className="body">
          <button type="button" data-row className="rowbutton" aria-expanded={open} onClick={toggle}>
            {l.body || <span className="faint">no text</span>}
          </button>
        </td>
        <td className="wide mono">{l.traceId ? <Link to={`/traces/${l.traceId}${l.spanId ? '?row=' + l.spanId : ''}`}>{short(l.traceId)}</Link> : <span className="faint">none</span>}</td>
      </tr>
      {open && (
        <tr className="opened">
          <td colSpan={5}>
            <Detail l={l} />
          </td>
        </tr>
      )}
    </Fragment>
  )
}

function Detail({ l }: { l: Log }) {
  const facts: Attribute[] = [
    { key: 'time', value: fullTime(l.time) },
    { key: 'received', value: fullTime(l.received) },
    { key: 'service', value: l.service },
    { key: 'scope', value: l.scope },
    { key: 'told by', value: l.origin === 'otel' ? 'OpenTelemetry' : 'a Sentry SDK' },
    { key: 'severity', value: l.severity > 0 ? String(l.severity) : '' },
  ].filter((a) => a.value !== '')
  return (
    <>
      <pre className="said-so whole" tabIndex={0} aria-label="The whole text">
        {l.body}
      </pre>
      {l.traceId && (
        <p>
          <Link to={`/traces/${l.traceId}${l.spanId ? '?row=' + l.spanId : ''}`}>Its waterfall</Link> · <Link to={'/logs?trace=' + l.traceId}>Logs of its trace</Link>
        </p>
      )}
      <div className="columns">
        <Pairs title="About it" list={facts} />
        <Pairs title="Attributes" list={l.attributes} />
        <Pairs title="Resource" list={l.resource} />
      </div>
    </>
  )
}

function Pairs({ title, list }: { title: string; list: readonly Attribute[] }) {
  if (list.length === 0) return null
  return (
    <section aria-label={title}>
      <h2>{title}</h2>
      <dl className="kv">
        {list.slice(0, 100).map((a) => (
          <Fragment key={a.key}>
            <dt>{a.key}</dt>
            <dd className="mono">{a.value}</dd>
          </Fragment>
        ))}
      </dl>
      {list.length > 100 && <p className="muted">{count(list.length - 100)} more</p>}
    </section>
  )
}
