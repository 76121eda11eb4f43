import { keepPreviousData, useQuery } from '@tanstack/react-query'
import { useLocation, useSearch } from 'wouter'
import { ask } from '../../api/client'
import type { Quantiles, Status, TopicStats } from '../../api/types'
import { apiRange, readFilters, withParams } from '../../lib/filters'
import { ago, bytes, count, duration, fullTime, plain, rate } from '../../lib/format'
import { useTitle } from '../../lib/hooks'
import { useRowKeys } from '../../lib/keys'
import { fillOf } from '../../lib/parts'
import { Export } from '../../parts/Export'
import { Finding, titleText } from '../../parts/Finding'
import { Link } from '../../parts/Link'
import { Pages } from '../../parts/Pages'
import { Shell } from '../../parts/Shell'
import { Empty, Failed, Ghosts } from '../../parts/States'
import { Swatch } from '../../parts/HopBar'
import { TILES, topicPage } from './topic'

type Quantile = 'p50Ns' | 'p99Ns'
type Sort = 'topic' | 'read' | 'failed' | 'wait' | 'behind' | 'done'

const PAGE = 100

/** One line a topic and group. The URL holds time, words, order and page. */
export function Topics({ status }: { status: Status | undefined }) {
  const search = useSearch()
  const [path, go] = useLocation()
  const q = new URLSearchParams(search)
  const f = readFilters(search)
  const sort = (q.get('sort') as Sort | null) ?? 'topic'
  const skip = Number(q.get('skip')) || 0
  const text = q.get('text') ?? ''
  const params = { ...apiRange(f), text, sort: sort === 'topic' ? undefined : sort, skip: skip || undefined, limit: PAGE, project: q.get('project') ?? undefined }
  const topics = useQuery({
    queryKey: ['topics', params],
    queryFn: ({ signal }) => ask<'/api/v1/topics'>('/topics', params, signal),
    placeholderData: keepPreviousData,
  })
  const d = topics.data
  const list = d?.topics
  const set = (c: Record<string, string>) => go(path + withParams(search, { skip: '', ...c }))
  useRowKeys()
  useTitle(titleText(d?.finding) || 'Topics')
  const head = (by: Sort, label: string, more = '') => (
    <th className={more} aria-sort={sort === by ? (by === 'topic' ? 'ascending' : 'descending') : undefined}>
      <button type="button" className={'sorter' + (sort === by ? ' on' : '')} onClick={() => set({ sort: by === 'topic' ? '' : by })}>
        {label}
        <span aria-hidden="true">{sort === by ? (by === 'topic' ? ' ↑' : ' ↓') : ''}</span>
      </button>
    </th>
  )
  return (
    <Shell page="Topics" status={status} ranged filters="words" wanted="part of a topic or group">
      <Finding finding={d?.finding} failed={topics.error && 'Topics cannot be shown'}>
        <button type="button" className="pick" onClick={() => void topics.refetch()} disabled={topics.isFetching}>
          {topics.isFetching ? 'Asking…' : 'Refresh'}
        </button>
      </Finding>
      {text && (
        <div className="filters" role="group" aria-label="Filters">
          <button type="button" className="pick on" aria-label={`Show all topics, not only those with ${text}`} onClick={() => set({ text: '' })}>
            {text} ✕
          </button>
        </div>
      )}
      {topics.error && !d ? (
        <Failed error={topics.error} retry={() => void topics.refetch()} retrying={topics.isFetching} />
      ) : list && list.length === 0 ? (
        <Empty title={d && d.total > 0 ? 'This page lies behind the last one' : text ? 'No topic or group has this in its name' : 'No topic was used here'}>
          <p>
            Ask for a <Link to="?from=all">longer time</Link>
            {text && (
              <>
                {' '}
                or look at <Link to="/topics">all topics</Link>
              </>
            )}
            .
          </p>
        </Empty>
      ) : (
        <>
          <p className="heatlegend muted small" aria-label="Parts">
            {TILES.map((p) => (
              <span key={p.name} title={p.explain}>
                <Swatch part={p.name} /> {p.label}
              </span>
            ))}
            <Export path="/topics" params={params} what="topics" />
          </p>
          <div className={'panel scroll' + (topics.isPlaceholderData ? ' stale' : '')}>
            <table aria-label="Topics" className="topics">
              <thead>
                <tr>
                  {head('topic', 'Topic → group')}
                  <th className="num wide">Written / read per s</th>
                  {head('read', 'Read', 'num wide')}
                  {head('failed', 'Failed', 'num wide')}
                  <th className="barhead">Parts at p50 and p99</th>
                  {head('wait', 'In the broker', 'num')}
                  {head('done', 'Record → done', 'num wide')}
                  {head('behind', 'Behind', 'num')}
                  <th className="num wide">Bytes a second</th>
                  <th className="num wide">Last seen</th>
                </tr>
              </thead>
              <tbody>{list ? list.map((t) => <Line key={t.topic + '\n' + t.group} t={t} from={f.from} to={f.to} />) : <Ghosts rows={6} columns={10} />}</tbody>
            </table>
          </div>
        </>
      )}
      {d && <Pages skip={skip} shown={d.topics.length} total={d.total} size={PAGE} what="lines" go={(to) => set({ skip: to })} />}
      {list && list.length > 0 && <p className="muted small">Percentiles are of each part by itself; they do not add up. A bar shows their proportion and is as long as any other.</p>}
    </Shell>
  )
}

