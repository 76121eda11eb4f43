import { keepPreviousData, useQuery } from '@tanstack/react-query'
import { Fragment } from 'react'
import { useLocation, useSearch } from 'wouter'
import { ask } from '../../api/client'
import type { Quantiles, Status, TopicStats } from '../../api/types'
import { apiRange, readFilters, withParams } from '../../lib/filters'
import { ago, count, duration, fullTime, plain } from '../../lib/format'
import { useTitle } from '../../lib/hooks'
import { useRowKeys } from '../../lib/keys'
import { fillOf, PARTS } from '../../lib/parts'
import { Finding, titleText } from '../../parts/Finding'
import { Swatch } from '../../parts/HopBar'
import { Link } from '../../parts/Link'
import { Shell } from '../../parts/Shell'
import { Empty, Failed, Ghosts } from '../../parts/States'
import { HopTable } from '../messages/Messages'

type Quantile = 'p50Ns' | 'p95Ns' | 'p99Ns'

/** One line a topic and group; the open one lives in the URL. */
export function Topics({ status }: { status: Status | undefined }) {
  const search = useSearch()
  const [path, go] = useLocation()
  const q = new URLSearchParams(search)
  const f = readFilters(search)
  const params = { ...apiRange(f), project: q.get('project') ?? undefined }
  const topics = useQuery({
    queryKey: ['topics', params],
    queryFn: ({ signal }) => ask<'/api/v1/topics'>('/topics', params, signal),
    placeholderData: keepPreviousData,
  })
  const open = q.get('open')
  const list = topics.data?.topics
  useRowKeys()
  useTitle(titleText(topics.data?.finding) || 'Topics')
  const shownParts = PARTS.filter((p) => p.name !== 'retry' || list?.some((t) => (partOf(t, 'retry')?.p99Ns ?? 0) > 0))
  return (
    <Shell page="Topics" status={status} ranged>
      <Finding finding={topics.data?.finding} failed={topics.error && 'Topics cannot be shown'}>
        <button type="button" className="pick" onClick={() => void topics.refetch()} disabled={topics.isFetching}>
          {topics.isFetching ? 'Asking…' : 'Refresh'}
        </button>
      </Finding>
      {topics.error && !topics.data ? (
        <Failed error={topics.error} retry={() => void topics.refetch()} retrying={topics.isFetching} />
      ) : list && list.length === 0 ? (
        <Empty title="No topic was used here">
          <p>
            Ask for a <Link to="?from=all">longer time</Link>.
          </p>
        </Empty>
      ) : (
        <div className={'panel scroll' + (topics.isPlaceholderData ? ' stale' : '')}>
          <table aria-label="Topics" className="topics">
            <thead>
              <tr>
                <th>Topic → group</th>
                <th className="num wide">Read</th>
                <th className="num wide">Failed</th>
                <th className="barhead">
                  Parts at p50 and p99
                </th>
                {shownParts.map((p) => (
                  <th key={p.name} className="num wide" title={p.explain}>
                    <Swatch part={p.name} />
                    <br />
                    {p.label}
                  </th>
                ))}
                <th className="num wide">Sent → done</th>
              </tr>
            </thead>
            <tbody>
              {list
                ? list.map((t) => {
                    const key = t.topic + '/' + t.group
                    const isOpen = open === key
                    return (
                      <Fragment key={key}>
                        <Line t={t} parts={shownParts} isOpen={isOpen} toggle={() => go(path + withParams(search, { open: isOpen ? '' : key }))} />
                        {isOpen && (
                          <tr className="opened">
                            <td colSpan={5 + shownParts.length}>
                              <Slowest t={t} params={params} />
                            </td>
                          </tr>
                        )}
                      </Fragment>
                    )
                  })
                : <Ghosts rows={6} columns={11} />}
            </tbody>
          </table>
        </div>
      )}
      {list && list.length > 0 && <p className="muted small">Numbers are p50, p95 and p99 of each part by itself; they do not add up. A bar shows their proportion and is as long as any other.</p>}
    </Shell>
  )
}

function partOf(t: TopicStats, name: string): Quantiles | undefined {
  return t.parts.find((p) => p.name === name)
}

