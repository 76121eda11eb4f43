import { useMutation, useQueryClient } from '@tanstack/react-query'
import { useState, type ReactNode } from 'react'
import { useSearch } from 'wouter'
import { act } from '../../api/client'
import type { Issue, IssueAction, IssuesChanged } from '../../api/types'
import { count } from '../../lib/format'
import { useMe } from '../../lib/me'
import { useCan } from '../../lib/session'
import { Plan } from '../../parts/Plan'
import { Outcomes, told } from './Outcomes'

export type Kind = 'resolve' | 'unresolve' | 'archive' | 'assign' | 'priority' | 'bookmark' | 'merge' | 'delete'

/** A button that opens the plan of one action. */
export function ActionButton({ kind, label, issues, bookmarks, done, opened }: { kind: Kind; label: string; issues: readonly Issue[]; bookmarks?: readonly string[]; done?: (changed: readonly string[], target: string) => void; opened?: (is: boolean) => void }) {
  // What it was opened on: the list behind it may move on meanwhile.
  const [held, setIsHeld] = useState<readonly Issue[]>()
  const can = useCan('member')
  // A plan that is open stays so: it says why it was refused.
  if (!can && !held) return null
  const setHeld = (to: readonly Issue[] | undefined) => {
    setIsHeld(to)
    opened?.(to !== undefined)
  }
  return (
    <>
      {can && (
        <button type="button" className="pick" aria-label={kind === 'priority' ? 'Change priority…' : undefined} onClick={() => setHeld(issues)}>
          {label}…
        </button>
      )}
      {held && <ActionPlan kind={kind} issues={held} bookmarks={bookmarks ?? []} close={() => setHeld(undefined)} done={(changed, target) => done?.(changed, target)} />}
    </>
  )
}

/** Buttons that open the plan of an action on some issues. */
export function Actions({ issues, done }: { issues: readonly Issue[]; done?: (kind: Kind, changed: readonly string[], target: string) => void }) {
  const one = issues.length === 1 ? issues[0] : undefined
  const can = useCan('member')
  const [open, setOpen] = useState(false)
  if (!can && !open) return null
  const button = (kind: Kind, label: string) => <ActionButton key={kind} kind={kind} label={label} issues={issues} opened={setOpen} done={(changed, target) => done?.(kind, changed, target)} />
  return (
    <div className="actions" role="group" aria-label="Actions">
      {one?.status !== 'resolved' && button('resolve', 'Resolve')}
      {one?.status !== 'archived' && button('archive', 'Archive')}
      {(!one || one.status !== 'unresolved') && button('unresolve', 'Reopen')}
      {button('assign', 'Assign')}
      {!one && button('priority', 'Priority')}
      {button('merge', 'Merge')}
      {button('delete', 'Delete')}
    </div>
  )
}

function named(issues: readonly Issue[]): string {
  return issues.length === 1 ? 'this issue' : `${count(issues.length)} issues`
}

interface ActionPlanProps {
  kind: Kind
  issues: readonly Issue[]
  bookmarks: readonly string[]
  close: () => void
  done: (changed: readonly string[], target: string) => void
}

