import type { ReactNode } from 'react'
import type { EventRef, Hop, Journey, Span } from '../../api/types'
import { bytes, count, duration, fullTime, minus, short, time } from '../../lib/format'
import { PARTS } from '../../lib/parts'
import type { Row } from '../../lib/tree'
import { ClockNote, PlusMinus } from '../../parts/ClockNote'
import { Swatch } from '../../parts/HopBar'
import { Link } from '../../parts/Link'
import { recordPath } from '../record/path'

/** What is known of the selected row. */
export function Side({ journey, row }: { journey: Journey | undefined; row: Row | undefined }) {
  return (
    <aside className="panel side" id="side" aria-label="Selected row">
      {!journey || !row ? (
        <section>
          <span className="ghost" />
        </section>
      ) : row.kind === 'hop' ? (
        <HopSide hop={row.hop} spans={row.spans} events={eventsOf(journey, row.hop)} />
      ) : (
        <SpanSide span={row.span} journey={journey} events={journey.events.filter((e) => e.spanId === row.span.spanId && e.traceId === row.span.traceId)} />
      )}
    </aside>
  )
}

/** The events that name this record, or that happened in the spans below its processing. */
function eventsOf(j: Journey, h: Hop): EventRef[] {
  const c = h.consumer
  const below = new Set<string>()
  if (c) {
    const children = new Map<string, string[]>()
    for (const s of j.spans) {
      if (s.traceId !== c.traceId || !s.parentId) continue
      const list = children.get(s.parentId)
      if (list) list.push(s.spanId)
      else children.set(s.parentId, [s.spanId])
    }
    const producers = new Set(j.hops.filter((o) => o !== h && o.producer?.traceId === c.traceId).map((o) => o.producer!.spanId))
    const todo = [c.spanId]
    for (let id = todo.pop(); id; id = todo.pop()) {
      if (below.has(id) || producers.has(id)) continue
      below.add(id)
      todo.push(...(children.get(id) ?? []))
    }
  }
  return j.events.filter((e) => (e.topic ? e.topic === h.topic && e.partition === h.partition && e.offset === h.offset && (!e.group || e.group === h.group) : c !== null && e.traceId === c.traceId && below.has(e.spanId)))
}