function partOf(t: TopicStats, name: string): Quantiles | undefined {
  return t.parts.find((p) => p.name === name)
}

function Line({ t, from, to }: { t: TopicStats; from: string; to: string }) {
  const negative = t.parts.reduce((n, p) => n + (p.name === 'residence' || p.name === 'end_to_end' ? 0 : p.negative), 0)
  return (
    <tr>
      <td className="two">
        <Link to={topicPage(t.topic, { group: t.group, from: from === '-24h' ? '' : from, to })} data-row className="rowlink" aria-label={`${t.topic}, ${t.group ? 'group ' + t.group : 'nobody reads it'}`}>
          {t.topic}
        </Link>{' '}
        <span className="muted">→</span> {t.group || <span className="muted">{t.consumed > 0 ? 'no group' : 'nobody yet'}</span>}
        {negative > 0 && (
          <span className="tag warn gap" title="measured parts below zero: clocks disagree">
            {count(negative)} &lt; 0
          </span>
        )}
      </td>
      <td className="num wide" title={`${plain(count(t.produced))} seen at the producer`}>
        {t.produced > 0 ? rate(t.producedPerSecond) : <span className="unknown-word">unknown</span>} <span className="muted">/</span> {rate(t.consumedPerSecond)}
      </td>
      <td className="num wide">{count(t.consumed)}</td>
      <td className="num wide">{t.failed > 0 ? <span className="tag bad">{count(t.failed)}</span> : <span className="faint">0</span>}</td>
      <td>
        <Stack t={t} at="p50Ns" label="p50" />
        <Stack t={t} at="p99Ns" label="p99" />
      </td>
      <td className="num">
        <Two q={partOf(t, 'residence')} />
      </td>
      <td className="num wide">
        <Two q={partOf(t, 'end_to_end')} />
      </td>
      <td className="num">{t.lagNs === null ? <span className="unknown-word">unknown</span> : t.lagNs >= 10e9 ? <span className="tag warn">{duration(t.lagNs)}</span> : t.lagNs === 0 ? '0' : duration(t.lagNs)}</td>
      <td className="num wide">{t.bytesPerSecond === null ? <span className="unknown-word">unknown</span> : bytes(t.bytesPerSecond) + '/s'}</td>
      <td className="num wide muted" title={t.lastSeen ? fullTime(t.lastSeen) : undefined}>
        {t.lastSeen ? ago(t.lastSeen) : <span className="faint">–</span>}
      </td>
    </tr>
  )
}

/** p50 and p99 below each other. */
function Two({ q }: { q: Quantiles | undefined }) {
  if (!q || q.count === 0) return <span className="unknown-word">unknown</span>
  return (
    <span className="twolines" title={`of ${plain(count(q.count))} messages${q.negative > 0 ? `; ${plain(count(q.negative))} below zero: clocks disagree` : ''}`}>
      <span className="muted">{duration(q.p50Ns)}</span>
      <b>{duration(q.p99Ns)}</b>
    </span>
  )
}

const W = 200

/** The parts at one quantile side by side. Quantiles do not add up; the bar shows their proportion. */
function Stack({ t, at, label }: { t: TopicStats; at: Quantile; label: string }) {
  const known = TILES.map((p) => ({ p, ns: Math.max(0, partOf(t, p.name)?.[at] ?? 0), q: partOf(t, p.name) })).filter((x) => x.q && x.q.count > 0 && x.ns > 0)
  const sum = known.reduce((a, b) => a + b.ns, 0)
  let x = 0
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
    </div>
  )
}
