import { keepPreviousData, useQuery, useQueryClient } from '@tanstack/react-query'
import { useLocation, useSearch } from 'wouter'
import { ask } from '../../api/client'
import type { Status, TraceSummary } from '../../api/types'
import { apiRange, readFilters, withParams } from '../../lib/filters'
import { count, duration, fullTime, time } from '../../lib/format'
import { useTitle } from '../../lib/hooks'
import { useRowKeys } from '../../lib/keys'
import { useLive } from '../../lib/live'
import { Finding, titleText } from '../../parts/Finding'
import { Link } from '../../parts/Link'
import { NewOnes, showNew } from '../../parts/Live'
import { Shell } from '../../parts/Shell'
import { Empty, Failed, Ghosts } from '../../parts/States'
import { Export } from '../../parts/Export'
import { Filters } from '../../parts/Filters'
import { Older } from '../../parts/Pages'

const PAGE = 100

export function Traces({ status }: { status: Status | undefined }) {
  const search = useSearch()
  const [path] = useLocation()
  const cache = useQueryClient()
  const [live, setLive] = useLive()
  const f = readFilters(search)
  const q = new URLSearchParams(search)
  const params = {
    ...apiRange(f),
    project: q.get('project') ?? undefined,
    service: f.service,
    topic: f.topic,
    group: f.group,
    min_latency: f.min_latency,
    errors: f.errors,
    q: f.q,
  }
  const before = q.get('before') ?? undefined
  const traces = useQuery({
    queryKey: ['traces', params, before],
    queryFn: ({ signal }) => ask<'/api/v1/traces'>('/traces', { ...params, before, limit: PAGE }, signal),
    placeholderData: keepPreviousData,
    // Nobody reads an empty list: what comes first is shown at once.
    refetchInterval: (query) => (live && query.state.data?.traces.length === 0 ? 2000 : false),
  })
  const list = traces.data?.traces
  const newest = list?.[0]?.start
  const fresh = useQuery({
    queryKey: ['traces-since', params, newest],
    queryFn: ({ signal }) => ask<'/api/v1/traces'>('/traces', { ...params, from: newest ? String(BigInt(newest) + 1n) : params.from, to: undefined, limit: 500 }, signal),
    enabled: live && !before && !f.to && !!traces.data && !traces.isPlaceholderData,
    refetchInterval: 5000,
    staleTime: 5000,
    retry: false,
  })
  useRowKeys()
  useTitle(titleText(traces.data?.finding) || 'Traces')
  const longest = Math.max(1, ...(list ?? []).map((t) => t.durationNs))
  return (
    <Shell page="Traces" status={status} filters="tokens" ranged live={{ on: live, set: setLive }}>
      <Finding finding={traces.data?.finding} failed={traces.error && 'Traces cannot be shown'}>
        <NewOnes many={fresh.data?.traces.length ?? 0} what={fresh.data?.traces.length === 1 ? 'trace' : 'traces'} show={() => void showNew(cache, 'traces')} />
      </Finding>
      <Filters with={['service', 'topic', 'group', 'min_latency', 'errors']}>
        <Export path="/traces" params={params} what="traces" />
      </Filters>
      {traces.error && !traces.data ? (
        <Failed error={traces.error} retry={() => void traces.refetch()} retrying={traces.isFetching} />
      ) : list && list.length === 0 ? (
        <Empty title="No trace is here">
          <p>
            {withParams(search, { service: '', topic: '', group: '', min_latency: '', errors: '', q: '', before: '' }) !== withParams(search, {}) ? (
              <>
                <Link to="/traces">Take all filters away</Link>, or ask for a <Link to="?from=all">longer time</Link>.
              </>
            ) : (
              <>
                Ask for a <Link to="?from=all">longer time</Link>. Spans appear a second or two after they end.
              </>
            )}
          </p>
        </Empty>
      ) : (
        <div className={'panel scroll' + (traces.isPlaceholderData ? ' stale' : '')}>
          <table aria-label="Traces" aria-busy={traces.isFetching}>
            <thead>
              <tr>
                <th>Started</th>
                <th>Root</th>
                <th className="wide">Services</th>
                <th className="wide">Topics</th>
                <th className="num">Duration</th>
                <th className="barcol wide">log scale</th>
                <th className="num wide">Spans</th>
                <th className="num">Errors</th>
              </tr>
            </thead>
            <tbody>{list ? list.map((t) => <Line key={t.traceId} t={t} longest={longest} />) : <Ghosts rows={12} columns={8} />}</tbody>
          </table>
        </div>
      )}
      <Older first={before ? path + withParams(search, { before: '' }) : ''} next={traces.data?.next ? path + withParams(search, { before: traces.data.next }) : ''} nextWord="Older traces" stale={traces.isPlaceholderData} />
    </Shell>
  )
}

function Line({ t, longest }: { t: TraceSummary; longest: number }) {
  const least = 1e5
  const w = Math.max(0.02, Math.log(Math.max(t.durationNs, least) / least) / Math.log(Math.max(longest, least * 10) / least))
  return (
    <tr>
      <td className="muted" title={fullTime(t.start)}>
        {time(t.start)}
      </td>
      <td className="grow">
        <Link to={'/traces/' + t.traceId} data-row className="rowlink">
          {t.root || 'span without name'}
        </Link>{' '}
        <span className="muted">{t.service}</span>
      </td>
      <td className="wide">
        <Names list={t.services} />
      </td>
      <td className="wide">
        <Names list={t.topics} />
      </td>
      <td className="num">{duration(t.durationNs)}</td>
      <td className="barcol wide">
        <svg width="120" height="8" aria-hidden="true">
          <rect width="120" height="8" rx="2" fill="var(--raised)" />
          <rect width={120 * w} height="8" rx="2" fill="var(--faint)" opacity=".7" />
        </svg>
      </td>
      <td className="num wide">{count(t.spans)}</td>
      <td className="num">{t.errors > 0 ? <span className="tag bad">{count(t.errors)}</span> : <span className="faint">0</span>}</td>
    </tr>
  )
}

/** Three names, and how many more. */
function Names({ list }: { list: readonly string[] }) {
  if (list.length === 0) return <span className="faint">none</span>
  return (
    <span title={list.join(', ')}>
      {list.slice(0, 4).join(' · ')}
      {list.length > 4 && <span className="muted"> + {list.length - 4}</span>}
    </span>
  )
}
