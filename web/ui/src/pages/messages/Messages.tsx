import { keepPreviousData, useQuery, useQueryClient } from '@tanstack/react-query'
import { useLocation, useSearch } from 'wouter'
import { ask } from '../../api/client'
import type { Hop, Status } from '../../api/types'
import { term, withTerm } from '../../lib/complete'
import { apiRange, readFilters, withParams } from '../../lib/filters'
import { count, duration, fullTime, time } from '../../lib/format'
import { useTitle } from '../../lib/hooks'
import { useRowKeys } from '../../lib/keys'
import { useLive } from '../../lib/live'
import { partStyle, recordName } from '../../lib/parts'
import { Measured } from '../../parts/ClockNote'
import { Export } from '../../parts/Export'
import { Filters } from '../../parts/Filters'
import { FindBox } from '../../parts/FindBox'
import { Finding, titleText } from '../../parts/Finding'
import { HopBar, Swatch } from '../../parts/HopBar'
import { Link } from '../../parts/Link'
import { NewOnes, showNew } from '../../parts/Live'
import { Older } from '../../parts/Pages'
import { Shell } from '../../parts/Shell'
import { Empty, Failed, Ghosts } from '../../parts/States'
import { recordPath } from '../record/path'

/** Hops by themselves: the newest or the slowest of a topic and group. */
export function Messages({ status }: { status: Status | undefined }) {
  const search = useSearch()
  const [path] = useLocation()
  const cache = useQueryClient()
  const [live, setLive] = useLive()
  const f = readFilters(search)
  const q = new URLSearchParams(search)
  const project = q.get('project') ?? undefined
  // Offsets of one partition: what the lag desk leads to.
  const records = { partition: q.get('partition') ?? '', offset_from: q.get('offset_from') ?? '', offset_to: q.get('offset_to') ?? '' }
  const sent = f.order === 'sent'
  // A service is no filter of its own here, but can be asked.
  const asked = f.service ? withTerm(f.q, term('service', f.service)) : f.q
  const params = { ...apiRange(f), project, topic: f.topic, group: f.group, ...records, ...(sent ? {} : { each: true, q: asked }) }
  const before = sent ? '' : (q.get('before') ?? '')
  const still = f.order === 'slowest' || sent
  const hops = useQuery({
    queryKey: ['hops', params, f.order, before],
    queryFn: ({ signal }) => ask<'/api/v1/hops'>('/hops', { ...params, order: f.order, before, limit: 100 }, signal),
    placeholderData: keepPreviousData,
  })
  const list = hops.data?.hops
  const newest = still ? undefined : list?.[0]?.end
  const fresh = useQuery({
    queryKey: ['hops-since', params, newest],
    queryFn: ({ signal }) => ask<'/api/v1/hops'>('/hops', { ...params, from: newest ? String(BigInt(newest) + 1n) : params.from, to: undefined, limit: 500 }, signal),
    enabled: live && !still && !before && !f.to && !!hops.data && !hops.isPlaceholderData,
    refetchInterval: 5000,
    staleTime: 5000,
    retry: false,
  })
  useRowKeys()
  useTitle(titleText(hops.data?.finding) || 'Messages')
  return (
    <Shell page="Messages" status={status} filters="tokens" ranged live={{ on: live, set: setLive }}>
      <Finding finding={hops.data?.finding} failed={hops.error && 'Messages cannot be shown'}>
        <NewOnes many={fresh.data?.hops.length ?? 0} what={fresh.data?.hops.length === 1 ? 'message' : 'messages'} show={() => void showNew(cache, 'hops')} />
      </Finding>
      <FindBox q="" />
      <Filters with={['topic', 'group', 'order']}>
        {(records.partition || records.offset_from || records.offset_to) && (
          <Link to={'/messages' + withParams(search, { partition: '', offset_from: '', offset_to: '', ...(f.order === 'sent' ? { order: '' } : {}) })} className="pick on" aria-label="Show all partitions and offsets">
            {records.partition && 'p' + records.partition}
            {(records.offset_from || records.offset_to) && ` offsets ${records.offset_from || '0'} to ${/^\d+$/.test(records.offset_to) ? String(BigInt(records.offset_to) - 1n) : records.offset_to || 'the end'}`} ✕
          </Link>
        )}
        <Export path="/hops" params={{ ...params, order: f.order }} what="messages" />
      </Filters>
      {hops.error && !hops.data ? (
        <Failed error={hops.error} retry={() => void hops.refetch()} retrying={hops.isFetching} />
      ) : list && list.length === 0 ? (
        <Empty title="No message was read here">
          <p>
            <Link to="/messages">Take all filters away</Link>, or ask for a <Link to="?from=all">longer time</Link>. A message appears when a group has read it.
          </p>
        </Empty>
      ) : (
        <div className={'panel scroll' + (hops.isPlaceholderData ? ' stale' : '')}>
          <HopTable hops={list} label="Messages" />
        </div>
      )}
      <Older
        first={before ? path + withParams(search, { before: '' }) : ''}
        firstWord={f.order === 'slowest' ? 'Slowest' : 'Newest'}
        next={hops.data?.next ? path + withParams(search, { before: hops.data.next }) : ''}
        nextWord={f.order === 'slowest' ? 'Faster messages' : 'Older messages'}
        stale={hops.isPlaceholderData}
      />
    </Shell>
  )
}

