import { useQuery } from '@tanstack/react-query'
import { useSearch } from 'wouter'
import { ask } from '../../api/client'
import type { AgeBucket, IssueMessages, MessageDimension, MessageValue } from '../../api/types'
import { count, duration, plain, share } from '../../lib/format'
import { term } from '../../lib/query'
import { pieces } from '../../parts/Finding'
import { Link } from '../../parts/Link'

const WORDS: Record<MessageDimension['dimension'], string> = {
  topic: 'Topic',
  partition: 'Partition',
  group: 'Consumer group',
  key: 'Key',
  producer_release: 'Producer release',
  release: 'Consumer release',
  member: 'Consumer',
}

/** Dimensions that are worth their place: more than one value somewhere, or of few records only. */
export function shownDimensions(by: readonly MessageDimension[]): MessageDimension[] {
  return by.filter((d) => d.events > 0 && (['partition', 'key', 'producer_release', 'release'].includes(d.dimension) || d.values.length + d.others > 1))
}

export interface Bar {
  label: string // upper bound of the bucket, or what it lies above
  events: number
  share: number // of the events, in [0, 1]
  baseline: number | undefined // share of all records; undefined when there is nothing to compare with
}

/** A bound as people say it: 5 m, not 5 m 00 s. */
function bound(ns: number): string {
  return duration(ns).replace(/(\d)\.0+(?=\D)/, '$1').replace(/\D00\D[smh]$/, '')
}

/** The buckets from the first to the last that anything is in, one more on each side. */
export function ageBars(buckets: readonly AgeBucket[]): Bar[] {
  const events = buckets.reduce((sum, b) => sum + b.events, 0)
  const all = buckets.reduce((sum, b) => sum + b.baseline, 0)
  const filled = buckets.flatMap((b, i) => (b.events > 0 || b.baseline > 0 ? [i] : []))
  if (events === 0 || filled.length === 0) return []
  const from = Math.max(0, filled[0]! - 1)
  return buckets.slice(from, filled[filled.length - 1]! + 2).map((b, i) => {
    const below = buckets[from + i - 1]?.belowNs
    return {
      label: b.belowNs === null ? '> ' + bound(below ?? 0) : '< ' + bound(b.belowNs),
      events: b.events,
      share: b.events / events,
      baseline: all > 0 ? b.baseline / all : undefined,
    }
  })
}

/** How a value is written, and where it leads. */
export function valueOf(d: MessageDimension['dimension'], v: MessageValue): { text: string; href: string | undefined } {
  switch (d) {
    case 'topic':
      return { text: v.value, href: '/messages?' + new URLSearchParams({ topic: v.value }).toString() }
    case 'partition':
      return { text: `${v.topic} p${v.value}`, href: '/messages?' + new URLSearchParams({ topic: v.topic }).toString() }
    case 'key':
      return { text: '#' + v.value.replace(/^0+(?=.)/, '').slice(0, 8), href: '/issues?' + new URLSearchParams({ query: term('key', v.value) }).toString() }
    case 'group':
    case 'release':
      return { text: v.value, href: '/issues?' + new URLSearchParams({ query: term(d, v.value) }).toString() }
    default:
      return { text: v.value, href: undefined }
  }
}

/** The messages that were being processed when the events of an issue happened. */
export function Messages({ id }: { id: string }) {
  const project = new URLSearchParams(useSearch()).get('project') ?? undefined
  const found = useQuery({
    queryKey: ['issue-messages', project, id],
    queryFn: ({ signal }) => ask<'/api/v1/issues/{id}/messages'>(`/issues/${encodeURIComponent(id)}/messages`, { project }, signal),
  })
  const d = found.data
  return (
    <section className="panel pad messages" id="messages" aria-label="Messages" aria-busy={found.isFetching}>
      <h2>Messages</h2>
      {found.error && !d ? (
        <p className="bad" role="alert">
          What its messages have in common cannot be told: {found.error.message}{' '}
          <button type="button" className="linkish" onClick={() => void found.refetch()}>
            Ask again
          </button>
        </p>
      ) : (
        <p className="said">{d ? pieces(d.finding.title) : <span className="ghost" />}</p>
      )}
      {d && d.finding.text.length > 0 && <p className="muted">{pieces(d.finding.text)}</p>}
      {d && d.placed > 0 && <Shares d={d} />}
      {!d && !found.error && <div className="frame" />}
    </section>
  )
}

