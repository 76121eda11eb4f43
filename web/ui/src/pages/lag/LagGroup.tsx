import { keepPreviousData, useQuery } from '@tanstack/react-query'
import { Fragment, lazy, Suspense, useMemo, useState } from 'react'
import { useLocation, useSearch } from 'wouter'
import { ask } from '../../api/client'
import type { LagDetail, LagPartition, LagSeries, Status } from '../../api/types'
import { withParams } from '../../lib/filters'
import { count, duration, plain } from '../../lib/format'
import { useTitle } from '../../lib/hooks'
import { useRowKeys } from '../../lib/keys'
import { useLive } from '../../lib/live'
import { Export } from '../../parts/Export'
import { Finding, titleText } from '../../parts/Finding'
import { Link } from '../../parts/Link'
import { Pages } from '../../parts/Pages'
import { Shell } from '../../parts/Shell'
import { Empty, Failed, Ghosts } from '../../parts/States'
import { WHOLE } from '../../parts/steps'
import { HopTable } from '../messages/Messages'
import { Behind, Clusters, Deleted, LAG_RANGES, Rates, StateMark, Word } from './Lag'
import { deleted, drained, rate, stateStyle, stretches } from './lag'

// The chart library is not part of the first page.
const TimeChart = lazy(() => import('../../parts/TimeChart'))

const PAGE = 200
const EVERY = 5000
/** Steps of an axis of seconds. */
const DURATIONS = [0.001, 0.01, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800, 432000, 864000]
/** Topics whose charts are drawn; more are a choice away. */
const CHARTS = 4

/** One group: its lag over time and its partitions. The open partition lives in the URL. */
export function LagGroup({ status }: { status: Status | undefined }) {
  const search = useSearch()
  const [path, go] = useLocation()
  const [live, setLive] = useLive()
  const q = new URLSearchParams(search)
  const group = q.get('group') ?? ''
  const open = q.get('open') ?? ''
  const project = q.get('project') || undefined
  const skip = Number(q.get('skip')) || 0
  const [at, setAt] = useState(open) // a link to a partition leads to its page
  const params = { cluster: q.get('cluster') ?? '', topic: q.get('topic') ?? '', from: q.get('lag_from') || LAG_RANGES.usual, project }
  const page = { ...params, ...(q.has('skip') ? { skip } : at ? { at } : {}), limit: PAGE }
  const lag = useQuery({
    queryKey: ['lag-group', group, page],
    queryFn: ({ signal }) => ask<'/api/v1/lag/{group}'>('/lag/' + encodeURIComponent(group), page, signal),
    placeholderData: keepPreviousData,
    refetchInterval: live ? EVERY : false,
    enabled: group !== '',
  })
  const d = lag.data
  if (d && open && open !== at && !q.has('skip') && !lag.isPlaceholderData && !d.partitions.some((p) => p.topic + '/' + p.partition === open)) setAt(open) // so does one on this page
  const set = (change: Record<string, string>) => go(path + withParams(search, change))
  const topics = [...new Set(d?.lines.map((l) => l.topic))]
  const first = d?.lines[0]
  useRowKeys()
  useTitle(titleText(d?.finding) || 'Group ' + group)
  return (
    <Shell page="Lag" status={status} back="/lag" ranged={LAG_RANGES} live={{ on: live, set: setLive }}>
      <Finding finding={d?.finding} failed={(lag.error || group === '') && 'This group cannot be shown'}>
        {first && <span className="tag">{first.members === null ? 'members unknown' : first.members === 1 ? '1 member' : count(first.members) + ' members'}</span>}
        {first && <span className="tag" title="as Kafka calls the group's state">{first.kafkaState || 'state unknown'}</span>}
        {d && (
          <span className="tag" title={d.cluster.brokers.join(', ')}>
            cluster {d.cluster.name}
          </span>
        )}
      </Finding>
      {d && <Clusters clusters={[d.cluster]} now={d.now} />}
      {group === '' ? (
        <Empty title="No group is named">
          <p>
            Choose one from <Link to="/lag">all groups</Link>.
          </p>
        </Empty>
      ) : lag.error && !d ? (
        <>
          <Failed error={lag.error} retry={() => void lag.refetch()} retrying={lag.isFetching} />
          <p>
            <Link to="/lag">All groups</Link>
          </p>
        </>
      ) : (
        <>
          <div className="filters" role="group" aria-label="Filters">
            <Link to="/lag" className="pick">
              ← All groups
            </Link>
            {(topics.length > 1 || params.topic) && (
              <select className={'pick' + (params.topic ? ' on' : '')} aria-label="Topic" value={params.topic} onChange={(e) => set({ topic: e.target.value, open: '', skip: '0' })}>
                <option value="">all its topics</option>
                {topics.map((t) => (
                  <option key={t}>{t}</option>
                ))}
              </select>
            )}
            <Export path={'/lag/' + encodeURIComponent(group)} params={params} what="partitions" />
          </div>
          {d ? <Charts d={d} /> : <section className="panel chartpanel" aria-hidden="true" />}
          <div className={'panel scroll' + (lag.isPlaceholderData ? ' stale' : '')}>
            <table aria-label="Partitions" className="lag partitions">
              <thead>
                <tr>
                  <th>Partition</th>
                  <th>State</th>
                  <th>Member</th>
                  <th className="num">Records behind</th>
                  <th className="num">Time behind</th>
                  <th className="num wide">Committed</th>
                  <th className="num wide">Log</th>
                  <th className="num wide">Read / written per s</th>
                  <th>Caught up</th>
                  <th>Deleted in</th>
                </tr>
              </thead>
              <tbody>
                {d ? (
                  d.partitions.map((p) => {
                    const key = p.topic + '/' + p.partition
                    const isOpen = open === key
                    return (
                      <Fragment key={key}>
                        <Line p={p} topics={topics.length} isOpen={isOpen} toggle={() => set({ open: isOpen ? '' : key })} />
                        {isOpen && (
                          <tr className="opened">
                            <td colSpan={10}>
                              <Open p={p} group={group} d={d} params={params} live={live} />
                            </td>
                          </tr>
                        )}
                      </Fragment>
                    )
                  })
                ) : (
                  <Ghosts rows={6} columns={10} />
                )}
              </tbody>
            </table>
          </div>
          {d && <Pages skip={d.skip} shown={d.partitions.length} total={d.total} size={PAGE} what="partitions" go={(to) => set({ skip: to || '0', open: '' })} />}
        </>
      )}
    </Shell>
  )
}

