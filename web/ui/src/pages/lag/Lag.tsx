import { keepPreviousData, useQuery } from '@tanstack/react-query'
import { useLocation, useSearch } from 'wouter'
import { ask } from '../../api/client'
import type { LagCluster, LagLine, LagState, Status } from '../../api/types'
import { withParams } from '../../lib/filters'
import { ago, count, duration, fullTime, plain } from '../../lib/format'
import { useTitle } from '../../lib/hooks'
import { useRowKeys } from '../../lib/keys'
import { useLive } from '../../lib/live'
import { useStill } from '../../lib/still'
import { Export } from '../../parts/Export'
import { Finding, titleText } from '../../parts/Finding'
import { Link } from '../../parts/Link'
import { Moved } from '../../parts/Live'
import { Pages } from '../../parts/Pages'
import { Shell, type TimeRanges } from '../../parts/Shell'
import { Copy, Empty, Failed, Ghosts } from '../../parts/States'
import { deleted, drained, groupPage, keyOf, rate, sparkPath, sparkText, STATES, stateStyle } from './lag'

export const LAG_RANGES: TimeRanges = {
  label: 'Lag over',
  param: 'lag_from',
  usual: '-2h',
  ranges: [
    ['-30m', 'last 30 minutes'],
    ['-2h', 'last 2 hours'],
    ['-6h', 'last 6 hours'],
    ['-24h', 'last 24 hours'],
    ['-168h', 'last 7 days'],
  ],
}

const PAGE = 100
const EVERY = 5000

/** How far consumer groups are behind, a line each group and topic. */
export function Lag({ status }: { status: Status | undefined }) {
  const search = useSearch()
  const [path, go] = useLocation()
  const [live, setLive] = useLive()
  const q = new URLSearchParams(search)
  const get = (name: string) => q.get(name) ?? ''
  const sort = get('sort') || 'state'
  const state = get('state') || 'any'
  const from = get('lag_from') || LAG_RANGES.usual
  const skip = Number(get('skip')) || 0
  const params = { text: get('text'), cluster: get('cluster'), state: state === 'any' ? '' : state, sort: sort === 'state' ? '' : sort, from, skip: skip || undefined, limit: PAGE, project: get('project') || undefined }
  const lag = useQuery({
    queryKey: ['lag', params],
    queryFn: ({ signal }) => ask<'/api/v1/lag'>('/lag', params, signal),
    placeholderData: keepPreviousData,
    refetchInterval: live ? EVERY : false,
  })
  const d = lag.data
  const [rows, isMoved, reorder] = useStill(lag.isPlaceholderData ? undefined : d?.lines, keyOf, JSON.stringify(params))
  const shown = lag.isPlaceholderData ? (d?.lines ?? []).map((row) => ({ key: keyOf(row), row, gone: false })) : rows
  const set = (change: Record<string, string>) => go(path + withParams(search, { skip: '', ...change }))
  useRowKeys()
  useTitle(titleText(d?.finding) || 'Lag')
  const clusters = d?.clusters ?? []
  const counts = new Map(d?.states.map((s) => [s.state, s.count]))
  const all = d?.states.reduce((a, s) => a + s.count, 0)
  const chip = (value: string, label: string, n: number | undefined) => (
    <button key={value} type="button" className={'pick' + (state === value ? ' on' : '')} aria-pressed={state === value} onClick={() => set({ state: value === 'any' ? '' : value })}>
      {label} {n !== undefined && <span className="muted">{count(n)}</span>}
    </button>
  )
  const filtered = !!(get('text') || get('cluster') || state !== 'any')
  const rangeName = (LAG_RANGES.ranges.find(([v]) => v === from)?.[1] ?? 'since ' + from).replace('last ', '').replace(' hours', ' h').replace(' minutes', ' m').replace(' days', ' d')
  return (
    <Shell page="Lag" status={status} filters="words" wanted="part of a group, topic or cluster" ranged={LAG_RANGES} live={{ on: live, set: setLive }}>
      <Finding finding={d?.finding} failed={lag.error && 'Lag cannot be shown'}>
        {isMoved && <Moved show={reorder} />}
        {d && <span className="tag">as of {new Date(lag.dataUpdatedAt).toLocaleTimeString('en-GB')}</span>}
      </Finding>
      <Clusters clusters={clusters} now={d?.now} />
      <div className="filters" role="group" aria-label="Filters">
        {chip('any', 'All', all)}
        {chip('not-ok', 'Not OK', all === undefined ? undefined : all - (counts.get('ok') ?? 0))}
        {STATES.filter((s) => (counts.get(s.state) ?? 0) > 0 || s.state === state).map((s) => chip(s.state, s.word, counts.get(s.state) ?? 0))}
        {clusters.length > 1 && (
          <select className={'pick' + (get('cluster') ? ' on' : '')} aria-label="Cluster" value={get('cluster')} onChange={(e) => set({ cluster: e.target.value })}>
            <option value="">any cluster</option>
            {clusters.map((c) => (
              <option key={c.name}>{c.name}</option>
            ))}
          </select>
        )}
        <Export path="/lag" params={params} what="lines" />
      </div>
      {lag.error && !d ? (
        <Failed error={lag.error} retry={() => void lag.refetch()} retrying={lag.isFetching} />
      ) : d && d.lines.length === 0 && shown.length === 0 ? (
        <Nothing clusters={clusters} filtered={filtered} beyond={(d?.total ?? 0) > 0} />
      ) : (
        <div className={'panel scroll' + (lag.isPlaceholderData ? ' stale' : '')}>
          <table aria-label="Lag" className="lag">
            <thead>
              <tr>
                <Head by="group" sort={sort} set={set} label="Group" first="ascending" />
                <Head by="topic" sort={sort} set={set} label="Topic" first="ascending" />
                <Head by="state" sort={sort} set={set} label="State" first="descending" />
                <Head by="lag" sort={sort} set={set} label="Records behind" first="descending" num />
                <Head by="behind" sort={sort} set={set} label="Time behind" first="descending" num />
                <th className="num wide">Read / written per s</th>
                <Head by="drained" sort={sort} set={set} label="Caught up" first="descending" />
                <Head by="deleted" sort={sort} set={set} label="Unread deleted in" first="ascending" />
                <th className="wide">Time behind, {rangeName}</th>
              </tr>
            </thead>
            <tbody>{d ? shown.map((r) => <Line key={r.key} l={r.row} gone={r.gone} clusters={clusters.length} now={d.now} />) : <Ghosts rows={8} columns={9} />}</tbody>
          </table>
        </div>
      )}
      {d && d.historyError && (
        <p className="muted small" role="status">
          Lag over time is not shown: {d.historyError}.
        </p>
      )}
      {d && <Pages skip={skip} shown={d.lines.length} total={d.total} size={PAGE} what="lines" go={(to) => set({ skip: to })} />}
      {d && d.lines.length > 0 && (
        <p className="muted small">
          States and rates are found over the last {duration(d.windowNs)}. Time behind is the age of the oldest unread record.
        </p>
      )}
    </Shell>
  )
}

