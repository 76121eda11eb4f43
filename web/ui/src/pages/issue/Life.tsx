import { useMutation, useQueryClient } from '@tanstack/react-query'
import { useState, type FormEvent } from 'react'
import { useSearch } from 'wouter'
import { act } from '../../api/client'
import type { IssueActivity, IssueDetail, IssueHash, IssueTag } from '../../api/types'
import { ago, count, duration, fullTime, plain, share, short, time } from '../../lib/format'
import { useMe } from '../../lib/me'
import { term } from '../../lib/query'
import { Link } from '../../parts/Link'
import { Plan } from '../../parts/Plan'
import { Field } from '../issues/Actions'

type Data = Record<string, unknown>

const WORDS: Record<string, (d: Data) => string> = {
  first_seen: () => 'the first event came',
  set_regression: (d) => 'came back' + (d['release'] ? ` in ${String(d['release'])}` : '') + (d['resolvedIn'] ? `, resolved in ${String(d['resolvedIn'])}` : ''),
  set_ongoing: (d) => (d['until'] ? `woke: the condition (${String(d['until'])}) was met` : `is ongoing${d['was'] ? `, was ${String(d['was'])}` : ''}`),
  set_escalating: (d) => `escalated: ${plain(count(Number(d['events'])))} events today, ${plain(count(Number(d['forecast'])))} were forecast`,
  set_resolved: (d) => 'resolved it' + (d['in'] === 'in_next_release' ? ' in the next release' : d['release'] ? ` in ${String(d['release'])}` : ''),
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
  const [me] = useMe()
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
      <form className="say" onSubmit={submit}>
        <textarea aria-label="Comment" rows={2} maxLength={5000} placeholder="What is known about it" value={text} onChange={(e) => setText(e.target.value)} />
        <button type="submit" className="pick" disabled={!text.trim() || comment.isPending}>
          Comment
        </button>
      </form>
      {comment.error && (
        <p className="bad" role="alert">
          {comment.error.message}
        </p>
      )}
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

interface Component {
  id: string
  contributes: boolean
  hint: string
  value: string
  values: Component[]
}

/** A node of the kept tree, whatever form it has; undefined for what is none. */
export function component(node: unknown): Component | undefined {
  if (typeof node === 'string') {
    const at = node.indexOf(' ')
    return { id: at > 0 ? node.slice(0, at) : '', contributes: true, hint: '', value: node.slice(at + 1), values: [] }
  }
  if (typeof node !== 'object' || node === null) return undefined
  const n = node as Data
  const below = [...list(n['variants']), ...(n['component'] ? [n['component']] : []), ...list(n['values'])]
  return {
    id: String(n['id'] ?? n['name'] ?? n['strategy'] ?? ''),
    contributes: n['contributes'] !== false,
    hint: typeof n['hint'] === 'string' ? n['hint'] : '',
    value: typeof n['value'] === 'string' ? n['value'] : '',
    values: below.map(component).filter((c) => c !== undefined),
  }
}

function list(v: unknown): unknown[] {
  return Array.isArray(v) ? v : []
}

/** Why its events are one issue: each hash with what it was made of. */
export function Why({ d }: { d: IssueDetail }) {
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set())
  const [plan, setPlan] = useState(false)
  const choose = (h: string) => {
    const next = new Set(chosen)
    if (!next.delete(h)) next.add(h)
    setChosen(next)
  }
  return (
    <>
      {d.hashes.map((h) => (
        <div key={h.hash} className="hash">
          {d.hashes.length > 1 && <input type="checkbox" aria-label={'Choose hash ' + short(h.hash)} checked={chosen.has(h.hash)} onChange={() => choose(h.hash)} />}
          <details open={d.hashes.length === 1}>
            <summary>
              <span className="mono">{short(h.hash)}</span> <span className="muted">{h.version}</span> {h.former && <span className="tag">from issue {h.former}</span>}
            </summary>
            <Tree hash={h} />
          </details>
        </div>
      ))}
      {chosen.size > 0 && chosen.size < d.hashes.length && (
        <button type="button" className="pick" onClick={() => setPlan(true)}>
          Take out…
        </button>
      )}
      {plan && <UnmergePlan d={d} hashes={d.hashes.filter((h) => chosen.has(h.hash))} close={() => setPlan(false)} done={() => setChosen(new Set())} />}
    </>
  )
}

function Tree({ hash }: { hash: IssueHash }) {
  const roots = list(Array.isArray(hash.tree) ? hash.tree : [hash.tree]).map(component).filter((c) => c !== undefined)
  if (roots.length === 0) return <span className="muted">Nobody told; their fingerprint is equal.</span>
  return (
    <ul className="why">
      {roots.map((c, i) => (
        <Node key={i} c={c} depth={0} />
      ))}
    </ul>
  )
}

function Node({ c, depth }: { c: Component; depth: number }) {
  if (depth > 20) return null
  return (
    <li className={c.contributes ? '' : 'out'}>
      <span className="muted">{c.id}</span> {c.value && <span className="mono">{c.value}</span>} {c.hint && <span className="muted small">({c.hint})</span>}
      {c.values.length > 0 && (
        <ul>
          {c.values.map((v, i) => (
            <Node key={i} c={v} depth={depth + 1} />
          ))}
        </ul>
      )}
    </li>
  )
}

function UnmergePlan({ d, hashes, close, done }: { d: IssueDetail; hashes: readonly IssueHash[]; close: () => void; done: () => void }) {
  const cache = useQueryClient()
  const project = new URLSearchParams(useSearch()).get('project') ?? undefined
  const [me, setMe] = useMe()
  const from = hashes[0]?.former ?? ''
  const former = from !== '' && hashes.every((h) => h.former === from)
  const unmerge = useMutation({
    mutationFn: () => act<'/api/v1/issues/{id}/unmerge', 'post'>('post', `/issues/${d.issue.id}/unmerge`, { project }, { hashes: hashes.map((h) => h.hash), former, ...(me ? { by: me } : {}) }),
    onSuccess: async () => {
      await cache.invalidateQueries()
      done()
      close()
    },
  })
  return (
    <Plan title={hashes.length === 1 ? 'Take one hash out' : `Take ${hashes.length} hashes out`} verb="Take out" busy={unmerge.isPending} error={unmerge.error} close={close} go={() => unmerge.mutate()}>
      <p>
        The events of {hashes.length === 1 ? 'this hash' : 'these hashes'} leave this issue for {former ? `issue ${from}, which they were merged from` : 'a new one'}. Both have exact counts at once. Undo: Merge.
      </p>
      <Field label="You are" value={me} set={setMe} placeholder="a name for the log; kept in this browser" />
    </Plan>
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
      <dd>{i.priority}</dd>
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
