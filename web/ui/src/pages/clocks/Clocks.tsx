import { keepPreviousData, useQuery } from '@tanstack/react-query'
import { lazy, Suspense, useMemo, useState } from 'react'
import { useLocation, useSearch } from 'wouter'
import { ask } from '../../api/client'
import type { Clock, ClockList, Status } from '../../api/types'
import { apiRange, readFilters, withParams } from '../../lib/filters'
import { ago, count, date, duration, fullTime, plain, time } from '../../lib/format'
import { useTitle } from '../../lib/hooks'
import { useKeys, useRowKeys } from '../../lib/keys'
import { useLive } from '../../lib/live'
import { useStill } from '../../lib/still'
import { Export } from '../../parts/Export'
import { Finding, titleText } from '../../parts/Finding'
import { Link } from '../../parts/Link'
import { Moved } from '../../parts/Live'
import { Pages } from '../../parts/Pages'
import { Shell } from '../../parts/Shell'
import { Copy, Empty, Failed, Ghosts } from '../../parts/States'
import { hostOf, keyOf, offsetOf, originsOf, perMinute, sideOf, SORTS, STATES, type Sort } from './clocks'

// The chart library is not part of the table.
const BandChart = lazy(() => import('../../parts/BandChart'))

const EVERY = 10_000
const PAGE = 100
const BEACON = 'hoptrace collector --kafka.brokers broker-1:9092 --beacon.clusters shop=broker-1:9092+broker-2:9092'
const STAMP = 'kafka-configs.sh --bootstrap-server broker-1:9092 --alter --topic orders --add-config message.timestamp.type=LogAppendTime'