function Shares({ d }: { d: IssueMessages }) {
  return (
    <>
      <div className="columns">
        <Ages d={d} />
        {shownDimensions(d.by).map((by) => (
          <Values key={by.dimension} by={by} />
        ))}
      </div>
      {d.oldest.some((o) => o.traceId) && (
        <p>
          Oldest when it failed:{' '}
          {d.oldest
            .filter((o) => o.traceId)
            .map((o, i) => (
              <span key={o.event}>
                {i > 0 && ' · '}
                <Link to={`/traces/${o.traceId}${o.spanId ? '?row=' + o.spanId : ''}`} aria-label={`Trace of ${o.topic} p${o.partition} ${plain(count(o.offset))}, ${plain(duration(o.ageNs))} old`}>
                  {duration(o.ageNs)}
                </Link>
              </span>
            ))}
        </p>
      )}
      <p className="faint small">
        {d.baseline ? (
          <>
            A line marks the share of all records of the topic that were processed around then
            {d.baseline.sample > 1 && <>, of which one in {count(d.baseline.sample)} was looked at</>}.
          </>
        ) : (
          <>No span about other records of the topic is stored, so there is nothing to compare with.</>
        )}{' '}
        Ages are as the sender's and the reader's clocks stood: <Link to="/clocks">Clocks</Link> tells how far they are apart, and the page of a record takes it into account.
      </p>
    </>
  )
}

const HEIGHT = 54

function Ages({ d }: { d: IssueMessages }) {
  const bars = ageBars(d.age.buckets)
  if (bars.length === 0) {
    return (
      <div>
        <h3>Age when it failed</h3>
        <span className="unknown-word">unknown</span>
      </div>
    )
  }
  const w = 280 / bars.length
  const most = Math.max(...bars.map((b) => Math.max(b.share, b.baseline ?? 0)))
  const high = (x: number) => (x / most) * (HEIGHT - 2)
  return (
    <div>
      <h3>Age when it failed</h3>
      <svg viewBox={`0 0 280 ${HEIGHT}`} width="100%" role="img" aria-label={`${plain(duration(d.age.minNs))} to ${plain(duration(d.age.maxNs))} old, half of them more than ${plain(duration(d.age.p50Ns))}`}>
        <line x1="0" x2="280" y1={HEIGHT - 0.5} y2={HEIGHT - 0.5} stroke="var(--line)" />
        {bars.map((b, i) => (
          <g key={b.label}>
            {b.events > 0 && <rect x={i * w + 1} width={w - 2} y={HEIGHT - Math.max(2, high(b.share))} height={Math.max(2, high(b.share))} fill="var(--bad)" />}
            {b.baseline !== undefined && b.baseline > 0 && <line x1={i * w} x2={i * w + w} y1={HEIGHT - high(b.baseline)} y2={HEIGHT - high(b.baseline)} stroke="var(--text)" strokeWidth="2" />}
          </g>
        ))}
      </svg>
      <div className="ends faint small">
        <span>{bars[0]!.label}</span>
        <span>{bars[bars.length - 1]!.label}</span>
      </div>
      <div className="small">
        median <b>{duration(d.age.p50Ns)}</b>, p99 <b>{duration(d.age.p99Ns)}</b>
      </div>
    </div>
  )
}

function Values({ by }: { by: MessageDimension }) {
  const few = 5
  const values = by.values.slice(0, few)
  const others = by.others + by.values.length - values.length
  return (
    <div className="tagline">
      <h3>{WORDS[by.dimension]}</h3>
      {values.map((v) => {
        const { text, href } = valueOf(by.dimension, v)
        const part = v.events / by.events
        const all = by.baseline > 0 ? v.baseline / by.baseline : undefined
        return (
          <div key={v.topic + ' ' + v.value} className="tagvalue">
            {part > 0 && <span className="meter" style={{ width: `${Math.max(2, 100 * part)}%` }} />}
            {all !== undefined && <span className="tick" style={{ left: `${100 * all}%` }} />}
            {href ? (
              <Link to={href} title={v.value}>
                {text}
              </Link>
            ) : (
              <span className="name">{text}</span>
            )}
            <span className="num">
              {share(part)} {all !== undefined && <span className="muted">of all {share(all)}</span>}
            </span>
          </div>
        )
      })}
      {others > 0 && <div className="faint small">{plain(count(others))} more values</div>}
    </div>
  )
}