function Head({ by, sort, set, label, first, num }: { by: string; sort: string; set: (change: Record<string, string>) => void; label: string; first: 'ascending' | 'descending'; num?: boolean }) {
  const on = sort === by
  return (
    <th className={num ? 'num' : undefined} aria-sort={on ? first : undefined}>
      <button type="button" className={'sorter' + (on ? ' on' : '')} onClick={() => set({ sort: by === 'state' ? '' : by })}>
        {label}
        <span aria-hidden="true">{on ? (first === 'ascending' ? ' ↑' : ' ↓') : ''}</span>
      </button>
    </th>
  )
}

export function StateMark({ state, reason }: { state: LagState; reason?: string }) {
  const s = stateStyle(state)
  return (
    <span className={'lagstate ' + s.tone} title={reason || s.says}>
      <i aria-hidden="true" />
      {s.word}
    </span>
  )
}

function Line({ l, gone, clusters, now }: { l: LagLine; gone: boolean; clusters: number; now: string }) {
  const del = deleted(l)
  const old = Number(BigInt(now) - BigInt(l.asked)) > 60e9
  return (
    <tr className={gone ? 'stale' : undefined}>
      <td data-label="Group" className="name">
        <Link to={groupPage(l)} data-row className="rowlink" aria-label={`${l.group}, ${l.topic}`}>
          {l.group}
        </Link>{' '}
        {clusters > 1 && <span className="muted small">{l.cluster}</span>}
        {gone && <span className="tag gap">gone</span>}
        {old && !gone && (
          <span className="tag warn gap" title={l.error || fullTime(l.asked)}>
            seen {ago(l.asked)}
          </span>
        )}
      </td>
      <td data-label="Topic" className="name">
        {l.topic}
      </td>
      <td data-label="State">
        <StateMark state={l.state} reason={l.reason} />
        {l.state !== 'ok' && l.inState < l.partitions && (
          <span className="muted small gap" title="partitions in this state, of all">
            {count(l.inState)} of {count(l.partitions)}
          </span>
        )}
        {l.lost > 0 && <span className="tag bad gap">{count(l.lost)} lost</span>}
      </td>
      <td className="num" data-label="Records behind">
        {count(l.lag)}
      </td>
      <td className="num" data-label="Time behind">
        <Behind ns={l.behindNs} />
      </td>
      <td className="num wide">
        <Rates read={l.read} written={l.written} />
      </td>
      <td data-label="Caught up">
        <Word text={drained(l.drained, l.state)} />
      </td>
      <td data-label="Deleted in">
        <Link to={groupPage(l)} aria-label={plain(`Unread deleted in ${del.text}: partitions of ${l.group}`)}>
          <Deleted {...del} />
        </Link>
      </td>
      <td className="wide">
        <Spark values={l.behind} state={l.state} />
      </td>
    </tr>
  )
}

