import { useState, type ReactNode } from 'react'
import type { Batch, EventRef, Hop, Journey, Span } from '../../api/types'
import { bytes, count, duration, fullTime, minus, short, time } from '../../lib/format'
import { PARTS, SETTLE } from '../../lib/parts'
import type { Row } from '../../lib/tree'
import { ClockNote, PlusMinus } from '../../parts/ClockNote'
import { Swatch } from '../../parts/HopBar'
import { Link } from '../../parts/Link'
import { recordPath } from '../record/path'
import { Attributes, CopyButton } from './Attributes'
import { Links } from './Links'

/** What every part of the panel needs to lead on. */
interface Ways {
  project: string | undefined
  /** Where a link to a span leads, remembering where one came from. */
  to: (trace: string, row: string) => string
}

/** What is known of the selected row. */
export function Side({ journey, row, batch, openBatch, ...ways }: { journey: Journey | undefined; row: Row | undefined; batch: Batch | undefined; openBatch: (b: Batch) => void } & Ways) {
  return (
    <aside className="panel side" id="side" aria-label="Selected row">
      {!journey || !row ? (
        <section>
          <span className="ghost" />
        </section>
      ) : row.kind === 'hop' ? (
        <HopSide key={row.id} hop={row.hop} spans={row.spans} events={eventsOf(journey, row.hop)} {...ways} />
      ) : (
        <SpanSide key={row.id} span={row.span} journey={journey} events={journey.events.filter((e) => e.spanId === row.span.spanId && e.traceId === row.span.traceId)} batch={batch} openBatch={openBatch} {...ways} />
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

function HopSide({ hop: h, spans, events, to }: { hop: Hop; spans: readonly Span[]; events: readonly EventRef[] } & Ways) {
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
            {h.consumer && (
              <tr title={SETTLE.explain}>
                <td>
                  <Swatch part="settle" />
                </td>
                <th scope="row">{SETTLE.label}</th>
                <td className="num">{h.settle?.known ? <b className={h.settle.ns < 0 ? 'bad' : ''}>{duration(h.settle.ns)}</b> : <span className="unknown-word">unknown</span>}</td>
                <td className="c">{h.settle?.known ? 'after it' : 'no commit seen'}</td>
              </tr>
            )}
          </tbody>
        </table>
        <ClockNote h={h} />
      </section>
      {h.retry && (
        <section>
          <h2>Sent on after a failure</h2>
          <dl className="kv">
            <dt>First record</dt>
            <dd>
              {h.retry.topic && h.retry.partition !== null && h.retry.offset !== null ? (
                <Link to={`/records/${encodeURIComponent(h.retry.topic)}/${h.retry.partition}/${h.retry.offset}`}>
                  {h.retry.topic} p{h.retry.partition} · {count(h.retry.offset)}
                </Link>
              ) : (
                <span className="unknown-word">unknown</span>
              )}
            </dd>
            <dt>Sent on</dt>
            <dd>{h.retry.attempt === 1 ? 'once' : count(h.retry.attempt) + ' times'}</dd>
            <dt>In retry</dt>
            <dd>{h.retry.inRetry.known ? duration(h.retry.inRetry.ns) : <span className="unknown-word">unknown</span>}</dd>
          </dl>
        </section>
      )}
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
          <Field name="Key">
            {r.keyHash && (
              <>
                <Link to={'/find?q=key:' + r.keyHash} className="mono" title="Records with this key">
                  {r.keyHash}
                </Link>
                <CopyButton text={r.keyHash} name="the key's hash" />
              </>
            )}
          </Field>
          <Field name="Size">{r.size !== null && bytes(r.size)}</Field>
          <dt>Attempts</dt>
          <dd>{count(r.attempts)}</dd>
          {r.throttleNs > 0 && <Field name="Throttled">{duration(r.throttleNs)}</Field>}
          <Field name="Round trip">{h.roundTrip.known && duration(h.roundTrip.ns)}</Field>
        </dl>
      </section>
      <Broke events={events} />
      <section>
        <h2>Its spans</h2>
        {h.producer && (
          <div>
            <Link to={to(h.producer.traceId, h.producer.spanId)}>{h.producer.operation}</Link> <span className="muted">{h.producer.service} · trace {short(h.producer.traceId)}</span>
          </div>
        )}
        {h.consumer && (
          <div>
            <Link to={to(h.consumer.traceId, h.consumer.spanId)}>{h.consumer.operation}</Link> <span className="muted">{h.consumer.service} · trace {short(h.consumer.traceId)}</span>
          </div>
        )}
      </section>
      <Times hop={h} />
      {spans.map((s) => (
        <Attributes key={s.traceId + s.spanId} title={`${s.name}: attributes`} list={[{ key: 'span id', value: s.spanId }, ...s.attributes]} />
      ))}
    </>
  )
}

/** Each time as it was told, to the nanosecond. */
function Times({ hop: h }: { hop: Hop }) {
  const rows: [string, string | null][] = [
    ['Send called', h.producer?.start ?? null],
    ['Send span over', h.producer?.end ?? null],
    ['Record timestamp', h.record.timestamp],
    ['Appended', h.record.appended],
    ...h.parts.flatMap((p): [string, string | null][] => (p.known ? [[`${PARTS.find((x) => x.name === p.name)?.label ?? p.name} until`, p.to]] : [])),
    ['Reader began', h.consumer?.start ?? null],
    ['Reader done', h.consumer?.end ?? null],
    ['Commit asked', h.settle?.from ?? null],
    ['Commit answered', h.settle?.to ?? null],
  ]
  return (
    <section>
      <details>
        <summary>Raw times</summary>
        <dl className="attrs times">
          {rows.map(
            ([name, ns], i) =>
              ns !== null && (
                <div key={name + i}>
                  <dt>
                    {name} <span className="acts"><CopyButton text={ns} name={name} /></span>
                  </dt>
                  <dd className="mono">
                    {fullTime(ns)} <span className="muted">{ns} ns</span>
                  </dd>
                </div>
              ),
          )}
        </dl>
      </details>
    </section>
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

const EVENTS = 20

function SpanSide({ span: s, journey, events, batch, openBatch, project, to }: { span: Span; journey: Journey; events: readonly EventRef[]; batch: Batch | undefined; openBatch: (b: Batch) => void } & Ways) {
  const [many, setMany] = useState(EVENTS)
  const around = 5_000_000_000n
  return (
    <>
      <section>
        <h2 className="name">{s.name}</h2>
        <div className="muted">
          {s.service || 'a service without name'} · {s.kind}
          {s.status === 'error' && <span className="tag bad gap">{s.statusMessage || 'failed'}</span>}
        </div>
      </section>
      {batch && (
        <section>
          <h2>A batch</h2>
          <p className="note">
            It read <b>{count(batch.told ?? batch.records)} records</b>{batch.told !== null && ` and names ${count(batch.records)}`} of {batch.topics.join(', ')}
            {batch.group && <> as group {batch.group}</>}; {batch.shown > 0 ? `${count(batch.shown)} of them ${batch.shown === 1 ? 'is a row' : 'are rows'} here.` : 'none of them is a row here.'}
          </p>
          <button type="button" className="pick" onClick={() => openBatch(batch)}>
            Ages and records <kbd aria-hidden="true">Enter</kbd>
          </button>
        </section>
      )}
      <section>
        <dl className="kv">
          <dt>Took</dt>
          <dd>
            <b>{duration(minus(s.end, s.start))}</b>
          </dd>
          <dt>Began</dt>
          <dd title={fullTime(s.start)}>{time(s.start)}</dd>
          {s.movedNs !== undefined && (
            <>
              <dt>Drawn</dt>
              <dd>
                {duration(Math.abs(s.movedNs))} {s.movedNs > 0 ? 'later' : 'earlier'}: its host’s clock was <Link to="/clocks">compared</Link>
              </dd>
            </>
          )}
          <dt>Trace</dt>
          <dd className="mono">
            {s.traceId === journey.traceId ? short(s.traceId) : <Link to={to(s.traceId, s.spanId)}>{short(s.traceId)}</Link>}
            <CopyButton text={s.traceId} name="the trace id" />
          </dd>
          <dt>Span</dt>
          <dd className="mono">
            {s.spanId}
            <CopyButton text={s.spanId} name="the span id" />
          </dd>
          {s.scope && (
            <>
              <dt>Scope</dt>
              <dd className="mono" title={s.scope}>
                {s.scope}
              </dd>
            </>
          )}
          <dt>Logs</dt>
          <dd>
            <Link to={'/logs?' + new URLSearchParams({ trace: s.traceId, from: String(BigInt(s.start) - around), to: String(BigInt(s.end) + around) }).toString()}>of this trace, then</Link>
          </dd>
        </dl>
        <details>
          <summary>Raw times</summary>
          <dl className="attrs times">
            {([['Start', s.start], ['End', s.end]] as const).map(([name, ns]) => (
              <div key={name}>
                <dt>
                  {name} <span className="acts"><CopyButton text={ns} name={name} /></span>
                </dt>
                <dd className="mono">
                  {fullTime(ns)} <span className="muted">{ns} ns</span>
                </dd>
              </div>
            ))}
          </dl>
        </details>
      </section>
      <Broke events={events} />
      <Links span={s} project={project} to={to} />
      {s.events.length > 0 && (
        <section>
          <h2>Events {s.events.length > 1 && count(s.events.length)}</h2>
          {s.events.slice(0, many).map((e, i) =>
            e.attributes.length === 0 ? (
              <div key={i}>
                <span className="muted">+{duration(minus(e.time, s.start))}</span> {e.name}
              </div>
            ) : (
              <details key={i}>
                <summary>
                  <span className="muted">+{duration(minus(e.time, s.start))}</span> {e.name}
                </summary>
                <dl className="attrs">
                  {e.attributes.map((a) => (
                    <div key={a.key}>
                      <dt>
                        {a.key} <span className="acts"><CopyButton text={a.value} name={a.key} /></span>
                      </dt>
                      <dd className="mono">{a.value}</dd>
                    </div>
                  ))}
                </dl>
              </details>
            ),
          )}
          {s.events.length > many && (
            <button type="button" className="linkish" onClick={() => setMany(many + 100)}>
              {count(s.events.length - many)} more
            </button>
          )}
        </section>
      )}
      <Attributes title="Attributes" list={s.attributes} />
      <Attributes title="Resource" list={s.resource} />
    </>
  )
}