/** How far hosts' clocks are from brokers', how well that is known, and when one was stepped. The URL holds host, state, order, page and selection. */
export function ClocksPage({ status }: { status: Status | undefined }) {
  const search = useSearch()
  const [path, go] = useLocation()
  const [live, setLive] = useLive()
  const q = new URLSearchParams(search)
  const f = readFilters(search)
  const host = q.get('host') ?? ''
  const selected = q.get('sel') ?? ''
  const sort: Sort = SORTS.find((s) => s === q.get('sort')) ?? 'host'
  const state = STATES.find(([s]) => s === q.get('state'))?.[0] ?? 'any'
  const skip = Number(q.get('skip')) || 0
  const [at, setAt] = useState(selected) // a link to a pair leads to its page
  const change = (c: Record<string, string>) => go(path + withParams(search, c))
  const list = { ...apiRange(f), host: host || undefined, state: state === 'any' ? undefined : state, sort: sort === 'host' ? undefined : sort, project: q.get('project') ?? undefined }
  const params = { ...list, ...(q.has('skip') ? { skip: skip || undefined } : at ? { at } : {}), limit: PAGE }
  const clocks = useQuery({
    queryKey: ['clocks', params],
    queryFn: ({ signal }) => ask<'/api/v1/clocks'>('/clocks', params, signal),
    placeholderData: keepPreviousData,
    refetchInterval: live && !f.to ? EVERY : false,
  })
  const d = clocks.data
  if (d && selected && selected !== at && !q.has('skip') && !clocks.isPlaceholderData && !d.clocks.some((c) => keyOf(c) === selected)) setAt(selected) // so does one on this page
  const [still, isMoved, reorder] = useStill(clocks.isPlaceholderData ? undefined : d?.clocks, keyOf, JSON.stringify(params))
  const rows = clocks.isPlaceholderData || !d ? d?.clocks : still.map((r) => r.row)
  const counts = new Map(d?.states.map((s) => [s.state, s.count]))
  const pairs = (counts.get('known') ?? 0) + (counts.get('one-sided') ?? 0) + (counts.get('stale') ?? 0)
  const chosen = rows?.find((c) => keyOf(c) === selected)
  useKeys({ Escape: () => selected && change({ sel: '' }) })
  useRowKeys()
  useTitle(titleText(d?.finding) || 'Clocks')
  const head = (by: Sort, label: string, num = false) => (
    <th className={num ? 'num' : undefined} aria-sort={sort === by ? (by === 'host' || by === 'broker' ? 'ascending' : 'descending') : undefined}>
      <button type="button" className={'sorter' + (sort === by ? ' on' : '')} onClick={() => change({ sort: by === 'host' ? '' : by, skip: '0' })}>
        {label}
        <span aria-hidden="true">{sort === by ? (by === 'host' || by === 'broker' ? ' ↑' : ' ↓') : ''}</span>
      </button>
    </th>
  )
  return (
    <Shell page="Clocks" status={status} ranged live={{ on: live, set: setLive }}>
      <Finding finding={d?.finding} failed={clocks.error && !d && 'Clocks cannot be shown'}>
        {isMoved && <Moved show={reorder} />}
        {d && <span className="tag">as of {new Date(clocks.dataUpdatedAt).toLocaleTimeString('en-GB')}</span>}
      </Finding>
      <div className="filters" role="group" aria-label="Filters">
        {host && (
          <button type="button" className="pick on" onClick={() => change({ host: '', skip: '' })} aria-label="Show all hosts">
            host {hostOf(rows?.[0] ?? { name: '', host })} ×
          </button>
        )}
        {[['any', 'All'] as const, ...STATES.filter(([s]) => (counts.get(s) ?? 0) > 0 || s === state)].map(([s, word]) => (
          <button key={s} type="button" className={'pick' + (s === state ? ' on' : '')} aria-pressed={s === state} onClick={() => change({ state: s === 'any' ? '' : s, skip: '' })}>
            {word} {d && <span className="muted">{count(s === 'any' ? pairs : (counts.get(s) ?? 0))}</span>}
          </button>
        ))}
        <Export path="/clocks" params={list} what="clocks" />
      </div>
      {clocks.error && !d ? (
        <Failed error={clocks.error} retry={() => void clocks.refetch()} retrying={clocks.isFetching} />
      ) : rows && rows.length === 0 ? (
        state !== 'any' && pairs > 0 ? (
          <Empty title="No pair is like that in this time">
            <p>
              Ask for <Link to={path + withParams(search, { state: '', skip: '' })}>all pairs</Link>.
            </p>
          </Empty>
        ) : (
          <Nothing filtered={!!host} />
        )
      ) : (
        <div className="stacked">
          <div className={'panel scroll' + (clocks.isPlaceholderData ? ' stale' : '')}>
            <table aria-label="Clocks" className="lag" aria-busy={clocks.isFetching}>
              <thead>
                <tr>
                  {head('host', 'Host')}
                  {head('broker', 'Broker')}
                  {head('offset', "Host's clock is", true)}
                  {head('width', '±', true)}
                  <th>State</th>
                  <th className="num wide">Samples a minute</th>
                  {head('steps', 'Last step')}
                  {head('seen', 'Last sample')}
                </tr>
              </thead>
              <tbody>
                {rows ? (
                  rows.map((c) => <Row key={keyOf(c)} c={c} on={keyOf(c) === selected} href={path + withParams(search, { sel: keyOf(c) === selected ? '' : keyOf(c) })} />)
                ) : (
                  <Ghosts rows={6} columns={8} />
                )}
              </tbody>
            </table>
          </div>
          {d && <Pages skip={d.skip} shown={d.clocks.length} total={d.total} size={PAGE} what="pairs" go={(to) => change({ skip: to || '0', sel: '' })} />}
          {d?.more && <p className="muted small">There are more pairs than can be told at once. Choose less time, or one host.</p>}
          {selected && rows && !chosen && <p className="muted small">The pair that was chosen has no sample in this time.</p>}
          {chosen && d && <Chosen c={chosen} d={d} />}
          {d && <OwnSteps d={d} />}
        </div>
      )}
    </Shell>
  )
}

