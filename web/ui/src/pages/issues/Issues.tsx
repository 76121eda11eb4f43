import { keepPreviousData, useQuery, useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'
import { useLocation, useSearch } from 'wouter'
import { ask } from '../../api/client'
import type { Issue, Status } from '../../api/types'
import { apiRange, readFilters, withParams } from '../../lib/filters'
import { ago, count, fullTime, plain } from '../../lib/format'
import { useTitle } from '../../lib/hooks'
import { useRowKeys } from '../../lib/keys'
import { Finding, titleText } from '../../parts/Finding'
import { Link } from '../../parts/Link'
import { NewOnes, showNew } from '../../parts/Live'
import { Shell } from '../../parts/Shell'
import { Empty, Failed, Ghosts } from '../../parts/States'

export function Issues({ status }: { status: Status | undefined }) {
  const search = useSearch()
  const [path, go] = useLocation()
  const cache = useQueryClient()
  const [live, setLive] = useState(true)
  const q = new URLSearchParams(search)
  const f = readFilters(search)
  const before = q.get('before') ?? undefined
  const params = { ...apiRange(f), project: q.get('project') ?? undefined, text: f.text }
  const issues = useQuery({
    queryKey: ['issues', params, before],
    queryFn: ({ signal }) => ask<'/api/v1/issues'>('/issues', { ...params, before, limit: 100 }, signal),
    placeholderData: keepPreviousData,
  })
  const list = issues.data?.issues
  const newest = list?.[0]?.lastSeen
  const fresh = useQuery({
    queryKey: ['issues-since', params, newest],
    queryFn: ({ signal }) => ask<'/api/v1/issues'>('/issues', { ...params, from: newest ? String(BigInt(newest) + 1n) : params.from, to: undefined, limit: 500 }, signal),
    enabled: live && !before && !f.to && !!issues.data && !issues.isPlaceholderData,
    refetchInterval: 5000,
    staleTime: 5000,
    retry: false,
  })
  useRowKeys()
  useTitle(titleText(issues.data?.finding) || 'Issues')
  return (
    <Shell page="Issues" status={status} filters="text" ranged live={{ on: live, set: setLive }}>
      <Finding finding={issues.data?.finding} failed={issues.error && 'Issues cannot be shown'}>
        <NewOnes many={fresh.data?.issues.length ?? 0} what="or changed" show={() => void showNew(cache, 'issues')} />
      </Finding>
      {issues.error && !issues.data ? (
        <Failed error={issues.error} retry={() => void issues.refetch()} retrying={issues.isFetching} />
      ) : list && list.length === 0 ? (
        <Empty title="No issue is here">
          {f.text ? (
            <p>
              Nothing contains “{f.text}”. <Link to="/issues">Take the filter away</Link>.
            </p>
          ) : (
            <p>
              {status && !status.hasEvents ? 'No program has reported an error yet: give a Sentry SDK the DSN below.' : 'Nothing broke in this time.'} Ask for a <Link to="?from=all">longer time</Link>.
              {status && !status.hasEvents && status.projects[0]?.dsns[0] && <code className="block">{status.projects[0].dsns[0]}</code>}
            </p>
          )}
        </Empty>
      ) : (
        <div className={'panel scroll' + (issues.isPlaceholderData ? ' stale' : '')}>
          <table aria-label="Issues" aria-busy={issues.isFetching}>
            <thead>
              <tr>
                <th>Issue</th>
                <th className="wide">Events, 24 h</th>
                <th className="num">Events</th>
                <th className="num wide">Records</th>
                <th className="num">Last seen</th>
                <th className="num wide">First seen</th>
              </tr>
            </thead>
            <tbody>{list ? list.map((i) => <Line key={i.id} i={i} />) : <Ghosts rows={8} columns={6} />}</tbody>
          </table>
        </div>
      )}
      {(before || issues.data?.next) && (
        <p className="pages">
          {before && <Link to={'/issues' + withParams(search, { before: '' })}>Newest</Link>}
          {issues.data?.next && (
            <button type="button" className="pick" onClick={() => go(path + withParams(search, { before: issues.data?.next ?? '' }))}>
              Older issues
            </button>
          )}
        </p>
      )}
    </Shell>
  )
}

function Line({ i }: { i: Issue }) {
  return (
    <tr>
      <td className="grow two">
        <Link to={'/issues/' + i.id} data-row className="rowlink">
          {i.title || 'issue without title'}
        </Link>
        <div className="muted small">
          <Level level={i.level} /> {i.culprit} {i.platform && <>· {i.platform}</>}
        </div>
      </td>
      <td className="wide">
        <Hours hours={i.hours} />
      </td>
      <td className="num">{count(i.events)}</td>
      <td className="num wide">{i.records > 0 ? count(i.records) : <span className="faint">not told</span>}</td>
      <td className="num" title={fullTime(i.lastSeen)}>
        {ago(i.lastSeen)}
      </td>
      <td className="num wide" title={fullTime(i.firstSeen)}>
        {ago(i.firstSeen)}
      </td>
    </tr>
  )
}

export function Level({ level }: { level: string }) {
  const tone = level === 'error' || level === 'fatal' ? 'bad' : level === 'warning' ? 'warn' : ''
  return <span className={'tag ' + tone}>{level || 'error'}</span>
}

/** Events an hour, oldest first. */
export function Hours({ hours, width = 150, height = 24 }: { hours: readonly number[]; width?: number; height?: number }) {
  const most = Math.max(1, ...hours)
  const w = width / hours.length
  const sum = hours.reduce((a, b) => a + b, 0)
  return (
    <svg width={width} height={height} role="img" aria-label={`${plain(count(sum))} events in 24 hours, at most ${plain(count(most))} an hour`}>
      <line x1="0" x2={width} y1={height - 0.5} y2={height - 0.5} stroke="var(--line)" />
      {hours.map((n, i) => n > 0 && <rect key={i} x={i * w} width={w - 1} y={height - Math.max(2, (n / most) * height)} height={Math.max(2, (n / most) * height)} fill="var(--bad)" />)}
    </svg>
  )
}
