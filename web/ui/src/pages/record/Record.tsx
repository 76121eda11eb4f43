import { useQuery } from '@tanstack/react-query'
import type { ReactNode } from 'react'
import { useSearch } from 'wouter'
import { usePathname } from 'wouter/use-browser-location'
import { ApiError, ask, type Answer } from '../../api/client'
import type { Hop, Status } from '../../api/types'
import { bytes, count, fullTime, plain, time } from '../../lib/format'
import { useTitle } from '../../lib/hooks'
import { useRowKeys } from '../../lib/keys'
import { hopLabel } from '../../lib/parts'
import { Finding, titleText } from '../../parts/Finding'
import { Measured } from '../../parts/ClockNote'
import { HopBar } from '../../parts/HopBar'
import { Link } from '../../parts/Link'
import { Shell } from '../../parts/Shell'
import { Failed, Ghosts } from '../../parts/States'
import { retryWords } from '../journey/lanes'
import { between } from './between'
import { placeOf, recordPath } from './path'
import '../journey/journey.css'

type Detail = Answer<'/api/v1/records/{topic}/{partition}/{offset}'>
type Near = NonNullable<Detail['near']>

/** All that is known of one record. The URL names it; of several that have had its place, life does. */
export function RecordPage({ status }: { status: Status | undefined }) {
  const path = usePathname()
  return <Page key={path} {...placeOf(path)} status={status} />
}

function Page({ topic, partition, offset, status }: { topic: string; partition: string; offset: string; status: Status | undefined }) {
  const search = useSearch()
  const q = new URLSearchParams(search)
  const project = q.get('project') ?? undefined
  const name = `${topic}/${partition}@${offset}`
  const record = useQuery({
    queryKey: ['record', project, name],
    queryFn: ({ signal }) => ask<'/api/v1/records/{topic}/{partition}/{offset}'>(`/records/${encodeURIComponent(topic)}/${encodeURIComponent(partition)}/${encodeURIComponent(offset)}`, { project }, signal),
    retry: (n, e) => n < 1 && !(e instanceof ApiError && e.status < 500),
  })
  const missing = record.error instanceof ApiError && record.error.code === 'record_not_found'
  const why = useQuery({
    queryKey: ['find', project, 'record:' + name],
    queryFn: ({ signal }) => ask<'/api/v1/find'>('/find', { project, q: 'record:' + name }, signal),
    enabled: missing,
  })
  useRowKeys()
  const d = record.data
  useTitle(titleText(d?.finding) || 'Record ' + name)
  return (
    <Shell page="Messages" status={status} back="/messages">
      {missing ? (
        <>
          <Finding finding={why.data?.finding} failed={why.error && `Nothing is stored about record ${name}`} />
          {why.error ? <Failed error={why.error} retry={() => void why.refetch()} retrying={why.isFetching} /> : <Missing near={why.data?.near} topic={topic} partition={partition} offset={offset} />}
        </>
      ) : record.error && !d ? (
        <>
          <Finding finding={undefined} failed={`Record ${name} cannot be shown`} />
          <Failed error={record.error} retry={() => void record.refetch()} retrying={record.isFetching} />
        </>
      ) : (
        <>
          <Finding finding={d?.finding}>
            {d?.journey && (
              <>
                <Link to={d.journey + '&view=lanes'} className="tag">
                  its journey
                </Link>
                <Link to={d.journey} className="tag">
                  its waterfall
                </Link>
              </>
            )}
          </Finding>
          <Body d={d} life={Number(q.get('life') ?? 0) || 0} />
        </>
      )}
    </Shell>
  )
}

function Body({ d, life }: { d: Detail | undefined; life: number }) {
  const own = d?.hops.filter((h) => h.topic === d.topic && (h.offset === null || (h.partition === d.partition && h.offset === d.offset)))
  const made = d?.hops.filter((h) => !own!.includes(h))
  const at = d ? Math.min(Math.max(life, 0), Math.max(0, d.lives.length - 1)) : 0
  const shown = d && d.lives.length > 1 ? own!.filter((h) => d.lives[at]!.hops.includes(h.id)) : own
  return (
    <div className="split record">
      <div className="stacked">
        {d && d.lives.length > 1 && (
          <nav className="panel pad" aria-label="Records that have had these coordinates">
            <h2>{count(d.lives.length)} records have had this place</h2>
            <div className="neighbours">
              {d.lives.map((l, i) => (
                <Link key={i} to={'?life=' + i} className={'pick' + (i === at ? ' on' : '')} aria-current={i === at ? 'true' : undefined}>
                  {l.sent || l.timestamp ? time((l.sent ?? l.timestamp)!) : 'time unknown'} {l.producer && '· ' + l.producer}
                </Link>
              ))}
            </div>
          </nav>
        )}
        <section className="panel">
          <div className="pad">
            <h2>Who read it</h2>
          </div>
          <div className="scroll">
            <Readings hops={shown} label="Who read it" />
          </div>
        </section>
        {made && made.length > 0 && (
          <section className="panel">
            <div className="pad">
              <h2>What was made of it after it failed</h2>
            </div>
            <div className="scroll">
              <Readings hops={made} label="What was made of it" named />
            </div>
          </section>
        )}
        {d && (
          <section className="panel pad">
            <h2>What broke on it</h2>
            {d.issues.length === 0 ? (
              <span className="muted">{d.events.length > 0 ? count(d.events.length) + ' events, of no issue that is kept.' : 'No error is known to have happened on it.'}</span>
            ) : (
              d.issues.map((issue) => {
                const events = d.events.filter((e) => e.issue === issue.id)
                return (
                  <div key={issue.id}>
                    <Link to={events[0] ? `/issues/${issue.id}/events/${events[0].event.id}` : '/issues/' + issue.id}>{issue.title}</Link>
                    <div className="muted">
                      {issue.culprit && issue.culprit + ' · '}
                      {events.length === 1 ? 'one event here' : count(events.length) + ' events here'}, {count(issue.events)} in all
                      {events.some((e) => e.foundBy === 'span') && ' · found by its span'}
                    </div>
                  </div>
                )
              })
            )}
          </section>
        )}
      </div>
      <aside className="panel side" aria-label="The record">
        {d ? <Facts d={d} hops={shown!} life={d.lives[at]} /> : <section><span className="ghost" /></section>}
      </aside>
    </div>
  )
}