function Line({ p, topics, isOpen, toggle }: { p: LagPartition; topics: number; isOpen: boolean; toggle: () => void }) {
  return (
    <tr className={isOpen ? 'sel' : ''}>
      <td data-label="Partition">
        <button type="button" className="rowbutton" data-row aria-expanded={isOpen} onClick={toggle} aria-label={`${p.topic} partition ${p.partition}`}>
          <span className="twist" aria-hidden="true">
            {isOpen ? '▾' : '▸'}
          </span>{' '}
          {topics > 1 && <span>{p.topic} </span>}
          <b>p{p.partition}</b>
        </button>
      </td>
      <td data-label="State">
        <StateMark state={p.state} reason={p.reason} />
        {p.lost > 0 && <span className="tag bad gap">{count(p.lost)} lost</span>}
      </td>
      <td data-label="Member" title={p.ownerHost || undefined}>
        {p.owner || <span className="muted">nobody</span>}
      </td>
      <td className="num" data-label="Records behind">
        {count(p.lag)}
      </td>
      <td className="num" data-label="Time behind">
        <Behind ns={p.behindNs} />
      </td>
      <td className="num wide">{p.uncommitted ? <span className="muted">nothing yet</span> : count(p.committed)}</td>
      <td className="num wide">
        {count(p.logStart)} … {count(p.logEnd)}
      </td>
      <td className="num wide">
        <Rates read={p.read} written={p.written} />
      </td>
      <td data-label="Caught up">
        <Word text={drained(p.drained, p.state)} />
      </td>
      <td data-label="Deleted in">
        <Deleted {...deleted(p)} />
      </td>
    </tr>
  )
}

type Params = Record<string, string | number | boolean | undefined>

/** A partition: why it is in its state, its lag over time, and the messages of just its offsets. */
function Open({ p, group, d, params, live }: { p: LagPartition; group: string; d: LagDetail; params: Params; live: boolean }) {
  const one = useQuery({
    queryKey: ['lag-partition', group, params, p.topic, p.partition],
    queryFn: ({ signal }) => ask<'/api/v1/lag/{group}'>('/lag/' + encodeURIComponent(group), { ...params, cluster: d.cluster.name, topic: p.topic, partition: p.partition }, signal),
    refetchInterval: live ? 30_000 : false,
  })
  // The offsets stay those of the moment of opening: what one reads does not move.
  const [at, setAt] = useState(() => stretches(p))
  const now = stretches(p)
  const isMoved = now.read[1] !== at.read[1] || now.unread[1] !== at.unread[1]
  const s = one.data?.series[0]
  return (
    <>
      <p className="zero">
        <b>{stateStyle(p.state).word}</b>: {p.reason}. It reads {rate(p.read)} records/s of {rate(p.written)} written.
        {p.lost > 0 && (
          <>
            {' '}
            <b className="bad">Retention deleted {count(p.lost)} records unread</b>: the log begins at {count(p.logStart)}, and the group committed {count(p.committed)}.
          </>
        )}
      </p>
      {s && <Pair s={s} d={one.data!} name={`${p.topic} p${p.partition}`} />}
      {one.error && <Failed error={one.error} retry={() => void one.refetch()} retrying={one.isFetching} />}
      {isMoved && (
        <p>
          <button type="button" className="new" onClick={() => setAt(now)}>
            Offsets went on: show the messages of now
          </button>
        </p>
      )}
      <Messages title={p.committedBefore < p.committed ? 'Slowest of what it read last' : 'Slowest of the last 500 it read'} p={p} group={group} stretch={at.read} order="slowest" project={params['project']} />
      <Messages title="Oldest unread" p={p} group={group} stretch={at.unread} order="sent" project={params['project']} />
    </>
  )
}