function ActionPlan({ kind, issues, bookmarks, close, done }: ActionPlanProps) {
  const cache = useQueryClient()
  const project = new URLSearchParams(useSearch()).get('project') ?? undefined
  const { me, setMe, fixed } = useMe()
  const [resolveIn, setResolveIn] = useState<'now' | 'in_next_release' | 'in_release'>('now')
  const [release, setRelease] = useState('')
  const [until, setUntil] = useState<'escalating' | 'forever' | 'time' | 'count' | 'users'>('escalating')
  const [hours, setHours] = useState('24')
  const [many, setMany] = useState('100')
  const [within, setWithin] = useState('')
  const [priority, setPriority] = useState<'high' | 'medium' | 'low'>(issues.length === 1 ? (issues[0]!.priority as 'high' | 'medium' | 'low') : 'medium')
  const [assignee, setAssignee] = useState(issues.length === 1 ? issues[0]!.assignee : me)
  const [target, setTarget] = useState(issues.length > 1 ? issues[0]!.id : '')
  const [discard, setDiscard] = useState(false)
  const [outcome, setOutcome] = useState<IssuesChanged>()
  const marked = bookmarks.includes(me || 'user')
  const body = (): IssueAction => {
    switch (kind) {
      case 'resolve':
        return { resolve: { in: resolveIn, ...(resolveIn === 'in_release' ? { release } : {}) } }
      case 'unresolve':
        return { unresolve: true }
      case 'archive':
        return { archive: { until, ...(until === 'time' ? { time: hours + 'h' } : until === 'count' || until === 'users' ? { count: Number(many), ...(within ? { windowSeconds: Number(within) * 3600 } : {}) } : {}) } }
      case 'assign':
        return { assign: assignee.trim() }
      case 'priority':
        return { priority }
      case 'bookmark':
        return { bookmark: !marked }
      case 'merge':
        return { merge: target }
      case 'delete':
        return discard ? { discard: true } : { delete: true }
    }
  }
  const change = useMutation({
    mutationFn: () => act<'/api/v1/issues', 'put'>('put', '/issues', { project }, { ...body(), ids: issues.map((i) => i.id), ...(me ? { by: me } : {}) }),
    onSuccess: (answer) => {
      // What was done to one issue, its page shows. What was done to several, or not done, is read here first.
      if (issues.length > 1 || answer.outcomes.some((o) => o.outcome !== 'done')) setOutcome(answer)
      else leave(answer)
    },
  })
  const leave = (answer: IssuesChanged | undefined) => {
    close()
    if (!answer) return
    done(answer.changed, target)
    // Once a page that was left is gone: it would ask for an issue that is no more.
    setTimeout(() => void cache.invalidateQueries())
  }
  const events = issues.reduce((n, i) => n + i.events, 0)
  const whole = (s: string) => /^[1-9]\d{0,8}$/.test(s)
  const plans: Record<Kind, { title: string; verb: string; danger?: boolean; ready: boolean; what: ReactNode }> = {
    resolve: {
      title: `Resolve ${named(issues)}`,
      verb: 'Resolve',
      ready: resolveIn !== 'in_release' || release.trim() !== '',
      what: (
        <>
          <Choices
            legend="Resolved"
            value={resolveIn}
            set={setResolveIn}
            options={[
              ['now', 'now: any later event is a regression'],
              ['in_next_release', 'in the next release: events of releases that were seen until now are none'],
              ['in_release', 'in a release: events of older ones are none'],
            ]}
          />
          {resolveIn === 'in_release' && <Field label="Release" value={release} set={setRelease} placeholder="shop@1.2.3" />}
          <p className="muted">An event that happens afterwards and should not opens it again as regressed. Undo: Reopen.</p>
        </>
      ),
    },
    unresolve: { title: `Reopen ${named(issues)}`, verb: 'Reopen', ready: true, what: <p>It becomes unresolved and ongoing. Undo: Resolve or Archive.</p> },
    archive: {
      title: `Archive ${named(issues)}`,
      verb: 'Archive',
      ready: until === 'time' ? whole(hours) : until === 'count' || until === 'users' ? whole(many) && (within === '' || whole(within)) : true,
      what: (
        <>
          <Choices
            legend="Until"
            value={until}
            set={setUntil}
            options={[
              ['escalating', 'it escalates: a day has more events than its last week makes likely'],
              ['time', 'some hours have passed'],
              ['count', 'so many more events came'],
              ['users', 'so many users met it'],
              ['forever', 'somebody reopens it'],
            ]}
          />
          {until === 'time' && <Field label="Hours" value={hours} set={setHours} />}
          {(until === 'count' || until === 'users') && (
            <>
              <Field label={until === 'count' ? 'Events' : 'Users'} value={many} set={setMany} />
              <Field label="Within hours" value={within} set={setWithin} placeholder="empty: since it was archived" />
            </>
          )}
          <p className="muted">Its events are still counted. Undo: Reopen.</p>
        </>
      ),
    },
    assign: {
      title: `Assign ${named(issues)}`,
      verb: assignee.trim() ? 'Assign' : 'Assign to nobody',
      ready: true,
      what: <Field label="To" value={assignee} set={setAssignee} placeholder="a name; empty for nobody" />,
    },
    priority: {
      title: `Change the priority of ${named(issues)}`,
      verb: 'Change',
      ready: true,
      what: (
        <>
          <Choices
            legend="Priority"
            value={priority}
            set={setPriority}
            options={[
              ['high', 'high'],
              ['medium', 'medium'],
              ['low', 'low'],
            ]}
          />
          <p className="muted">It changes nothing but the order of work. Undo: change it back.</p>
        </>
      ),
    },
    bookmark: {
      title: marked ? 'Take the bookmark away' : 'Bookmark this issue',
      verb: marked ? 'Take away' : 'Bookmark',
      ready: true,
      what: (
        <p>
          {marked ? 'It is among the bookmarks of' : 'It comes among the bookmarks of'} {me || 'user'}: the query <code>bookmarks:{me || 'user'}</code> finds them. Undo: the same button.
        </p>
      ),
    },
    merge: {
      title: `Merge ${named(issues)}`,
      verb: 'Merge',
      ready: whole(target) && !(issues.length === 1 && issues[0]!.id === target),
      what: (
        <>
          {issues.length > 1 ? (
            <Choices legend="Into" value={target} set={setTarget} options={issues.slice(0, 20).map((i) => [i.id, `${i.title || 'issue without title'} (${i.id})`])} />
          ) : (
            <Field label="Into issue number" value={target} set={setTarget} placeholder="the number in the address of its page" />
          )}
          <p className="muted">
            Its {count(events)} events count there at once, and its address leads there. Undo: take its hashes out again on the page of the other issue; the counts are exact on both sides.
          </p>
        </>
      ),
    },
    delete: {
      title: `Delete ${named(issues)}`,
      verb: discard ? 'Delete and discard' : 'Delete',
      danger: true,
      ready: true,
      what: (
        <>
          <p>
            {count(events)} events of the time shown, and all others of {named(issues)}, are hidden at once and removed soon after. <b>This cannot be undone.</b>
          </p>
          <label className="check">
            <input type="checkbox" checked={discard} onChange={(e) => setDiscard(e.target.checked)} /> and discard what comes like it: it makes no issue again, and is counted in the ledger. Undo of this part: Restore, on the list of discarded issues
          </label>
        </>
      ),
    },
  }
  const p = plans[kind]
  return (
    <Plan title={outcome ? told(outcome.outcomes) : p.title} verb={p.verb} danger={p.danger ?? false} busy={change.isPending} error={change.error} disabled={!p.ready} done={!!outcome} close={() => leave(outcome)} go={() => change.mutate()}>
      {outcome ? (
        <Outcomes list={outcome.outcomes} issues={issues} />
      ) : (
        <>
          {p.what}
          {issues.length > 1 && <Named issues={issues} />}
          <Signed me={me} setMe={setMe} fixed={fixed} />
        </>
      )}
    </Plan>
  )
}