/** One line a reading, with its parts. named: of other records than the page's. */
function Readings({ hops, label, named }: { hops: readonly Hop[] | undefined; label: string; named?: boolean }) {
  return (
    <table aria-label={label} className="ways">
      <thead>
        <tr>
          {named ? <th>Record</th> : <th className="wide">Done</th>}
          <th>Read by</th>
          <th>Where the time went</th>
          <th className="num">Sent → done</th>
          <th className="num wide">Behind</th>
        </tr>
      </thead>
      <tbody>
        {!hops ? (
          <Ghosts rows={2} columns={5} />
        ) : hops.length === 0 ? (
          <tr>
            <td colSpan={5} className="muted">
              No span about it is stored; an event names it.
            </td>
          </tr>
        ) : (
          hops.map((h) => {
            const trace = h.consumer?.traceId ?? h.producer?.traceId ?? ''
            const path = recordPath(h)
            return (
              <tr key={h.id}>
                {named ? (
                  <td>
                    {path ? (
                      <Link to={path} data-row className="rowlink">
                        {h.topic}
                      </Link>
                    ) : (
                      <b>{h.topic}</b>
                    )}{' '}
                    <span className="mono muted coords">
                      {h.partition === null ? 'p?' : 'p' + h.partition} · {h.offset === null ? 'offset unknown' : count(h.offset)}
                    </span>
                    {retryWords(h) && <span className={'tag gap ' + (h.retry?.deadLetter ? 'bad' : 'warn')}>{retryWords(h, false)}</span>}
                  </td>
                ) : (
                  <td className="muted wide" title={h.end ? fullTime(h.end) : undefined}>
                    {h.consumer && h.end ? time(h.end) : '–'}
                  </td>
                )}
                <td>
                  {h.consumer ? (
                    <>
                      <Link to={`/traces/${trace}?row=${encodeURIComponent(h.id)}`} data-row={named ? undefined : true} className="rowlink" aria-label={hopLabel(h)}>
                        {h.consumer.service || 'a service without name'}
                      </Link>{' '}
                      {h.group ? <Link to={`/lag/group?group=${encodeURIComponent(h.group)}&topic=${encodeURIComponent(h.topic)}`} className="muted">{'group ' + h.group}</Link> : <span className="muted">no group</span>}
                    </>
                  ) : (
                    <Link to={`/traces/${trace}?row=${encodeURIComponent(h.id)}`} className="rowlink">
                      nobody yet
                    </Link>
                  )}
                  {h.delivery > 1 && <span className="tag gap">delivery {h.delivery}</span>}
                  {h.failed && <span className="tag bad gap">failed</span>}
                </td>
                <td>
                  <HopBar hop={h} width={220} height={14} />
                </td>
                <td className="num">
                  <Measured h={h} of={h.endToEnd} />
                </td>
                <td className="num wide">{h.behind === null ? <span className="unknown-word">unknown</span> : count(h.behind)}</td>
              </tr>
            )
          })
        )}
      </tbody>
    </table>
  )
}

