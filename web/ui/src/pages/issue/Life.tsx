import { useMutation, useQueryClient } from '@tanstack/react-query'
import { useState, type FormEvent } from 'react'
import { useSearch } from 'wouter'
import { act } from '../../api/client'
import type { IssueActivity, IssueDetail, IssueTag } from '../../api/types'
import { ago, count, duration, fullTime, plain, share, time } from '../../lib/format'
import { useMe } from '../../lib/me'
import { term } from '../../lib/query'
import { useCan } from '../../lib/session'
import { Link } from '../../parts/Link'
import { Refused } from '../../parts/States'
import { ActionButton } from '../issues/Actions'

type Data = Record<string, unknown>

const WORDS: Record<string, (d: Data) => string> = {
  first_seen: () => 'the first event came',
  set_regression: (d) => 'came back' + (d['release'] ? ` in ${String(d['release'])}` : '') + (d['resolvedIn'] ? `, resolved in ${String(d['resolvedIn'])}` : ''),
  set_ongoing: (d) => (d['until'] ? `woke: the condition (${String(d['until'])}) was met` : `is ongoing${d['was'] ? `, was ${String(d['was'])}` : ''}`),
  set_escalating: (d) => `escalated: ${plain(count(Number(d['events'])))} events today, ${plain(count(Number(d['forecast'])))} were forecast`,
  set_resolved: (d) => 'resolved it' + (d['in'] === 'in_next_release' ? ' in the next release' : d['release'] ? ` in ${String(d['release'])}` : '') + (d['because'] === 'recovered' ? ` because the job ${String(d['monitor'])} recovered in ${String(d['environment'])}` : ''),
  set_unresolved: () => 'reopened it',
  set_archived: (d) => `archived it until ${String(d['until']) === 'forever' ? 'somebody reopens it' : String(d['until'])}`,
  set_priority: (d) => `made its priority ${String(d['to'])}`,
  assigned: (d) => `assigned it to ${String(d['to']) || 'nobody'}`,
  unassigned: () => 'assigned it to nobody',
  merge: (d) => `merged ${Array.isArray(d['issues']) ? d['issues'].join(', ') : 'others'} into it`,
  merged: (d) => `merged it into ${String(d['into'])}`,
  unmerge: (d) => `took hashes out, to issue ${String(d['to'])}`,
  unmerged: (d) => `brought hashes back from issue ${String(d['from'])}`,
}

/** One line of the log as a sentence; a comment is its own text. */
export function told(a: IssueActivity): string {
  const data = a.data as Data
  if (a.kind === 'comment') return String(data['text'] ?? '')
  return WORDS[a.kind]?.(data) ?? a.kind
}

/** What happened to the issue, and a field to say something. */
export function Log({ d }: { d: IssueDetail }) {
  const cache = useQueryClient()
  const project = new URLSearchParams(useSearch()).get('project') ?? undefined
  const { me } = useMe()
  const can = useCan('member')
  const [text, setText] = useState('')
  const comment = useMutation({
    mutationFn: () => act<'/api/v1/issues/{id}', 'put'>('put', '/issues/' + d.issue.id, { project }, { comment: text.trim(), ...(me ? { by: me } : {}) }),
    onSuccess: async () => {
      setText('')
      await cache.invalidateQueries()
    },
  })
  const submit = (e: FormEvent) => {
    e.preventDefault()
    if (text.trim() && !comment.isPending) comment.mutate()
  }
  return (
    <section className="panel pad" aria-label="Log">
      <h2>Log</h2>
      {can && (
        <form className="say" onSubmit={submit}>
          <textarea aria-label="Comment" rows={2} maxLength={5000} placeholder="What is known about it" value={text} onChange={(e) => setText(e.target.value)} />
          <button type="submit" className="pick" disabled={!text.trim() || comment.isPending}>
            Comment
          </button>
        </form>
      )}
      <Refused error={comment.error} />
      <ol className="log">
        {d.activity.map((a) => (
          <li key={a.id + a.kind}>
            <span className="muted" title={fullTime(a.at)}>
              {time(a.at)}
            </span>
            <span className={a.kind === 'comment' ? 'said-so' : ''}>
              <b>{a.by || 'hoptrace'}</b> {told(a)}
            </span>
          </li>
        ))}
      </ol>
    </section>
  )
}

/** The values of each tag, as shares of the events that have it. */
export function Tags({ tags }: { tags: readonly IssueTag[] }) {
  const [all, setAll] = useState(false)
  if (tags.length === 0) return <span className="muted">Its events tell none.</span>
  return (
    <>
      {tags.slice(0, all ? 100 : 6).map((t) => (
        <div key={t.key} className="tagline">
          <div className="muted">{t.key}</div>
          {t.values.slice(0, 3).map((v) => (
            <div key={v.value} className="tagvalue">
              <span className="meter" style={{ width: `${Math.max(2, (100 * v.events) / t.events)}%` }} />
              <Link to={'/issues?' + new URLSearchParams({ query: term(t.key, v.value) }).toString()} title={`last seen ${fullTime(v.lastSeen)}`}>
                {v.value}
              </Link>
              <span className="num">{share(v.events / t.events)}</span>
            </div>
          ))}
          {t.values.length - Math.min(3, t.values.length) + t.others > 0 && <div className="faint small">{plain(count(t.values.length - Math.min(3, t.values.length) + t.others))} more values</div>}
        </div>
      ))}
      {!all && tags.length > 6 && (
        <button type="button" className="linkish" onClick={() => setAll(true)}>
          Show all {tags.length} tags
        </button>
      )}
    </>
  )
}

/** Where the issue stands, in words. */
export function Standing({ d }: { d: IssueDetail }) {
  const i = d.issue
  return (
    <dl className="kv">
      <dt>Since</dt>
      <dd title={fullTime(i.since)}>{ago(i.since)}</dd>
      {i.resolution && (
        <>
          <dt>Resolved</dt>
          <dd>
            {i.resolution.kind === 'now' ? 'by time' : i.resolution.kind === 'in_release' ? `in ${i.resolution.release}` : `after ${i.resolution.release}`}, by {i.resolution.by}
          </dd>
        </>
      )}
      {i.archive && (
        <>
          <dt>Archived</dt>
          <dd>
            until {i.archive.kind === 'time' && i.archive.until ? time(i.archive.until) : i.archive.kind === 'count' ? `${plain(count(i.archive.count))} events` : i.archive.kind === 'users' ? `${plain(count(i.archive.count))} users` : i.archive.kind === 'escalating' ? 'it escalates' : 'reopened'}
            {i.archive.windowNs > 0 && ` within ${duration(i.archive.windowNs)}`}, by {i.archive.by}
          </dd>
        </>
      )}
      <dt>Assigned</dt>
      <dd>{i.assignee || <span className="muted">nobody</span>}</dd>
      <dt>Priority</dt>
      <dd className="withact">
        {i.priority} <ActionButton kind="priority" label="Change" issues={[i]} />
      </dd>
      <dt>Bookmarked</dt>
      <dd className="withact">
        <span>{d.bookmarks.length > 0 ? 'by ' + d.bookmarks.join(', ') : <span className="muted">by nobody</span>}</span> <ActionButton kind="bookmark" label="Bookmark" issues={[i]} bookmarks={d.bookmarks} />
      </dd>
      {i.firstRelease && (
        <>
          <dt>Releases</dt>
          <dd>
            {i.firstRelease}
            {i.lastRelease !== i.firstRelease && ` to ${i.lastRelease}`}
          </dd>
        </>
      )}
    </dl>
  )
}
