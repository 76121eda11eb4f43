import type { EventDetail } from '../../api/types'
import { count, duration, share, time } from '../../lib/format'
import { partStyle, recordName } from '../../lib/parts'
import { ClockNote, PlusMinus } from '../../parts/ClockNote'
import { HopBar, Swatch, toScale } from '../../parts/HopBar'
import { Link } from '../../parts/Link'
import { recordPath } from '../record/path'

const FROM: Record<string, string> = { appended: 'since it was appended', sent: 'since it was sent', timestamp: 'since its timestamp' }

/** The record that was being processed, with its hop and its age. */
export function CausingMessage({ d }: { d: EventDetail }) {
  const m = d.message
  if (!m) {
    return (
      <section aria-label="The message that caused it">
        <h2>The message that caused it</h2>
        <p className="muted">None is known. hoptrace finds it when the event carries a trace and a span, or the record itself (the context “kafka”).</p>
        {d.event.traceId && (
          <p>
            <Link to={`/traces/${d.event.traceId}${d.event.spanId ? '?row=' + d.event.spanId : ''}`}>Its trace</Link> · <Link to={'/logs?trace=' + d.event.traceId}>Logs of its trace</Link>
          </p>
        )}
      </section>
    )
  }
  const h = m.hop
  const trace = h.consumer?.traceId || d.event.traceId || h.producer?.traceId
  const known = h.parts.filter((p) => p.known && p.ns > 0)
  const largest = [...known].sort((a, b) => b.ns - a.ns)[0]
  const record = recordPath(h)
  return (
    <section aria-label="The message that caused it">
      <h2>The message that caused it</h2>
      <div>
        <b>{h.topic}</b>{' '}
        {record ? (
          <Link to={record} className="mono" aria-label={`The record ${recordName(h)}`}>
            p{h.partition} · {count(h.offset!)}
          </Link>
        ) : (
          <span className="mono">
            {h.partition === null ? 'p?' : 'p' + h.partition} · {h.offset === null ? 'offset unknown' : count(h.offset)}
          </span>
        )}
      </div>
      {known.length > 0 ? (
        <>
          <HopBar hop={h} width={302} />
          {largest && (
            <div className="faint small">
              {!toScale(h) && 'not to scale: '}
              <Swatch part={largest.name} /> {duration(largest.ns)} {h.endToEnd.known && `(${share(largest.ns / h.endToEnd.ns)}) `}is {partStyle(largest.name).label.toLowerCase()}
            </div>
          )}
        </>
      ) : (
        <p className="muted">No part of its time is stored.</p>
      )}
      <dl className="kv">
        <dt>Age</dt>
        <dd>
          {m.age.known ? (
            <>
              <b className={m.age.ns < 0 ? 'bad' : ''}>{duration(m.age.ns)}</b> <PlusMinus u={m.age.uncertaintyNs} /> <span className="muted">{FROM[m.ageFrom]}</span>
              {m.crossesClock && <div className="muted small">of two clocks: it may be off by what they disagree</div>}
            </>
          ) : (
            <span className="unknown-word">unknown</span>
          )}
        </dd>
        {m.sinceSent.known && m.ageFrom !== 'sent' && (
          <>
            <dt>Sent before</dt>
            <dd>
              {duration(m.sinceSent.ns)} <PlusMinus u={m.sinceSent.uncertaintyNs} />
            </dd>
          </>
        )}
        <dt>Group</dt>
        <dd>
          {h.group || <span className="unknown-word">unknown</span>}
          {h.consumer?.clientId && <span className="muted">, {h.consumer.clientId}</span>}
        </dd>
        {h.retry && h.retry.attempt > 0 && (
          <>
            <dt>Attempt</dt>
            <dd>
              {count(h.retry.attempt)}
              {h.retry.firstSeen && <span className="muted">, first at {time(h.retry.firstSeen)}</span>}
            </dd>
          </>
        )}
        {h.delivery > 1 && (
          <>
            <dt>Delivery</dt>
            <dd>{count(h.delivery)}</dd>
          </>
        )}
        <dt>Key</dt>
        <dd className="mono">{h.record.keyHash ? <Link to={'/find?q=key:' + h.record.keyHash}>{h.record.keyHash}</Link> : <span className="unknown-word">unknown</span>}</dd>
        <dt>Produced by</dt>
        <dd>{h.producer?.service || <span className="unknown-word">unknown</span>}</dd>
        <dt>Found by</dt>
        <dd>{m.foundBy === 'event' ? 'what the SDK told' : 'its span'}</dd>
      </dl>
      <ClockNote h={h} />
      <p>
        {trace && (
          <Link to={`/traces/${trace}?row=${encodeURIComponent(h.id)}`} aria-label={`Its waterfall, ${recordName(h)}`}>
            Its waterfall
          </Link>
        )}{' '}
        · <Link to={'/messages?' + new URLSearchParams({ topic: h.topic, ...(h.group ? { group: h.group } : {}) }).toString()}>Messages of {h.topic}</Link>
        {trace && (
          <>
            {' '}
            · <Link to={'/logs?trace=' + trace}>Logs of its trace</Link>
          </>
        )}
      </p>
    </section>
  )
}