function Row({ c, on, href }: { c: Clock; on: boolean; href: string }) {
  const o = offsetOf(c.lowNs, c.highNs)
  const origins = originsOf(c)
  return (
    <tr className={on ? 'sel' : undefined} aria-current={on || undefined}>
      <td data-label="Host" className="name">
        <Link to={href} data-row className="rowlink" aria-label={`${hostOf(c)}, broker ${c.broker}`}>
          {hostOf(c)}
        </Link>{' '}
        {c.service && c.service !== hostOf(c) && <span className="muted small wide">{c.service}</span>}
      </td>
      <td data-label="Broker" className="name">
        {c.node !== null && <b>{c.node} </b>}
        <span className={c.node === null ? '' : 'muted'}>{c.broker}</span>
      </td>
      <td className="num" data-label="Host's clock is">
        {o ? <span className={Math.abs(o.ns) >= 100e6 ? 'warnword' : ''}>{sideOf(o)}</span> : <OneSide c={c} />}
      </td>
      <td className="num" data-label="±">
        {o ? duration(o.half) : <span className="unknown-word">unknown</span>}
      </td>
      <td data-label="State">
        {c.state === 'known' ? <span className="muted">known</span> : <span className="tag warn">{c.state === 'stale' ? 'no sample for 2 m' : 'one side alone'}</span>}
      </td>
      <td className="num wide" data-label="Samples a minute">
        {origins.map(([name, n]) => `${perMinute(n)} ${name}`).join(' · ')}
      </td>
      <td data-label="Last step">
        {c.stepped ? (
          <span className="warnword" title={fullTime(c.stepped)}>
            {ago(c.stepped)} <span className="muted">({count(c.steps)} {c.steps === 1 ? 'step' : 'steps'})</span>
          </span>
        ) : (
          <span className="muted">none</span>
        )}
      </td>
      <td data-label="Last sample" title={fullTime(c.seen)}>
        {ago(c.seen)} <span className="muted small wide">since {time(c.first).replace(/\.\d+$/, '')}</span>
      </td>
    </tr>
  )
}

/** What one bound alone says. */
function OneSide({ c }: { c: Clock }) {
  if (c.lowNs !== null) return <span className="muted">{c.lowNs > 0 ? `${duration(c.lowNs)} behind or more` : `at most ${duration(-c.lowNs)} ahead`}</span>
  if (c.highNs !== null) return <span className="muted">{c.highNs < 0 ? `${duration(-c.highNs)} ahead or more` : `at most ${duration(c.highNs)} behind`}</span>
  return <span className="unknown-word">unknown</span>
}

