import { keepPreviousData, useQuery } from '@tanstack/react-query'
import { useEffect } from 'react'
import { useLocation, useSearch } from 'wouter'
import { ApiError, ask, type Answer } from '../../api/client'
import type { Finding as Said, Status } from '../../api/types'
import { apiRange, readFilters, withParams } from '../../lib/filters'
import { count, duration, fullTime, short, time } from '../../lib/format'
import { useTitle } from '../../lib/hooks'
import { useRowKeys } from '../../lib/keys'
import { FindBox } from '../../parts/FindBox'
import { Finding, titleText } from '../../parts/Finding'
import { Link, useTo } from '../../parts/Link'
import { Shell } from '../../parts/Shell'
import { Failed } from '../../parts/States'
import '../journey/journey.css'

type Found = Answer<'/api/v1/find'>

const BY: Record<string, string> = { record: 'its place', id: 'message id', conversation: 'conversation', key: 'key', span: 'span it carried' }

const NOTHING: Said = { rule: 'nothing-asked', tone: 'empty', title: [{ kind: 'text', text: 'Find one message' }], text: [{ kind: 'text', text: 'By what you have in hand: from a log line, an alert, a support case.' }] }

/** Leads to the one thing that answers, or lists several. stay in the URL keeps one on the list. */
export function FindPage({ status }: { status: Status | undefined }) {
  const search = useSearch()
  const [, go] = useLocation()
  const to = useTo()
  const params = new URLSearchParams(search)
  const q = params.get('q') ?? ''
  const project = params.get('project') ?? undefined
  const skip = params.get('skip') ?? ''
  const range = apiRange(readFilters(search))
  const found = useQuery({
    queryKey: ['find', project, q, range, skip],
    queryFn: ({ signal }) => ask<'/api/v1/find'>('/find', { project, q, ...range, skip }, signal),
    enabled: q !== '',
    placeholderData: keepPreviousData,
    retry: (n, e) => n < 1 && !(e instanceof ApiError && e.status < 500),
  })
  const d = q ? found.data : undefined
  const one = found.isPlaceholderData || params.has('stay') ? '' : (d?.to ?? '')
  useEffect(() => {
    if (one) go(to(one), { replace: true })
    // eslint-disable-next-line react-hooks/exhaustive-deps -- once for each answer
  }, [one])
  useRowKeys()
  useTitle(q ? titleText(d?.finding) || 'Find ' + q : 'Find')
  const bad = found.error instanceof ApiError && found.error.status === 400 ? found.error : undefined
  return (
    <Shell page="Messages" status={status} back="/messages" ranged>
      <Finding finding={q ? d?.finding : NOTHING} failed={found.error && !d && 'It cannot be looked up'} />
      <section className="panel pad">
        <FindBox key={q} q={q} fault={bad?.hint} autoFocus={q === ''} />
        {(!q || bad) && <Forms />}
      </section>
      {found.error && !d && !bad ? <Failed error={found.error} retry={() => void found.refetch()} retrying={found.isFetching} /> : d && <Answers d={d} stale={found.isPlaceholderData} search={search} />}
    </Shell>
  )
}

function Forms() {
  return (
    <dl className="forms">
      {[
        ['orders/3@918273', 'a record: topic, partition, offset; also orders 3 918273 and orders-3@918273'],
        ['4bf92f3577b34da6a3ce929d0e0e4736', 'a trace; a whole traceparent names its span, too'],
        ['00f067aa0ba902b7', 'a span, and the records that carried it'],
        ['id:m-4711', 'a message by its id (messaging.message.id)'],
        ['conversation:c-17', 'messages that share a conversation or correlation id'],
        ['key:order-17', 'records with this key. It is hashed in your browser: no key is sent or stored'],
        ['key:93623b80df3c7a2d', 'records by the hash of their key, 16 hex digits'],
        ['order-17', 'a word alone is looked for as a message id, a conversation and a key'],
      ].map(([form, what]) => (
        <div key={form} style={{ display: 'contents' }}>
          <dt>{form}</dt>
          <dd>{what}</dd>
        </div>
      ))}
    </dl>
  )
}

function Answers({ d, stale, search }: { d: Found; stale: boolean; search: string }) {
  const skip = Number(new URLSearchParams(search).get('skip') ?? 0)
  return (
    <div className={'stacked' + (stale ? ' stale' : '')}>
      {d.traces.map((t) => (
        <section className="panel pad" key={t}>
          Trace{' '}
          <Link to={'/traces/' + t} data-row className="mono">
            {t}
          </Link>
        </section>
      ))}
      {d.records.length > 0 && (
        <div className="panel scroll">
          <table aria-label="Records">
            <thead>
              <tr>
                <th>Record</th>
                <th className="wide">Sent by</th>
                <th>Read by</th>
                <th className="wide">Found by</th>
                <th className="num">Last seen</th>
              </tr>
            </thead>
            <tbody>
              {d.records.map((r) => (
                <tr key={r.href}>
                  <td>
                    <Link to={r.href} data-row className="rowlink">
                      {r.topic}
                    </Link>{' '}
                    <span className="mono muted coords">
                      {r.partition === null ? 'p?' : 'p' + r.partition} · {r.offset === null ? 'offset unknown' : count(r.offset)}
                    </span>
                    {r.failed && <span className="tag bad gap">failed</span>}
                  </td>
                  <td className="wide">{r.producer || <span className="unknown-word">unknown</span>}</td>
                  <td>{r.groups.length > 0 ? r.groups.join(', ') : r.reads > 0 ? <span className="muted">no group</span> : <span className="muted">–</span>}</td>
                  <td className="wide muted">{r.by.map((b) => BY[b] ?? b).join(', ')}</td>
                  <td className="num muted" title={r.last === '0' ? undefined : fullTime(r.last)}>
                    {r.last === '0' ? '–' : time(r.last)}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {d.spans.length > 0 && (
        <div className="panel scroll">
          <table aria-label="Spans">
            <thead>
              <tr>
                <th>Span</th>
                <th>Service</th>
                <th className="wide">Trace</th>
                <th className="num">Took</th>
                <th className="num wide">Began</th>
              </tr>
            </thead>
            <tbody>
              {d.spans.map((s) => (
                <tr key={s.traceId + s.spanId}>
                  <td>
                    <Link to={s.href} data-row className="rowlink">
                      {s.name || s.spanId}
                    </Link>
                    {s.failed && <span className="tag bad gap">failed</span>}
                  </td>
                  <td>{s.service}</td>
                  <td className="mono muted wide">{short(s.traceId)}</td>
                  <td className="num">{duration(s.durationNs)}</td>
                  <td className="num muted wide" title={fullTime(s.start)}>
                    {time(s.start)}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {(d.near?.before ?? d.near?.after) && (
        <section className="panel pad">
          <h2>The nearest that are stored</h2>
          {[d.near.before, d.near.after].map(
            (r) =>
              r?.offset !== null &&
              r !== null && (
                <div key={r.href}>
                  <Link to={r.href} data-row>{`${r.topic}/${r.partition}@${r.offset}`}</Link> <span className="muted">{time(r.last)}</span>
                </div>
              ),
          )}
        </section>
      )}
      {(skip > 0 || d.next !== null) && (
        <nav className="pages" aria-label="Pages">
          {skip > 0 && (
            <Link to={'/find' + withParams(search, { skip: '' })} className="pick">
              The newest
            </Link>
          )}{' '}
          {d.next !== null && (
            <Link to={'/find' + withParams(search, { skip: String(d.next) })} className="pick">
              Older
            </Link>
          )}
        </nav>
      )}
    </div>
  )
}