function HopSide({ hop: h, spans, events }: { hop: Hop; spans: readonly Span[]; events: readonly EventRef[] }) {
  const r = h.record
  return (
    <>
      <section>
        <h2 className="name">
          {h.topic}{' '}
          <span className="mono muted">
            {h.partition === null ? 'partition unknown' : 'p' + h.partition} · {h.offset === null ? 'offset unknown' : 'offset ' + count(h.offset)}
          </span>
        </h2>
        <div className="muted">
          {h.producer?.service || 'a producer that is not instrumented'} → {h.consumer ? (h.group ? 'group ' + h.group : 'a reader without group') : 'nobody yet'}
          {h.consumer?.clientId && ', ' + h.consumer.clientId}
        </div>
      </section>
      <section>
        <h2>Where the time went</h2>
        <table className="parts" aria-label="Where the time went">
          <tbody>
            {PARTS.map((p) => {
              const part = h.parts.find((x) => x.name === p.name)
              if (p.name === 'retry' && (!part?.known || part.ns === 0)) return null
              return (
                <tr key={p.name} title={p.explain}>
                  <td>
                    <Swatch part={p.name} />
                  </td>
                  <th scope="row">{p.label}</th>
                  <td className="num">
                    {!part?.known ? <span className="unknown-word">unknown</span> : part.ns === 0 ? 'none' : <b className={part.ns < 0 ? 'bad' : ''}>{duration(part.ns)}</b>}{' '}
                    <PlusMinus u={part?.uncertaintyNs} host={h.clock?.evidence[1]?.host} />
                  </td>
                  <td className="c">{part?.known && part.ns < 0 ? 'clocks disagree' : p.whose}</td>
                </tr>
              )
            })}
            <tr className="total">
              <td />
              <th scope="row">Sent → done</th>
              <td className="num">{h.endToEnd.known ? <b>{duration(h.endToEnd.ns)}</b> : <span className="unknown-word">unknown</span>} <PlusMinus u={h.endToEnd.uncertaintyNs} host={h.clock?.evidence[1]?.host} /></td>
              <td className="c">{h.estimatedEnd ? 'end is a guess' : ''}</td>
            </tr>
          </tbody>
        </table>
        <ClockNote h={h} />
      </section>
      {h.consumer && (
        <section>
          <h2>The group at that moment</h2>
          <dl className="kv">
            <dt>Behind</dt>
            <dd>{h.behind === null ? <span className="unknown-word">unknown</span> : h.behind === 1 ? '1 record' : count(h.behind) + ' records'}</dd>
            {h.delivery > 1 && (
              <>
                <dt>Delivery</dt>
                <dd>{count(h.delivery)}</dd>
              </>
            )}
          </dl>
          <p>
            <Link to={'/messages?' + new URLSearchParams({ topic: h.topic, ...(h.group ? { group: h.group } : {}), order: 'slowest' }).toString()}>Slowest messages of {h.group || h.topic}</Link> ·{' '}
            <Link to={'/traces?' + new URLSearchParams({ topic: h.topic }).toString()}>Traces through {h.topic}</Link>
          </p>
        </section>
      )}
      <section>
        <h2>Record</h2>
        <p>
          {recordPath(h) && <Link to={recordPath(h)!}>All about this record</Link>}
          {recordPath(h) && h.group && ' · '}
          {h.group && <Link to={'/lag/group?' + new URLSearchParams({ group: h.group, topic: h.topic }).toString()}>Lag of {h.group}</Link>}
        </p>
        <dl className="kv">
          <Field name="Sent">{h.producer && <span title={fullTime(h.producer.start)}>{time(h.producer.start)}</span>}</Field>
          <Field name="Appended">
            {r.appended && (
              <span title={fullTime(r.appended)}>
                {time(r.appended)} {r.appendedByBroker ? 'by the broker' : 'by the answer'}
              </span>
            )}
          </Field>
          <Field name="Timestamp">{r.timestamp && <span title={fullTime(r.timestamp)}>{time(r.timestamp)}</span>}</Field>
          <Field name="Key">{r.keyHash && <span className="mono">#{r.keyHash.replace(/^0+/, '').slice(0, 8)} (hash)</span>}</Field>
          <Field name="Size">{r.size !== null && bytes(r.size)}</Field>
          <dt>Attempts</dt>
          <dd>{count(r.attempts)}</dd>
          {r.throttleNs > 0 && <Field name="Throttled">{duration(r.throttleNs)}</Field>}
          <Field name="Round trip">{h.roundTrip.known && duration(h.roundTrip.ns)}</Field>
        </dl>
      </section>
      <Broke events={events} />
      {spans.length > 0 && (
        <section>
          <h2>Spans it stands for</h2>
          {spans.map((s) => (
            <details key={s.spanId}>
              <summary>
                {s.name} <span className="muted">{s.service}</span> {duration(minus(s.end, s.start))}
              </summary>
              <dl className="attrs">
                {[{ key: 'span id', value: s.spanId }, ...s.attributes.slice(0, 100)].map((a) => (
                  <div key={a.key}>
                    <dt>{a.key}</dt>
                    <dd className="mono">{a.value}</dd>
                  </div>
                ))}
              </dl>
            </details>
          ))}
        </section>
      )}
    </>
  )
}

function Field({ name, children }: { name: string; children: ReactNode }) {
  return (
    <>
      <dt>{name}</dt>
      <dd>{children || <span className="unknown-word">unknown</span>}</dd>
    </>
  )
}

function Broke({ events }: { events: readonly EventRef[] }) {
  const issues = new Map<string, EventRef[]>()
  for (const e of events) issues.set(e.issue, [...(issues.get(e.issue) ?? []), e])
  return (
    <section>
      <h2>What broke</h2>
      {issues.size === 0 ? (
        <span className="muted">No error is known here.</span>
      ) : (
        [...issues.values()].map((list) => {
          const e = list[0]!
          return (
            <div key={e.issue}>
              <Link to={`/issues/${e.issue}/events/${e.id}`}>{e.title}</Link>
              <div className="muted">
                {list.length === 1 ? time(e.time) : count(list.length) + ' events here'}
                {e.culprit && ' · ' + e.culprit}
              </div>
            </div>
          )
        })
      )}
    </section>
  )
}

function SpanSide({ span: s, journey, events }: { span: Span; journey: Journey; events: readonly EventRef[] }) {
  const foreign = s.links.filter((l) => !journey.traces.includes(l.traceId))
  return (
    <>
      <section>
        <h2 className="name">{s.name}</h2>
        <div className="muted">
          {s.service || 'a service without name'} · {s.kind}
          {s.status === 'error' && <span className="tag bad gap">{s.statusMessage || 'failed'}</span>}
        </div>
      </section>
      <section>
        <dl className="kv">
          <dt>Took</dt>
          <dd>
            <b>{duration(minus(s.end, s.start))}</b>
          </dd>
          <dt>Began</dt>
          <dd title={fullTime(s.start)}>{time(s.start)}</dd>
          <dt>Trace</dt>
          <dd className="mono">
            {s.traceId === journey.traceId ? short(s.traceId) : <Link to={'/traces/' + s.traceId}>{short(s.traceId)}</Link>}
          </dd>
          <dt>Span</dt>
          <dd className="mono">{s.spanId}</dd>
          {s.scope && (
            <>
              <dt>Scope</dt>
              <dd className="mono" title={s.scope}>
                {s.scope}
              </dd>
            </>
          )}
        </dl>
      </section>
      <Attributes title="Attributes" list={s.attributes} />
      {s.events.length > 0 && (
        <section>
          <h2>Events</h2>
          {s.events.slice(0, 50).map((e, i) => (
            <div key={i}>
              <span className="muted">+{duration(minus(e.time, s.start))}</span> {e.name}
            </div>
          ))}
        </section>
      )}
      {foreign.length > 0 && (
        <section>
          <h2>Links to other traces</h2>
          {foreign.slice(0, 50).map((l) => (
            <div key={l.traceId + l.spanId} className="mono">
              <Link to={`/traces/${l.traceId}?row=${l.spanId}`}>{short(l.traceId)}</Link>
            </div>
          ))}
        </section>
      )}
      <Broke events={events} />
      <Attributes title="Resource" list={s.resource} />
    </>
  )
}

function Attributes({ title, list }: { title: string; list: Span['attributes'] }) {
  if (list.length === 0) return null
  return (
    <section>
      <h2>{title}</h2>
      <dl className="attrs">
        {list.slice(0, 100).map((a) => (
          <div key={a.key}>
            <dt>{a.key}</dt>
            <dd className="mono">{a.value}</dd>
          </div>
        ))}
      </dl>
      {list.length > 100 && <p className="muted">{count(list.length - 100)} more</p>}
    </section>
  )
}