/** Which issues it is about. */
function Named({ issues }: { issues: readonly Issue[] }) {
  return (
    <details>
      <summary>The {count(issues.length)} issues</summary>
      <ul className="outcomelist">
        {issues.map((i) => (
          <li key={i.id}>{i.title || 'issue without title'}</li>
        ))}
      </ul>
    </details>
  )
}

/** Whom the log will name: the member, or who one says that one is. */
export function Signed({ me, setMe, fixed }: ReturnType<typeof useMe>) {
  if (fixed) return <p className="muted small">The log will say that {me} did it.</p>
  return <Field label="You are" value={me} set={setMe} placeholder="a name for the log; kept in this browser" />
}

export function Field({ label, value, set, placeholder }: { label: string; value: string; set: (v: string) => void; placeholder?: string }) {
  return (
    <label className="field">
      <span className="muted">{label}</span>
      <input type="text" value={value} maxLength={200} placeholder={placeholder} onChange={(e) => set(e.target.value)} />
    </label>
  )
}

function Choices<T extends string>({ legend, value, set, options }: { legend: string; value: T; set: (v: T) => void; options: readonly (readonly [T, string])[] }) {
  return (
    <fieldset>
      <legend className="muted">{legend}</legend>
      {options.map(([v, label]) => (
        <label key={v} className="check">
          <input type="radio" name={legend} checked={v === value} onChange={() => set(v)} /> {label}
        </label>
      ))}
    </fieldset>
  )
}