export function HopTable({ hops, label, ghosts = 10 }: { hops: readonly Hop[] | undefined; label: string; ghosts?: number }) {
  return (
    <table aria-label={label}>
      <thead>
        <tr>
          <th className="wide">Done</th>
          <th>Record</th>
          <th className="wide">From → group</th>
          <th className="num">Sent → done</th>
          <th>Where the time went</th>
          <th className="wide">Largest part</th>
          <th className="num wide">Behind</th>
        </tr>
      </thead>
      <tbody>{hops ? hops.map((h) => <Line key={h.id} h={h} />) : <Ghosts rows={ghosts} columns={7} />}</tbody>
    </table>
  )
}

function Line({ h }: { h: Hop }) {
  const trace = h.consumer?.traceId ?? h.producer?.traceId ?? ''
  const largest = h.parts.filter((p) => p.known && p.ns > 0).sort((a, b) => b.ns - a.ns)[0]
  return (
    <tr>
      <td className="muted wide" title={h.end ? fullTime(h.end) : undefined}>
        {h.end ? time(h.end) : 'unknown'}
      </td>
      <td className="names">
        <Link to={`/traces/${trace}?row=${encodeURIComponent(h.id)}`} data-row className="rowlink" aria-label={recordName(h)}>
          {h.topic}
        </Link>{' '}
        <span className="mono muted coords">
          {recordPath(h) ? <Link to={recordPath(h)!} aria-label={'Record ' + recordName(h)}>{`p${h.partition} · ${count(h.offset!)}`}</Link> : `${h.partition === null ? 'p?' : 'p' + h.partition} · offset unknown`}
        </span>
        {h.failed && <span className="tag bad gap">failed</span>}
      </td>
      <td className="wide names">
        {h.producer?.service || <span className="unknown-word">unknown</span>} <span className="muted">→</span> {h.group || <span className="muted">{h.consumer ? 'no group' : 'as sent'}</span>}
      </td>
      <td className="num">
        <Measured h={h} of={h.endToEnd} />
      </td>
      <td>
        <HopBar hop={h} width={220} height={14} />
      </td>
      <td className="wide">
        {largest ? (
          <>
            <Swatch part={largest.name} /> {partStyle(largest.name).label} <span className="muted">{duration(largest.ns)}</span>
          </>
        ) : (
          <span className="unknown-word">unknown</span>
        )}
      </td>
      <td className="num wide">{h.behind === null ? <span className="unknown-word">unknown</span> : count(h.behind)}</td>
    </tr>
  )
}
