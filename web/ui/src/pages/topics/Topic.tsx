import { keepPreviousData, useQuery } from '@tanstack/react-query'
import { lazy, Suspense, useMemo } from 'react'
import { useLocation, useSearch } from 'wouter'
import { ask, type Params } from '../../api/client'
import type { Quantiles, Status, TopicDetail, TopicSide } from '../../api/types'
import { apiRange, readFilters, withParams } from '../../lib/filters'
import { ago, bytes, count, duration, fullTime, plain, rate } from '../../lib/format'
import { useTitle } from '../../lib/hooks'
import { useKeys, useRowKeys } from '../../lib/keys'
import { useLive } from '../../lib/live'
import { Export } from '../../parts/Export'
import { Finding, titleText } from '../../parts/Finding'
import { Link } from '../../parts/Link'
import type { Line } from '../../parts/LinesChart'
import { Shell } from '../../parts/Shell'
import { Empty, Failed } from '../../parts/States'
import { HopTable } from '../messages/Messages'
import { Heat } from './Heat'
import { CROSSES, deadLettersOf, partValues, ratesOf, sideOf, STATS, timesOf, TOPIC_PARTS, topicPage, unknownOf, type Stat } from './topic'

const LinesChart = lazy(() => import('../../parts/LinesChart'))

const EVERY = 15_000
const SLOWEST = 20

/** One topic over time. The URL holds the time, the group, what is charted, the marked cell and the page of the slowest. */
export function TopicPage({ topic, status }: { topic: string; status: Status | undefined }) {
  const search = useSearch()
  const [path, go] = useLocation()
  const q = new URLSearchParams(search)
  const f = readFilters(search)
  const [live, setLive] = useLive(false)
  const project = q.get('project') ?? undefined
  const params: Params = { ...apiRange(f), project }
  const asked = { ...params, group: f.group || undefined }
  const detail = useQuery({
    queryKey: ['topic', topic, asked],
    queryFn: ({ signal }) => ask<'/api/v1/topics/{topic}'>('/topics/' + encodeURIComponent(topic), asked, signal),
    placeholderData: keepPreviousData,
    refetchInterval: live && !f.to ? EVERY : false,
  })
  const names = useQuery({
    queryKey: ['names', project, params['from'], params['to']],
    queryFn: ({ signal }) => ask<'/api/v1/names'>('/names', { ...apiRange(f), project }, signal),
    staleTime: 60_000,
  })
  const d = detail.data
  const stat = STATS.find((s) => s === q.get('show')) ?? 'p99'
  const set = (c: Record<string, string>) => go(path + withParams(search, c))
  const group = f.group || d?.group || ''
  const back = '/topics' + withParams('', { from: f.from, to: f.to, project })
  useRowKeys()
  useKeys({ Escape: () => go(back) })
  useTitle(titleText(d?.finding) || topic)
  const here = { from: f.from, to: f.to }
  const way = (to: string, more: Record<string, string>) => to + withParams('', { ...here, ...more })
  return (
    <Shell page="Topics" status={status} ranged live={{ on: live, set: setLive }}>
      <Finding finding={d?.finding} failed={detail.error && `Topic ${topic} cannot be shown`}>
        <button type="button" className="pick" onClick={() => void detail.refetch()} disabled={detail.isFetching}>
          {detail.isFetching ? 'Asking…' : 'Refresh'}
        </button>
      </Finding>
      <div className="filters" role="group" aria-label="Filters">
        <Link to={back} className="pick">
          ← Topics
        </Link>
        <b className="topicname">{topic}</b>
        {d && d.groups.length > 0 && (
          <select className="pick" aria-label="Group" value={group} onChange={(e) => set({ group: e.target.value, row: '', at: '' })}>
            {d.groups.map((g) => (
              <option key={g.group} value={g.group}>
                {g.group || 'no group'}
              </option>
            ))}
          </select>
        )}
        <span className="ways small">
          {group && <Link to={'/lag/group' + withParams('', { group, topic, project })}>Lag of {group}</Link>}
          <Link to={way('/topology', { topic })}>Topology</Link>
          {deadLettersOf(topic, names.data?.topics ?? []).map((t) => (
            <Link key={t} to={topicPage(t, { from: f.from === '-24h' ? '' : f.from, to: f.to })}>
              Dead letters: {t}
            </Link>
          ))}
          <Link to={'/issues' + withParams('', { query: 'topic:' + (/^[\w.-]+$/.test(topic) ? topic : JSON.stringify(topic)) })}>Issues</Link>
        </span>
        <Export path={'/topics/' + encodeURIComponent(topic)} params={{ ...params, group }} what="steps" />
      </div>
      {detail.error && !d ? (
        <Failed error={detail.error} retry={() => void detail.refetch()} retrying={detail.isFetching} />
      ) : d && !d.written && d.groups.length === 0 ? (
        <Empty title="No message passed this topic in this time">
          <p>
            Ask for a <Link to="?from=all">longer time</Link>, or look at <Link to="/topics?from=all">all topics</Link>. Programs that send spans of their Kafka clients make a topic appear.
          </p>
        </Empty>
      ) : (
        <div className={'topicpage' + (detail.isPlaceholderData ? ' stale' : '')}>
          <Parts d={d} stat={stat} choose={(s) => set({ show: s === 'p99' ? '' : s })} />
          <Flow d={d} group={group} choose={(g) => set({ group: g, row: '', at: '' })} />
          <Heat topic={topic} group={group} params={params} ready={d !== undefined || f.group !== ''} live={live && !f.to ? EVERY : false} />
          <Sizes d={d} />
          <Slowest key={group} topic={topic} group={group} params={params} ready={d !== undefined} />
        </div>
      )}
    </Shell>
  )
}