function Line({ t, parts, isOpen, toggle }: { t: TopicStats; parts: typeof PARTS; isOpen: boolean; toggle: () => void }) {
  const whole = partOf(t, 'end_to_end')
  return (
    <tr className={isOpen ? 'sel' : ''}>
      <td>
        <button type="button" className="rowbutton" data-row aria-expanded={isOpen} onClick={toggle} aria-label={`${t.topic}, ${t.group ? 'group ' + t.group : 'nobody reads it'}`}>
          <span className="twist" aria-hidden="true">
            {isOpen ? '▾' : '▸'}
          </span>{' '}
          <b>{t.topic}</b>
        </button>{' '}
        <span className="muted">→</span> {t.group || <span className="muted">nobody yet</span>}
        {t.lastSeen && (
          <div className="muted small" title={fullTime(t.lastSeen)}>
            last {ago(t.lastSeen)}
          </div>
        )}
      </td>
      <td className="num wide" title={`${plain(count(t.produced))} seen at the producer`}>
        {t.group ? count(t.consumed) : <span className="muted">{count(t.produced)} sent</span>}
      </td>
      <td className="num wide">{t.failed > 0 ? <span className="tag bad">{count(t.failed)}</span> : <span className="faint">0</span>}</td>
      <td>
        <Stack t={t} at="p50Ns" label="p50" />
        <Stack t={t} at="p99Ns" label="p99" />
      </td>
      {parts.map((p) => (
        <td key={p.name} className="num wide three">
          <Three q={partOf(t, p.name)} />
        </td>
      ))}
      <td className="num wide three">
        <Three q={whole} />
      </td>
    </tr>
  )
}

/** p50, p95 and p99 below each other. */
function Three({ q }: { q: Quantiles | undefined }) {
  if (!q || q.count === 0) return <span className="unknown-word">unknown</span>
  return (
    <span title={`${plain(count(q.count))} messages${q.negative > 0 ? `; ${plain(count(q.negative))} below zero: clocks disagree` : ''}`}>
      <span>{duration(q.p50Ns)}</span>
      <span className="muted">{duration(q.p95Ns)}</span>
      <b>{duration(q.p99Ns)}</b>
      {q.negative > 0 && <span className="tag warn">{count(q.negative)} &lt; 0</span>}
    </span>
  )
}

const W = 200

/** The parts at one quantile side by side. Quantiles do not add up; the bar shows their proportion. */
function Stack({ t, at, label }: { t: TopicStats; at: Quantile; label: string }) {
  const known = PARTS.map((p) => ({ p, ns: Math.max(0, partOf(t, p.name)?.[at] ?? 0), q: partOf(t, p.name) })).filter((x) => x.q && x.q.count > 0 && x.ns > 0)
  const sum = known.reduce((a, b) => a + b.ns, 0)
  let x = 0
  const whole = partOf(t, 'end_to_end')
  return (
    <div className="stack">
      <span className="muted">{label}</span>
      <svg viewBox={`0 0 ${W} 11`} preserveAspectRatio="none" height="11" role="img" aria-label={`${t.topic} ${t.group} ${label}: ${known.map((k) => `${k.p.label.toLowerCase()} ${plain(duration(k.ns))}`).join(', ') || 'unknown'}`}>
        {sum === 0 && <rect x=".5" y=".5" width={W - 1} height="10" className="unknown" />}
        {known.map(({ p, ns }) => {
          const w = (ns / sum) * W
          const from = x
          x += w
          return (
            <rect key={p.name} x={from} width={Math.max(w, 1)} height="11" fill={fillOf(p)}>
              <title>{`${p.label} ${duration(ns)}`}</title>
            </rect>
          )
        })}
      </svg>
      {whole && whole.count > 0 && <span className="narrow-only">{duration(whole[at])}</span>}
    </div>
  )
}

function Slowest({ t, params }: { t: TopicStats; params: Record<string, string | number | boolean | undefined> }) {
  const hops = useQuery({
    queryKey: ['hops', params, t.topic, t.group, 'slowest', 10],
    queryFn: ({ signal }) => ask<'/api/v1/hops'>('/hops', { ...params, topic: t.topic, group: t.group, order: 'slowest', limit: 10 }, signal),
    enabled: t.group !== '',
  })
  if (t.group === '') return <p className="muted">Nobody has been seen to read these records, so no time is known beyond the ack.</p>
  if (hops.error) return <Failed error={hops.error} retry={() => void hops.refetch()} retrying={hops.isFetching} />
  return (
    <>
      <HopTable hops={hops.data?.hops} label={`Slowest messages of ${t.topic}, group ${t.group}`} />
      <p>
        <Link to={'/messages?' + new URLSearchParams({ topic: t.topic, group: t.group, order: 'slowest' }).toString()}>More of the slowest</Link> ·{' '}
        <Link to={'/traces?' + new URLSearchParams({ topic: t.topic }).toString()}>Traces through {t.topic}</Link>
      </p>
    </>
  )
}