/** One pair: its band over time, its steps, and the way out of what is not known. */
function Chosen({ c, d }: { c: Clock; d: ClockList }) {
  const s = c.samples
  const times = useMemo(() => s.map((x) => date(x.time).getTime() / 1000), [s])
  const low = useMemo(() => s.map((x) => (x.lowNs === null || x.highNs === null ? null : x.lowNs / 1e9)), [s])
  const high = useMemo(() => s.map((x) => (x.lowNs === null || x.highNs === null ? null : x.highNs / 1e9)), [s])
  const marks = useMemo(() => s.filter((x) => x.steps > 0).map((x) => ({ at: date(x.time).getTime() / 1000, text: time(x.time) })), [s])
  const o = offsetOf(c.lowNs, c.highNs)
  const ns = (v: number) => duration(v * 1e9)
  const readout = (i: number) => {
    const x = s[i]
    const w = x && offsetOf(x.lowNs, x.highNs)
    return x ? `${fullTime(x.time)}: ${w ? `${duration(w.ns)} ± ${duration(w.half)}` : 'unknown'}${x.steps ? '; a step' : ''}` : ''
  }
  const label = plain(`Offset of broker ${c.broker} from ${hostOf(c)}: ${o ? `last ${duration(o.ns)} ± ${duration(o.half)}` : 'not known from both sides'}, ${count(c.steps)} ${c.steps === 1 ? 'step' : 'steps'}`)
  return (
    <section className="panel pad" aria-label="Chosen clock">
      <h2>
        {hostOf(c)} and broker {c.node !== null ? `${c.node} (${c.broker})` : c.broker} <span className="muted">broker’s clock minus the host’s; the band holds the truth</span>
      </h2>
      <Suspense fallback={<div className="timechart" />}>
        <BandChart label={label} times={times} low={low} high={high} marks={marks} format={ns} readout={readout} token="accent" />
      </Suspense>
      <dl className="kv">
        <dt>Now</dt>
        <dd>{o ? <b>{`${duration(o.ns)} ± ${duration(o.half)}`}</b> : <OneSide c={c} />}</dd>
        <dt>Made of</dt>
        <dd>{originsOf(c).map(([name, n]) => `${perMinute(n)} seconds a minute with a ${name}`).join(', ') || 'nothing lately'}</dd>
        <dt>Seen</dt>
        <dd>
          {fullTime(c.first)} to {fullTime(c.last)}
        </dd>
        <dt>Each point</dt>
        <dd>the narrowest interval of {duration(d.stepNs)}</dd>
        {c.cluster && (
          <>
            <dt>Cluster</dt>
            <dd className="mono">{c.cluster}</dd>
          </>
        )}
        <dt>Host</dt>
        <dd className="mono">{c.host}</dd>
      </dl>
      {c.steps > 0 && <p className="note">Samples contradict those before them at the dashed lines: the host’s clock or the broker’s was stepped. A hop around a step stays unknown until samples from after it are there.</p>}
      {c.state !== 'known' && (
        <>
          <p className="note">
            {c.state === 'stale'
              ? 'No sample came for two minutes: nobody sends from this host now, or its collector is down. What crosses this host now is unknown.'
              : 'Fetch answers bound the offset from one side alone. A producer on this host to a topic that stamps LogAppendTime bounds the other side, and so does a collector with its beacon:'}
          </p>
          {c.state === 'one-sided' && <Copy text={BEACON} label="Copy the beacon's line" />}
        </>
      )}
    </section>
  )
}

function OwnSteps({ d }: { d: ClockList }) {
  if (d.steps.length === 0) return null
  return (
    <section className="panel scroll" aria-label="Steps that programs saw">
      <table aria-label="Steps that programs saw" className="lag">
        <thead>
          <tr>
            <th>Steps of its own clock that a program saw</th>
            <th className="num">Steps</th>
            <th>Last</th>
          </tr>
        </thead>
        <tbody>
          {d.steps.map((s) => (
            <tr key={s.host + s.service}>
              <td data-label="Program" className="name">
                {s.service}{' '}
                <Link to={'/clocks?' + new URLSearchParams({ host: s.host }).toString()} className="small mono" aria-label={`Clocks of host ${s.host}`}>
                  {s.host.slice(0, 8)}
                </Link>
              </td>
              <td className="num" data-label="Steps">
                {count(s.steps)}
              </td>
              <td data-label="Last" title={fullTime(s.seen)}>
                {ago(s.seen)}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      {d.stepsTotal > d.steps.length && <p className="pad muted small">and {plain(count(d.stepsTotal - d.steps.length))} programs that saw one earlier: choose one host, or less time.</p>}
    </section>
  )
}

function Nothing({ filtered }: { filtered: boolean }) {
  return (
    <Empty title={filtered ? 'This host told nothing of clocks in this time' : 'No clock was compared with a broker’s in this time'}>
      <p>
        What crosses two hosts stays <i>unknown</i> without that. A collector on each host asks the brokers each second, whatever your topics stamp (setting <code>beacon.enabled</code>, on unless it is switched off):
      </p>
      <Copy text={BEACON} label="Copy the beacon's line" />
      <p>Or have your topics stamped by the broker; then round trips of our wrappers tell:</p>
      <Copy text={STAMP} label="Copy the topic's line" />
      <p>
        Ask for a <Link to="?from=all">longer time</Link>
        {filtered && (
          <>
            {' '}
            or <Link to="/clocks">all hosts</Link>
          </>
        )}
        .
      </p>
    </Empty>
  )
}