function Facts({ d, hops, life }: { d: Detail; hops: readonly Hop[]; life: Detail['lives'][number] | undefined }) {
  const h = hops.find((x) => x.producer) ?? hops[0]
  const r = h?.record
  const size = hops.find((x) => x.record.size !== null)?.record.size
  const key = hops.find((x) => x.record.keyHash)?.record.keyHash
  const mark = hops.find((x) => x.record.highWatermark !== null)?.record.highWatermark
  const original = hops.find((x) => x.retry?.topic)?.retry
  return (
    <>
      <section>
        <h2 className="name">
          {d.topic} <span className="mono muted">{`p${d.partition} · offset ${count(d.offset)}`}</span>
        </h2>
        <div className="muted">
          {h?.producer ? (
            <>
              sent by <b>{h.producer.service || 'a service without name'}</b>
              {h.producer.clientId && ', ' + h.producer.clientId}
            </>
          ) : (
            'sent by a producer that is not instrumented, or whose span is not stored'
          )}
        </div>
      </section>
      <section>
        <h2>Record</h2>
        <dl className="kv">
          <Field name="Sent">{h?.producer && <span title={fullTime(h.producer.start)}>{time(h.producer.start)}</span>}</Field>
          <Field name="Appended">
            {r?.appended && (
              <span title={fullTime(r.appended)}>
                {time(r.appended)} {r.appendedByBroker ? 'by the broker' : 'by the answer'}
              </span>
            )}
          </Field>
          <Field name="Timestamp">{r?.timestamp && <span title={fullTime(r.timestamp)}>{time(r.timestamp)}</span>}</Field>
          <Field name="Size">{size !== undefined && size !== null && bytes(size)}</Field>
          <Field name="Key">
            {key && (
              <Link to={'/find?q=key:' + key} className="mono" title="Records with this key">
                {key}
              </Link>
            )}
          </Field>
          <Field name="Message id">
            {life?.messageId && (
              <Link to={'/find?q=' + encodeURIComponent('id:' + life.messageId)} className="mono">
                {life.messageId}
              </Link>
            )}
          </Field>
          <Field name="Conversation">
            {life?.conversation && (
              <Link to={'/find?q=' + encodeURIComponent('conversation:' + life.conversation)} className="mono">
                {life.conversation}
              </Link>
            )}
          </Field>
          {r && (
            <>
              <dt>Attempts</dt>
              <dd>{count(r.attempts)}</dd>
            </>
          )}
          {original?.topic && original.partition !== null && original.offset !== null && (
            <>
              <dt>Made of</dt>
              <dd>
                <Link to={recordPath({ topic: original.topic, partition: original.partition, offset: original.offset })!}>{`${original.topic}/${original.partition}@${original.offset}`}</Link>
              </dd>
            </>
          )}
        </dl>
        <p className="muted">Its key, headers and body are not stored.</p>
      </section>
      {(d.near || mark !== undefined) && (
        <section>
          <h2>The log then and now</h2>
          <dl className="kv">
            {mark !== undefined && mark !== null && (
              <>
                <dt>End, read</dt>
                <dd title="high watermark when it was fetched">{count(mark)}</dd>
              </>
            )}
            {d.near?.logEnd !== null && d.near?.logEnd !== undefined && (
              <>
                <dt>Now</dt>
                <dd>
                  {count(d.near.logStart ?? 0)} to {count(d.near.logEnd)}
                  {d.near.logStart !== null && d.offset < d.near.logStart && <div className="muted small">retention has deleted this one</div>}
                </dd>
              </>
            )}
          </dl>
        </section>
      )}
      {d.near && (
        <section>
          <h2>Its neighbours</h2>
          <Neighbours near={d.near} offset={d.offset} />
        </section>
      )}
      {d.traces.length > 0 && (
        <section>
          <h2>Traces</h2>
          {d.traces.slice(0, 20).map((t) => (
            <div key={t} className="mono ids">
              <Link to={'/traces/' + t}>{t.slice(0, 16)}…</Link>
            </div>
          ))}
          {d.traces.length > 20 && <p className="muted">{count(d.traces.length - 20)} more</p>}
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

function Neighbours({ near, offset }: { near: Near; offset: number }) {
  const side = (r: Near['before'], word: string) => {
    if (!r || r.offset === null) return <div className="muted">{word}: none is stored</div>
    const left = between(near, offset, r.offset)
    return (
      <div>
        {word}: <Link to={r.href} className="inline" aria-label={`${word}: offset ${plain(count(r.offset))}`}>{count(r.offset)}</Link>{' '}
        <span className="muted">
          {time(r.last)}
          {left > 0 && `, ${count(left)} between ${left === 1 ? 'is' : 'are'} not stored`}
        </span>
        {r.failed && <span className="tag bad gap">failed</span>}
      </div>
    )
  }
  return (
    <>
      {side(near.before, 'Before')}
      {side(near.after, 'After')}
    </>
  )
}

/** What can be done about a record of which nothing is stored. */
function Missing({ near, topic, partition, offset }: { near: Near | null | undefined; topic: string; partition: string; offset: string }) {
  return (
    <section className="panel state">
      <h2>What to do</h2>
      <p>
        Look at <Link to={'/messages?' + new URLSearchParams({ topic, partition, from: 'all' }).toString()}>the messages of this partition</Link> that are stored, or{' '}
        <Link to={'/find?q=' + encodeURIComponent(`${topic}/${partition}@${offset}`)}>look it up in another way</Link>: by its message id, its key or its trace.
      </p>
      {near && <Neighbours near={near} offset={Number(offset)} />}
      <p className="muted">The offset is the record’s own. A group’s committed offset is one behind the last record that it read.</p>
    </section>
  )
}