function Chart({ label, d, lines, format, log }: { label: string; d: TopicDetail; lines: Line[]; format: (v: number) => string; log?: boolean }) {
  const times = useMemo(() => timesOf(d), [d])
  return (
    <Suspense fallback={<div className="timechart" style={{ height: 210 }} />}>
      <LinesChart label={label} times={times} lines={lines} format={format} log={log ?? false} />
    </Suspense>
  )
}

/** Each part by itself over time, and its percentiles over all of it. */
function Parts({ d, stat, choose }: { d: TopicDetail | undefined; stat: Stat; choose: (s: Stat) => void }) {
  const rows = TOPIC_PARTS.map((p) => {
    const side = d && sideOf(d, p.name)
    return { p, side, q: side?.parts.find((x) => x.name === p.name) }
  }).filter(({ p, q }) => p.name !== 'retry' || (q?.p99Ns ?? 0) > 0)
  const lines: Line[] = rows.flatMap(({ p, side, q }) => {
    const values = partValues(side?.series, p.name, stat)
    // Residence is the two below it: as a line it would hide them.
    return values && q && q.count > 0 && p.name !== 'residence' ? [{ label: p.label, values, token: p.token, dashed: p.waits }] : []
  })
  return (
    <section className="panel chartpanel" aria-label="Parts over time">
      <header>
        <h2>Parts over time</h2>
        <span className="muted small">each by itself, known to 5 %, on a logarithmic axis; dashed: nobody works on the message</span>
        <span className="picks" role="group" aria-label="Percentile">
          {STATS.map((s) => (
            <button key={s} type="button" className={'pick' + (s === stat ? ' on' : '')} aria-pressed={s === stat} onClick={() => choose(s)}>
              {s}
            </button>
          ))}
        </span>
      </header>
      {!d ? <div className="timechart loading" style={{ height: 210 }} /> : lines.length === 0 ? <p className="muted">No part of these messages is known: their spans tell no times of the client. The wrappers of hoptrace do.</p> : <Chart label={plain(`Parts at ${stat}: ` + rows.filter((r) => r.q && r.q.count > 0).map(({ p, q }) => `${p.label} ${duration(at(q!, stat))}`).join(', '))} d={d} lines={lines} format={(v) => duration(v)} log />}
      <div className="scroll" role="group" aria-label="Percentiles of each part" tabIndex={0}>
        <table aria-label="Parts" className="partlist">
          <thead>
            <tr>
              <th>Part</th>
              <th className="num">p50</th>
              <th className="num wide">p90</th>
              <th className="num">p99</th>
              <th className="num wide">Known of</th>
              <th className="num wide">Unknown</th>
              <th className="num wide">Below zero</th>
            </tr>
          </thead>
          <tbody>
            {rows.map(({ p, side, q }) => (
              <tr key={p.name}>
                <td title={p.explain}>
                  <svg className="sw" viewBox="0 0 18 10" aria-hidden="true">
                    <line x1="0" x2="18" y1="5" y2="5" stroke={`var(--${p.token})`} strokeWidth="3" strokeDasharray={p.waits ? '5 2' : undefined} />
                  </svg>{' '}
                  {p.label}
                  {CROSSES.has(p.name) && <span className="muted small"> · two clocks</span>}
                </td>
                {(['p50', 'p90', 'p99'] as const).map((s) => (
                  <td key={s} className={'num' + (s === 'p90' ? ' wide' : '')}>
                    {!d ? <span className="ghost" /> : q && q.count > 0 ? duration(at(q, s)) : <span className="unknown-word">unknown</span>}
                  </td>
                ))}
                <td className="num wide">{side ? count(side.messages) : <span className="faint">–</span>}</td>
                <td className="num wide">{side && q ? unknownOf(side, q) > 0 ? count(unknownOf(side, q)) : <span className="faint">0</span> : <span className="faint">–</span>}</td>
                <td className="num wide">{!d ? <span className="faint">–</span> : q && q.negative > 0 ? <span className="tag warn">{count(q.negative)}</span> : <span className="faint">0</span>}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  )
}

function at(q: Quantiles, s: Stat): number {
  return { p50: q.p50Ns, p90: q.p90Ns, p99: q.p99Ns }[s]
}

/** What was written beside what each group read. */
function Flow({ d, group, choose }: { d: TopicDetail | undefined; group: string; choose: (g: string) => void }) {
  const perSecond = (s: TopicSide | null | undefined) => (s?.series && d ? ratesOf(s.series.messages, d) : undefined)
  const lines: Line[] = []
  const written = perSecond(d?.written)
  if (written) lines.push({ label: 'written', values: written, token: 'ack' })
  for (const g of d?.groups ?? []) {
    const values = perSecond(g)
    if (values) lines.push({ label: g.group || 'no group', values, token: g.group === group ? 'process' : 'faint', dashed: g.group !== group, faint: g.group !== group })
  }
  const sides: { name: string; s: TopicSide; writes: boolean }[] = [...(d?.written ? [{ name: 'written', s: d.written, writes: true }] : []), ...(d?.groups ?? []).map((s) => ({ name: s.group || 'no group', s, writes: false }))]
  return (
    <section className="panel chartpanel" aria-label="Written and read" id="flow">
      <header>
        <h2>Written and read</h2>
        <span className="muted small">messages a second; a record that is delivered twice is read twice</span>
      </header>
      {d ? <Chart label={plain(sides.map(({ name, s }) => `${name} ${rate(s.perSecond)}`).join(', '))} d={d} lines={lines} format={(v) => rate(v)} /> : <div className="timechart loading" style={{ height: 210 }} />}
      <div className="scroll">
        <table aria-label="Writers and groups">
          <thead>
            <tr>
              <th>Who</th>
              <th className="num">Messages</th>
              <th className="num">A second</th>
              <th className="num wide">Bytes a second</th>
              <th className="num">Behind</th>
              <th className="num wide">Failed</th>
              <th className="num wide">Last seen</th>
            </tr>
          </thead>
          <tbody>
            {sides.map(({ name, s, writes }) => (
              <tr key={(writes ? 'w' : 'g') + name} className={!writes && s.group === group ? 'sel' : ''}>
                <td>
                  {writes ? (
                    <b>written</b>
                  ) : (
                    <button type="button" className="rowbutton" data-row aria-pressed={s.group === group} onClick={() => choose(s.group)}>
                      <b>{name}</b>
                    </button>
                  )}
                </td>
                <td className="num">{count(s.messages)}</td>
                <td className="num">{rate(s.perSecond)}</td>
                <td className="num wide">{s.bytesPerSecond === null ? <span className="unknown-word">unknown</span> : bytes(s.bytesPerSecond) + '/s'}</td>
                <td className="num">{writes ? <span className="faint">–</span> : s.lagNs === null ? <span className="unknown-word">unknown</span> : s.lagNs === 0 ? '0' : duration(s.lagNs)}</td>
                <td className="num wide">{s.failed > 0 ? <span className="tag bad">{count(s.failed)}</span> : <span className="faint">0</span>}</td>
                <td className="num wide" title={s.lastSeen ? fullTime(s.lastSeen) : undefined}>
                  {s.lastSeen ? ago(s.lastSeen) : <span className="faint">–</span>}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {d && d.cutGroups > 0 && <p className="muted small">{count(d.cutGroups)} more groups, which read less, are left out.</p>}
    </section>
  )
}

function Sizes({ d }: { d: TopicDetail | undefined }) {
  const side = d?.written?.sizes ? d.written : d?.groups.find((g) => g.sizes && g.series)
  if (d && !side) {
    return (
      <section className="panel pad" aria-label="Sizes">
        <p className="zero muted">
          Sizes are <span className="unknown-word">unknown</span>: no span tells <code>messaging.message.body.size</code>.
        </p>
      </section>
    )
  }
  const z = side?.sizes
  const s = side?.series
  return (
    <section className="panel chartpanel" aria-label="Sizes">
      <header>
        <h2>Sizes</h2>
        <span className="muted small">{side && side !== d?.written ? `as group ${side.group} read them` : 'of values, as written'}</span>
      </header>
      {z && (
        <p className="sizefacts">
          p50 <b>{bytes(z.p50)}</b> · p90 <b>{bytes(z.p90)}</b> · p99 <b>{bytes(z.p99)}</b> · {side.bytesPerSecond !== null && <b>{bytes(side.bytesPerSecond)}/s</b>} · <b>{bytes(z.bytes)}</b> in all
          {side.messages > z.count && <span className="muted"> · {count(side.messages - z.count)} messages do not tell theirs</span>}
        </p>
      )}
      {d && s ? (
        <div className="pairs">
          <Chart label={plain(`Sizes of values: p50 ${bytes(z?.p50 ?? 0)}, p99 ${bytes(z?.p99 ?? 0)}`)} d={d} lines={[{ label: 'p50', values: s.sizeP50, token: 'batch' }, { label: 'p99', values: s.sizeP99, token: 'ack' }]} format={bytes} log />
          <Chart label={plain(`Bytes a second: ${side.bytesPerSecond === null ? 'unknown' : bytes(side.bytesPerSecond)}`)} d={d} lines={[{ label: 'bytes', values: ratesOf(s.bytes, d), token: 'ack' }]} format={(v) => bytes(v) + '/s'} />
        </div>
      ) : (
        <div className="timechart loading" style={{ height: 210 }} />
      )}
    </section>
  )
}

function Slowest({ topic, group, params, ready }: { topic: string; group: string; params: Params; ready: boolean }) {
  const asked = { ...params, topic, group: group || undefined, order: 'slowest', limit: SLOWEST }
  const hops = useQuery({
    queryKey: ['hops', asked],
    queryFn: ({ signal }) => ask<'/api/v1/hops'>('/hops', asked, signal),
    placeholderData: keepPreviousData,
    enabled: ready,
  })
  const list = hops.data?.hops
  const all = new URLSearchParams(Object.entries({ ...params, topic, group, order: 'slowest' }).flatMap(([k, v]) => (v === undefined || v === '' ? [] : [[k, String(v)]]))).toString()
  return (
    <section className="panel chartpanel" aria-label="Slowest messages">
      <header>
        <h2>Slowest messages</h2>
        <span className="muted small">by send called → done</span>
        <span className="picks small">
          <Link to={'/messages?' + all}>As a list of its own</Link>
        </span>
      </header>
      {hops.error ? (
        <Failed error={hops.error} retry={() => void hops.refetch()} retrying={hops.isFetching} />
      ) : list && list.length === 0 ? (
        <p className="muted">Of no message both ends are known on one clock, so none can be called the slowest. The heat map leads to messages of a time and partition.</p>
      ) : (
        <div className={'scroll' + (hops.isPlaceholderData ? ' stale' : '')}>
          <HopTable hops={list} ghosts={6} label={`Slowest messages of ${topic}`} />
        </div>
      )}
    </section>
  )
}
