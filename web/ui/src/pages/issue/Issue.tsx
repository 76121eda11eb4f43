import { keepPreviousData, useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { useLocation, useSearch } from 'wouter'
import { ask } from '../../api/client'
import type { EventDetail, Status } from '../../api/types'
import { withParams } from '../../lib/filters'
import { ago, count, fullTime, plain, time } from '../../lib/format'
import { useTitle } from '../../lib/hooks'
import { useKeys } from '../../lib/keys'
import { Finding } from '../../parts/Finding'
import { Link, useTo } from '../../parts/Link'
import { Shell } from '../../parts/Shell'
import { Failed } from '../../parts/States'
import { Actions } from '../issues/Actions'
import { Level, Spark, State } from '../issues/Issues'
import { Attachments, Details, Notes } from './Details'
import { Log, Standing, Tags } from './Life'
import { CausingMessage } from './Message'
import { Messages } from './Messages'
import { Stack } from './Stack'
import { Why, WhyShort } from './Why'

/** One event of an issue, and the message that caused it. */
export function IssuePage({ id, event, status }: { id: string; event: string; status: Status | undefined }) {
  const search = useSearch()
  const q = new URLSearchParams(search)
  const project = q.get('project') ?? undefined
  const before = q.get('before') ?? undefined
  const [, go] = useLocation()
  const to = useTo()
  const detail = useQuery({
    queryKey: ['event', project, id, event],
    queryFn: ({ signal }) => ask<'/api/v1/issues/{id}/events/{event}'>(`/issues/${encodeURIComponent(id)}/events/${encodeURIComponent(event)}`, { project }, signal),
    placeholderData: keepPreviousData,
  })
  const events = useQuery({
    queryKey: ['issue', project, id, before],
    queryFn: ({ signal }) => ask<'/api/v1/issues/{id}'>('/issues/' + encodeURIComponent(id), { project, before, limit: 100 }, signal),
    placeholderData: keepPreviousData,
  })
  const d = detail.data
  const open = (e: string | null | undefined) => e && go(to(`/issues/${id}/events/${e}`))
  useKeys({ j: () => open(d?.older), k: () => open(d?.newer) })
  useTitle(d?.issue.title ?? 'Issue ' + id)
  return (
    <Shell page="Issues" status={status} filters={undefined} back="/issues">
      {detail.error && !d ? (
        <>
          <div className="sum">
            <div className="said">
              <h1>Issue {id} cannot be shown</h1>
              <p>
                Back to <Link to="/issues">issues</Link>.
              </p>
            </div>
          </div>
          <Failed error={detail.error} retry={() => void detail.refetch()} retrying={detail.isFetching} />
        </>
      ) : (
        <>
          <Finding finding={d?.finding}>
            {d && (
              <>
                <Level level={d.issue.level} />
                <State issue={d.issue} />
                {events.data?.mergedFrom && <span className="tag">issue {events.data.mergedFrom} was merged into it</span>}
                {events.data && <Actions issues={[events.data.issue]} done={(kind, _, target) => (kind === 'delete' ? go(to('/issues')) : kind === 'merge' && go(to('/issues/' + target)))} />}
              </>
            )}
          </Finding>
          <div className={'split' + (detail.isPlaceholderData ? ' stale' : '')}>
            <div className="stacked">
              <Messages id={id} />
              <section className="panel" aria-label="Event">
                <div className="fr head">
                  <span className="heading">
                    <b>{d ? [d.event.type, d.event.value].filter(Boolean).join(': ') || d.issue.title : <span className="ghost" />}</b> {d?.event.handled === false && <span className="tag bad">not handled</span>}{' '}
                    {d?.event.origin === 'otel' && <span className="tag">from OpenTelemetry</span>}
                  </span>
                  <span className="muted turn">
                    {d && (
                      <>
                        {d.number === null ? 'event' : `event ${plain(count(d.number))} of ${plain(count(d.issue.events))}`} · <span title={fullTime(d.event.time)}>{time(d.event.time)}</span>
                        <Turn to={d.older} issue={id} label="Older event" sign="‹" />
                        <Turn to={d.newer} issue={id} label="Newer event" sign="›" />
                      </>
                    )}
                  </span>
                </div>
                {d && <Stack d={d} />}
              </section>
              {d && <Attachments event={d.event.id} />}
              {d && <Details d={d} />}
              {d && <Notes d={d} />}
              {events.data && <Why d={events.data} event={d} project={status?.project} />}
              {events.data && <Log d={events.data} />}
              <Others id={id} shown={d?.event.id} list={events.data?.events} next={events.data?.nextEvents ?? null} before={before} error={events.error} />
            </div>
            <aside className="panel side" aria-label="About this issue">
              {d ? (
                <>
                  <CausingMessage d={d} />
                  {events.data && (
                    <section>
                      <h2>Where it stands</h2>
                      <Standing d={events.data} />
                    </section>
                  )}
                  <section>
                    <h2>Why these are one issue</h2>
                    {events.data ? <WhyShort d={events.data} shown={d.event.fingerprint} /> : <span className="ghost" />}
                  </section>
                  <section>
                    <h2>Events of 24 hours, and of 14 days</h2>
                    <Spark counts={d.issue.hours} each="hour" width={290} height={36} />
                    <Spark counts={d.issue.days} each="day" width={290} height={36} />
                    <dl className="kv">
                      <dt>First seen</dt>
                      <dd title={fullTime(d.issue.firstSeen)}>{ago(d.issue.firstSeen)}</dd>
                      <dt>Last seen</dt>
                      <dd title={fullTime(d.issue.lastSeen)}>{ago(d.issue.lastSeen)}</dd>
                      <dt>Events</dt>
                      <dd>{count(d.issue.events)}</dd>
                      <dt>Users</dt>
                      <dd>{d.issue.users > 0 ? count(d.issue.users) : 'not told'}</dd>
                      <dt>Records</dt>
                      <dd>{d.issue.records > 0 ? count(d.issue.records) : 'not told'}</dd>
                    </dl>
                  </section>
                  {events.data && (
                    <section>
                      <h2>Tags</h2>
                      <Tags tags={events.data.tags} />
                    </section>
                  )}
                </>
              ) : (
                <section>
                  <span className="ghost" />
                </section>
              )}
            </aside>
          </div>
        </>
      )}
    </Shell>
  )
}

function Turn({ to, issue, label, sign }: { to: string | null; issue: string; label: string; sign: string }) {
  return to ? (
    <Link to={`/issues/${issue}/events/${to}`} className="pick" aria-label={label}>
      {sign}
    </Link>
  ) : (
    <span className="pick off" aria-hidden="true">
      {sign}
    </span>
  )
}

interface OthersProps {
  id: string
  shown: string | undefined
  list: readonly EventDetail['event'][] | undefined
  next: string | null
  before: string | undefined
  error: Error | null
}

function Others({ id, shown, list, next, before, error }: OthersProps) {
  const search = useSearch()
  const [path, go] = useLocation()
  const [more, setAll] = useState(false)
  const all = more || before !== undefined
  const few = 12
  if (error) return <p className="bad">Its other events cannot be listed: {error.message}</p>
  return (
    <section className="panel scroll" id="events">
      <table aria-label="Events">
        <thead>
          <tr>
            <th>Event</th>
            <th>Record</th>
            <th className="wide">Server</th>
            <th className="wide">Release</th>
          </tr>
        </thead>
        <tbody>
          {(list ?? []).slice(0, all ? 100 : few).map((e) => (
            <tr key={e.id} className={e.id === shown ? 'sel' : ''}>
              <td>
                <Link to={`/issues/${id}/events/${e.id}`} data-row className="rowlink" aria-current={e.id === shown ? 'true' : undefined} title={fullTime(e.time)}>
                  {time(e.time)}
                </Link>
              </td>
              <td className="mono">{e.topic ? `${e.topic} ${e.partition === null ? 'p?' : 'p' + e.partition} · ${e.offset === null ? '?' : count(e.offset)}` : <span className="faint">not told</span>}</td>
              <td className="wide">{e.server}</td>
              <td className="wide">{e.release}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {(before !== undefined || (list?.length ?? 0) > few) && (
        <p className="pages pad">
          {before !== undefined && (
            <button type="button" className="linkish" onClick={() => go(path + withParams(search, { before: '' }))}>
              Newest
            </button>
          )}
          {!all ? (
            <button type="button" className="linkish" onClick={() => setAll(true)}>
              Show {next ? 'the newest ' + list!.length : 'all ' + list!.length}
            </button>
          ) : (
            next && (
              <button type="button" className="pick" onClick={() => go(path + withParams(search, { before: next }))}>
                Older events
              </button>
            )
          )}
        </p>
      )}
    </section>
  )
}
