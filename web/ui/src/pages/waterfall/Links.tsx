import { keepPreviousData, useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { ask } from '../../api/client'
import type { Span, SpanLinkEnd } from '../../api/types'
import { count, duration, fullTime, short, time } from '../../lib/format'
import { Link } from '../../parts/Link'

const PAGE = 10

/** Both directions of a span's links, with the names of what they lead to. */
export function Links({ span, project, to }: { span: Span; project: string | undefined; to: (trace: string, row: string) => string }) {
  return (
    <>
      {span.linkCount > 0 && <Direction span={span} project={project} direction="to" title="Links to" to={to} />}
      <Direction span={span} project={project} direction="from" title="Linked from" to={to} />
    </>
  )
}

function Direction({ span, project, direction, title, to }: { span: Span; project: string | undefined; direction: 'to' | 'from'; title: string; to: (trace: string, row: string) => string }) {
  const [skip, setSkip] = useState(0)
  const links = useQuery({
    queryKey: ['links', project, span.traceId, span.spanId, direction, skip],
    queryFn: ({ signal }) => ask<'/api/v1/traces/{id}/spans/{span}/links'>(`/traces/${span.traceId}/spans/${span.spanId}/links`, { project, direction, skip: skip || undefined, limit: PAGE }, signal),
    placeholderData: keepPreviousData,
    staleTime: 30_000,
  })
  const d = links.data
  if (direction === 'from' && d && d.links.length === 0 && skip === 0) return null
  return (
    <section aria-label={title}>
      <h2>
        {title} {d?.total != null ? count(d.total) : direction === 'to' ? count(span.linkCount) : ''}
      </h2>
      {links.error && !d ? (
        <span className="muted" role="alert">
          They could not be asked for: {links.error.message}{' '}
          <button type="button" className="linkish" onClick={() => void links.refetch()}>
            Ask again
          </button>
        </span>
      ) : !d ? (
        <span className="ghost" />
      ) : (
        <div className={links.isPlaceholderData ? 'stale' : ''}>
          {d.links.map((l, i) => (
            <End key={l.traceId + l.spanId + i} link={l} to={to} />
          ))}
        </div>
      )}
      {d && (skip > 0 || d.more) && (
        <p className="pages">
          <button type="button" className="pick" disabled={skip === 0} onClick={() => setSkip(Math.max(0, skip - PAGE))}>
            Before
          </button>
          <span className="muted">
            {count(skip + 1)} to {count(skip + d.links.length)}
          </span>
          <button type="button" className="pick" disabled={!d.more} onClick={() => setSkip(skip + PAGE)}>
            Next
          </button>
        </p>
      )}
    </section>
  )
}

function End({ link: l, to }: { link: SpanLinkEnd; to: (trace: string, row: string) => string }) {
  const s = l.span
  return (
    <div className="linkend">
      {s ? (
        <Link to={to(l.traceId, l.spanId)}>
          {s.name} <span className="muted">{s.service}</span>
        </Link>
      ) : (
        <>
          <Link to={to(l.traceId, l.spanId)} className="mono">
            {short(l.traceId)}
          </Link>{' '}
          <span className="unknown-word">not stored: not sampled, on its way, or deleted</span>
        </>
      )}
      <div className="muted">
        {s && (
          <span title={fullTime(s.start)}>
            {duration(s.durationNs)} at {time(s.start)}
            {s.status === 'error' && <span className="bad"> failed</span>}
          </span>
        )}
        {l.topic && (
          <>
            {s && ' · '}
            {l.topic} {l.partition !== null && 'p' + l.partition} {l.offset !== null && '· ' + count(l.offset)}
          </>
        )}
      </div>
    </div>
  )
}
