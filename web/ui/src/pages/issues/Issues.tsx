import { keepPreviousData, useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { useState, type MouseEvent } from 'react'
import { useLocation, useSearch } from 'wouter'
import { ask } from '../../api/client'
import type { Issue, Status } from '../../api/types'
import { apiRange, EVERYTHING, readFilters, withParams } from '../../lib/filters'
import { ago, count, fullTime, plain } from '../../lib/format'
import { useTitle } from '../../lib/hooks'
import { focusedRow, useKeys, useRowKeys } from '../../lib/keys'
import { useLive } from '../../lib/live'
import { useMe } from '../../lib/me'
import { STATES, stateOf, withState } from '../../lib/query'
import { useCan } from '../../lib/session'
import { Export } from '../../parts/Export'
import { Finding, titleText } from '../../parts/Finding'
import { Link } from '../../parts/Link'
import { NewOnes, showNew } from '../../parts/Live'
import { Older } from '../../parts/Pages'
import { Shell } from '../../parts/Shell'
import { Empty, Failed, Ghosts } from '../../parts/States'
import { Actions } from './Actions'
import { allThatMatch, choose, readChosen, writeChosen } from './choose'

const ORDERS: [string, string][] = [
  ['date', 'last seen first'],
  ['new', 'first seen first'],
  ['freq', 'most events first'],
  ['users', 'most users first'],
]

export function Issues({ status }: { status: Status | undefined }) {
  const search = useSearch()
  const [path, go] = useLocation()
  const cache = useQueryClient()
  const [live, setLive] = useLive()
  const q = new URLSearchParams(search)
  const f = readFilters(search)
  const before = q.get('before') ?? undefined
  const { me } = useMe()
  const can = useCan('member')
  const picked = readChosen(q.get('chosen'))
  const [anchor, setAnchor] = useState<string>()
  const sort = q.get('sort') ?? 'date'
  const query = f.query.trim()
  const params = { ...apiRange(f), project: q.get('project') ?? undefined, query, sort: sort === 'date' ? undefined : sort, me: me || undefined }
  const set = (change: Record<string, string>) => go(path + withParams(search, { ...change, text: '', before: '', chosen: '' }))
  const state = stateOf(query)
  const issues = useQuery({
    queryKey: ['issues', params, before],
    queryFn: ({ signal }) => ask<'/api/v1/issues'>('/issues', { ...params, before, limit: 100 }, signal),
    placeholderData: keepPreviousData,
  })
  const list = issues.data?.issues
  const newest = list?.[0]?.lastSeen
  // All that match are too many for a link: they are chosen until something else is.
  const every = useMutation({ mutationFn: () => allThatMatch((before, limit) => ask<'/api/v1/issues'>('/issues', { ...params, before, limit })) })
  const [everyOf, setEveryOf] = useState('')
  const asked = JSON.stringify([params, before])
  const all = everyOf === asked ? every.data : undefined
  const chosen = all?.issues ?? (list ?? []).filter((i) => picked.has(i.id))
  const wholePage = !!list && list.length > 0 && list.every((i) => picked.has(i.id))
  const setPicked = (ids: ReadonlySet<string>) => {
    setEveryOf('')
    go(path + withParams(search, { chosen: writeChosen(ids) }), { replace: true })
  }
  const pick = (id: string, shift: boolean) => {
    const next = choose((list ?? []).map((i) => i.id), { ids: picked, anchor }, id, shift)
    setAnchor(next.anchor)
    setPicked(next.ids)
  }
  const pickFocused = (shift: boolean) => {
    const at = focusedRow([...document.querySelectorAll<HTMLElement>('[data-row]')])
    const issue = list?.[at]
    if (issue) pick(issue.id, shift)
  }
  useKeys(can ? { x: () => pickFocused(false), X: () => pickFocused(true) } : {})
  const fresh = useQuery({
    queryKey: ['issues-since', params, newest],
    queryFn: ({ signal }) => ask<'/api/v1/issues'>('/issues', { ...params, from: newest ? String(BigInt(newest) + 1n) : params.from, to: undefined, limit: 500 }, signal),
    enabled: live && sort === 'date' && !before && !f.to && !!issues.data && !issues.isPlaceholderData,
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
      <div className="filters" role="group" aria-label="Filters">
        {STATES.map((x) => (
          <button key={x} type="button" className={'pick' + (state === x ? ' on' : '')} aria-pressed={state === x} onClick={() => set({ query: withState(query, x) || EVERYTHING })}>
            {x[0]!.toUpperCase() + x.slice(1)}
          </button>
        ))}
        <select className="pick" aria-label="Order" value={sort} onChange={(e) => set({ sort: e.target.value === 'date' ? '' : e.target.value })}>
          {ORDERS.map(([v, label]) => (
            <option key={v} value={v}>
              {label}
            </option>
          ))}
        </select>
        <Export path="/issues" params={params} what="issues" />
      </div>
      {chosen.length > 0 && (
        <div className="chosen">
          <b>
            {chosen.length === 1 ? '1 issue chosen' : count(chosen.length) + ' issues chosen'}
            {all && (all.more ? ', the first of those that match' : ', all that match')}
          </b>
          <Actions issues={chosen} done={() => setPicked(new Set())} />
          {wholePage && !all && (issues.data?.next || before) && (
            <button
              type="button"
              className="linkish"
              disabled={every.isPending}
              onClick={() => {
                setEveryOf(asked)
                every.mutate()
              }}
            >
              {every.isPending ? 'Reading all that match…' : 'Choose all that match'}
            </button>
          )}
          {every.error && everyOf === asked && <span className="bad">They could not be read: {every.error.message}</span>}
          <button type="button" className="linkish" onClick={() => setPicked(new Set())}>
            Choose none
          </button>
        </div>
      )}
      {issues.error && !issues.data ? (
        <Failed error={issues.error} retry={() => void issues.refetch()} retrying={issues.isFetching} />
      ) : list && list.length === 0 ? (
        <Empty title="No issue is here">
          {query && query !== 'is:unresolved' ? (
            <p>
              Nothing matches <code>{query}</code> in this time. <Link to="/issues">Take the filter away</Link>, or ask for a <Link to="?from=all">longer time</Link>.
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
                {can && (
                  <th className="choose">
                    <input
                      type="checkbox"
                      aria-label="Choose all of this page"
                      checked={wholePage}
                      ref={(el) => {
                        if (el) el.indeterminate = chosen.length > 0 && chosen.length < (list?.length ?? 0)
                      }}
                      onChange={(e) => setPicked(new Set(e.target.checked ? (list ?? []).map((i) => i.id) : []))}
                    />
                  </th>
                )}
                <th>Issue</th>
                <th className="wide">24 h</th>
                <th className="wide">14 days</th>
                <th className="num">Events</th>
                <th className="num wide">Users</th>
                <th className="num wide">Records</th>
                <th className="num">Last seen</th>
                <th className="num wide">First seen</th>
              </tr>
            </thead>
            <tbody>{list ? list.map((i) => <Line key={i.id} i={i} picked={!!all || picked.has(i.id)} pick={can ? (shift) => pick(i.id, shift) : undefined} />) : <Ghosts rows={8} columns={can ? 9 : 8} />}</tbody>
          </table>
        </div>
      )}
      {issues.data && (
        <Older
          first={before ? path + withParams(search, { before: '', chosen: '' }) : ''}
          next={issues.data.next ? path + withParams(search, { before: issues.data.next, chosen: '' }) : ''}
          nextWord="Older issues"
          stale={issues.isPlaceholderData}
        >
          <Link to="/issues/discarded">Discarded issues</Link>
        </Older>
      )}
    </Shell>
  )
}

function Line({ i, picked, pick }: { i: Issue; picked: boolean; pick: ((shift: boolean) => void) | undefined }) {
  // Shift and a click mark text elsewhere; here they choose a range.
  const noText = (e: MouseEvent) => e.shiftKey && e.preventDefault()
  return (
    <tr className={picked ? 'sel' : ''}>
      {pick && (
        <td className="choose">
          <input type="checkbox" aria-label={'Choose ' + (i.title || 'issue without title')} checked={picked} onMouseDown={noText} onChange={(e) => pick(e.nativeEvent instanceof globalThis.MouseEvent && e.nativeEvent.shiftKey)} />
        </td>
      )}
      <td className="grow two">
        <Link to={'/issues/' + i.id} data-row className="rowlink">
          {i.title || 'issue without title'}
        </Link>
        <div className="muted small">
          <State issue={i} /> <Level level={i.level} /> {i.culprit} {i.platform && <>· {i.platform}</>} {i.assignee && <>· {i.assignee}</>}
        </div>
      </td>
      <td className="wide">
        <Spark counts={i.hours} each="hour" width={110} />
      </td>
      <td className="wide">
        <Spark counts={i.days} each="day" width={90} />
      </td>
      <td className="num">{count(i.events)}</td>
      <td className="num wide">{i.users > 0 ? count(i.users) : <span className="faint">not told</span>}</td>
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

const STATE_WORDS: Record<string, [string, string]> = {
  new: ['new', 'warn'],
  regressed: ['regressed', 'bad'],
  escalating: ['escalating', 'bad'],
  ongoing: ['ongoing', ''],
  until_escalating: ['archived until it escalates', ''],
  until_condition_met: ['archived for now', ''],
  forever: ['archived', ''],
}

/** Where an issue stands. */
export function State({ issue }: { issue: Issue }) {
  const [word, tone] = issue.status === 'resolved' ? ['resolved', 'ok'] : (STATE_WORDS[issue.substatus] ?? [issue.status, ''])
  return <span className={'tag ' + tone}>{word}</span>
}

export function Level({ level }: { level: string }) {
  const tone = level === 'error' || level === 'fatal' ? 'bad' : level === 'warning' ? 'warn' : ''
  return <span className={'tag ' + tone}>{level || 'error'}</span>
}

/** Events of each hour or day, oldest first. */
export function Spark({ counts, each, width = 150, height = 24 }: { counts: readonly number[]; each: 'hour' | 'day'; width?: number; height?: number }) {
  const most = Math.max(1, ...counts)
  const w = width / counts.length
  const sum = counts.reduce((a, b) => a + b, 0)
  return (
    <svg width={width} height={height} role="img" aria-label={`${plain(count(sum))} events in ${counts.length} ${each}s, at most ${plain(count(most))} ${each === 'hour' ? 'an hour' : 'a day'}`}>
      <line x1="0" x2={width} y1={height - 0.5} y2={height - 0.5} stroke="var(--line)" />
      {counts.map((n, i) => n > 0 && <rect key={i} x={i * w} width={w - 1} y={height - Math.max(2, (n / most) * height)} height={Math.max(2, (n / most) * height)} fill="var(--bad)" />)}
    </svg>
  )
}