/** Some messages of a stretch of offsets, and the way to all of them. */
function Messages({ title, p, group, stretch, order, project }: { title: string; p: LagPartition; group: string; stretch: [number, number]; order: 'slowest' | 'sent'; project: Params[string] }) {
  const [from, to] = stretch
  const none = to <= from
  const query = { topic: p.topic, ...(order === 'slowest' ? { group } : {}), partition: p.partition, offset_from: from, offset_to: to, order }
  const hops = useQuery({
    queryKey: ['hops', query, project, 5],
    queryFn: ({ signal }) => ask<'/api/v1/hops'>('/hops', { ...query, project, limit: 5 }, signal),
    enabled: !none,
  })
  const list = hops.data?.hops
  const all = '/messages?' + new URLSearchParams({ ...Object.fromEntries(Object.entries(query).map(([k, v]) => [k, String(v)])), from: 'all' }).toString()
  return (
    <section className="lagmessages" aria-label={title}>
      <h2>
        {title}{' '}
        {!none && (
          <span className="muted">
            offsets <span className="mono">{count(from)}</span> to <span className="mono">{count(to - 1)}</span>
          </span>
        )}
      </h2>
      {none ? (
        <p className="muted">{order === 'sent' ? 'Nothing is unread.' : 'It has read nothing yet.'}</p>
      ) : hops.error ? (
        <Failed error={hops.error} retry={() => void hops.refetch()} retrying={hops.isFetching} />
      ) : list && list.length === 0 ? (
        <p className="muted">
          {order === 'sent' ? 'No producer told of these records: it is not instrumented, or they are not sampled.' : 'No span of these records is stored: the group is not instrumented, or they are not sampled.'}
        </p>
      ) : (
        <>
          <HopTable hops={list} ghosts={5} label={`${title}, ${p.topic} partition ${p.partition}`} />
          <p>
            <Link to={all}>All messages of these offsets</Link>
          </p>
        </>
      )}
    </section>
  )
}

function Charts({ d }: { d: LagDetail }) {
  if (d.historyError) {
    return (
      <section className="panel pad" role="status">
        <p className="zero muted">Lag over time is not shown: {d.historyError}. What follows is of now.</p>
      </section>
    )
  }
  if (d.series.length === 0) {
    return (
      <section className="panel pad">
        <p className="zero muted">Nothing is kept of this time yet: a point comes every half minute.</p>
      </section>
    )
  }
  return (
    <section className="panel chartpanel" aria-label="Lag over time">
      {d.series.slice(0, CHARTS).map((s) => (
        <Pair key={s.topic} s={s} d={d} name={s.topic} />
      ))}
      {d.series.length > CHARTS && <p className="muted small">{count(d.series.length - CHARTS)} more topics: choose one above.</p>}
    </section>
  )
}

/** Time and records behind of one topic or partition. */
function Pair({ s, d, name }: { s: LagSeries; d: LagDetail; name: string }) {
  const slots = Math.max(s.seconds.length, s.records.length)
  const times = useMemo(() => Array.from({ length: slots }, (_, i) => (Number(BigInt(d.from) / 1_000_000n) + (i * d.stepNs) / 1e6) / 1000), [d.from, d.stepNs, slots])
  const last = (v: readonly (number | null)[]) => v.findLast((x) => x !== null) ?? 0
  const most = (v: readonly (number | null)[]) => Math.max(0, ...v.map((x) => x ?? 0))
  const time = (v: number) => (v === 0 ? '0' : duration(v * 1e9))
  return (
    <div className="pairs">
      <div>
        <h2>
          {name} <span className="muted">time behind</span>
        </h2>
        <Suspense fallback={<div className="timechart" />}>
          <TimeChart label={plain(`Time behind of ${name}: last ${time(last(s.seconds))}, at most ${time(most(s.seconds))}`)} times={times} values={pad(s.seconds, slots)} format={time} steps={DURATIONS} token="backlog" />
        </Suspense>
      </div>
      <div>
        <h2>
          {name} <span className="muted">records behind</span>
        </h2>
        <Suspense fallback={<div className="timechart" />}>
          <TimeChart label={plain(`Records behind of ${name}: last ${count(last(s.records))}, at most ${count(most(s.records))}`)} times={times} values={pad(s.records, slots)} format={(v) => count(v)} steps={WHOLE} token="backlog" />
        </Suspense>
      </div>
    </div>
  )
}

function pad(v: readonly (number | null)[], n: number): (number | null)[] {
  return Array.from({ length: n }, (_, i) => v[i] ?? null)
}