export function Word({ text }: { text: string }) {
  return text === 'unknown' ? <span className="unknown-word">unknown</span> : <>{text}</>
}

export function Behind({ ns }: { ns: number | null }) {
  return ns === null ? <span className="unknown-word">unknown</span> : <>{ns === 0 ? '0' : duration(ns)}</>
}

export function Rates({ read, written }: { read: number | null; written: number | null }) {
  return read === null && written === null ? (
    <span className="unknown-word">unknown</span>
  ) : (
    <>
      {rate(read)} <span className="muted">/</span> {rate(written)}
    </>
  )
}

export function Deleted({ text, tone, says }: { text: string; tone: string; says: string }) {
  return tone ? (
    <span className={'tag ' + tone} title={says}>
      {text}
    </span>
  ) : (
    <span className="muted" title={says}>
      <Word text={text} />
    </span>
  )
}

function Spark({ values, state }: { values: readonly (number | null)[]; state: LagState }) {
  const path = sparkPath(values, 132, 22)
  return (
    <svg width="132" height="24" viewBox="-1 -1 134 24" role="img" aria-label={sparkText(values)}>
      <line x1="0" x2="132" y1="22" y2="22" stroke="var(--line)" />
      <path d={path} fill="none" stroke={`var(--${stateStyle(state).tone})`} strokeWidth="1.5" strokeLinecap="round" strokeLinejoin="round" />
    </svg>
  )
}

/** Clusters that do not answer, or of which something is left out. */
export function Clusters({ clusters, now }: { clusters: readonly LagCluster[]; now: string | undefined }) {
  const told = clusters.filter((c) => c.error || c.leftOutGroups > 0 || c.leftOutPartitions > 0)
  if (told.length === 0 || !now) return null
  return (
    <ul className="panel pad notices" aria-label="Clusters">
      {told.map((c) => (
        <li key={c.name}>
          {c.error && (
            <p>
              <span className="tag bad">does not answer</span> <b>{c.name}</b> <span className="muted mono">{c.brokers.join(', ')}</span>
              {c.failedSince && (
                <span className="muted" title={fullTime(c.failedSince)}>
                  {' '}
                  for {duration(Math.max(Number(BigInt(now) - BigInt(c.failedSince)), 0))}
                </span>
              )}
              . {c.asked ? <>What it told last is shown; it is {duration(Math.max(Number(BigInt(now) - BigInt(c.asked)), 0))} old.</> : 'It has never answered.'} <span className="muted">{c.error}</span>
            </p>
          )}
          {(c.leftOutGroups > 0 || c.leftOutPartitions > 0) && (
            <p>
              <span className="tag warn">left out</span> <b>{c.name}</b> has {plain(count(c.leftOutGroups))} more groups and {plain(count(c.leftOutPartitions))} more partitions than are watched. Raise <code>lagwatch.max_groups</code> or{' '}
              <code>lagwatch.max_partitions</code>, or choose with <code>lagwatch.groups</code> and <code>lagwatch.exclude_groups</code>.
            </p>
          )}
        </li>
      ))}
    </ul>
  )
}

function Nothing({ clusters, filtered, beyond }: { clusters: readonly LagCluster[]; filtered: boolean; beyond: boolean }) {
  if (beyond) {
    return (
      <Empty title="This page lies behind the last one">
        <p>
          <Link to="/lag">All groups</Link> begin on the first.
        </p>
      </Empty>
    )
  }
  if (clusters.length === 0) {
    return (
      <Empty title="Name a cluster to watch">
        <p>This process knows no Kafka broker. Start it with yours; the right to describe groups and topics is enough, and nothing is read or changed.</p>
        <Copy text={'hoptrace web --kafka.brokers broker-1:9092\nhoptrace web --lagwatch.clusters eu=broker-1:9092+broker-2:9092'} />
      </Empty>
    )
  }
  if (filtered) {
    return (
      <Empty title="No group is here">
        <p>
          Nothing matches. <Link to="/lag">Take all filters away</Link>.
        </p>
      </Empty>
    )
  }
  return (
    <Empty title="No group has committed an offset">
      <p>A consumer group is shown within seconds of its first commit. Point a consumer at the brokers:</p>
      <Copy text={clusters.map((c) => c.brokers.join(',')).join('\n')} />
    </Empty>
  )
}
