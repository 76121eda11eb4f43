import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'
import { useSearch } from 'wouter'
import { act, ask } from '../../api/client'
import type { EventDetail, IssueDetail, IssueHash } from '../../api/types'
import { ago, fullTime, short } from '../../lib/format'
import { useMe } from '../../lib/me'
import { useCan } from '../../lib/session'
import { Link } from '../../parts/Link'
import { Plan } from '../../parts/Plan'
import { Signed } from '../issues/Actions'
import { groupingOf, summaryOf, tally, type Grouping, type Part, type Variant } from './why'

/** The reason in two lines, for the side. */
export function WhyShort({ d, shown }: { d: IssueDetail; shown: string | undefined }) {
  const hash = d.hashes.find((h) => h.hash === shown) ?? d.hashes[0]
  const g = groupingOf(hash?.tree)
  const s = g && summaryOf(g)
  return (
    <>
      {g && g.fingerprint.length > 0 && (
        <div>
          fingerprint <span className="mono">{g.fingerprint.join(', ')}</span>
          {g.rule && <span className="muted"> by a rule</span>}
        </div>
      )}
      {s && (
        <>
          {s.calls.length > 0 && (
            <div>
              {s.ownCalls ? 'in-app calls' : 'calls'} <span className="mono">{s.calls.slice(0, 4).join(' ← ')}</span>
              {s.calls.length > 4 && <span className="muted"> and {s.calls.length - 4} more</span>}
            </div>
          )}
          {s.types.length > 0 && (
            <div>
              {s.types.length === 1 ? 'type' : 'types'} <span className="mono">{s.types.slice(0, 4).join(' ← ')}</span>
            </div>
          )}
          {s.others.slice(0, 3).map((o) => (
            <div key={o}>
              <span className="mono">{o}</span>
            </div>
          ))}
          {s.ignored.map((i) => (
            <div key={i} className="muted">
              not by the {i}
            </div>
          ))}
        </>
      )}
      {!g && <div className="muted">Nobody told; their fingerprint is equal.</div>}
      <p>
        <a href="#why">{d.hashes.length > 1 ? `All ${d.hashes.length} hashes, part by part` : 'Part by part'}</a>
      </p>
    </>
  )
}

/** Each hash of an issue with the parts that it was made of, and the way to take some out. */
export function Why({ d, event, project }: { d: IssueDetail; event: EventDetail | undefined; project: string | undefined }) {
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set())
  const [plan, setPlan] = useState<readonly IssueHash[]>()
  const several = d.hashes.length > 1
  const can = useCan('member') && several
  const mine = event?.event.fingerprint
  const choose = (h: string) => {
    const next = new Set(chosen)
    if (!next.delete(h)) next.add(h)
    setChosen(next)
  }
  const takes = d.hashes.filter((h) => chosen.has(h.hash))
  return (
    <section className="panel why" aria-label="Why grouped" id="why">
      <div className="fr head">
        <b>Why these are one issue</b>
        {can && (
          <span className="turn">
            <span className="muted">{takes.length === 0 ? 'choose hashes to take out' : takes.length === d.hashes.length ? 'one has to stay' : takes.length + ' chosen'}</span>
            <button type="button" className="pick" disabled={takes.length === 0 || takes.length === d.hashes.length} onClick={() => setPlan(takes)}>
              Take out…
            </button>
          </span>
        )}
      </div>
      {d.hashes.map((h) => (
        <div key={h.hash} className="hash">
          {can && <input type="checkbox" aria-label={'Choose hash ' + short(h.hash)} checked={chosen.has(h.hash)} onChange={() => choose(h.hash)} />}
          <details open={!several || h.hash === mine}>
            <summary>
              <span className="mono">{short(h.hash)}</span> <span className="muted">{h.version}</span> {several && h.hash === mine && <span className="tag">of this event</span>} {h.former && <span className="tag">from issue {h.former}</span>}{' '}
              <span className="muted small" title={fullTime(h.firstSeen)}>
                since {ago(h.firstSeen)}
              </span>
            </summary>
            <Tree g={groupingOf(h.tree)} />
          </details>
        </div>
      ))}
      {event?.payload === 'stored' && project && <Today event={event.event.id} project={project} />}
      {plan && <UnmergePlan hashes={plan} issue={d.issue.id} close={() => setPlan(undefined)} done={() => setChosen(new Set())} />}
    </section>
  )
}

/** Whether the rules of today would group the event in another way. */
function Today({ event, project }: { event: string; project: string }) {
  const today = useQuery({
    queryKey: ['grouping', project, event],
    queryFn: ({ signal }) => ask<'/api/v1/projects/{id}/events/{event}/grouping'>(`/projects/${project}/events/${event}/grouping`, {}, signal),
    staleTime: 60_000,
    retry: false,
  })
  const g = today.data
  if (!g) return null
  if (g.hash === g.stored) return <p className="pad muted">The rules of today give this event the same hash.</p>
  return (
    <div className="pad">
      <p className="zero">
        <span className="tag warn">rules have changed</span> Today this event would get <span className="mono">{short(g.hash)}</span> instead of <span className="mono">{short(g.stored)}</span>; what comes like it goes there.
      </p>
      <details>
        <summary>How it is grouped today</summary>
        <Tree g={groupingOf(g.tree)} />
      </details>
    </div>
  )
}

const STRATEGIES: Record<string, string> = {
  'chained-exception': 'by its chain of exceptions',
  threads: 'by the stack of its thread',
  message: 'by its message',
  security: 'by what was violated',
  fallback: 'by nothing that tells it apart',
}

function Tree({ g }: { g: Grouping | undefined }) {
  if (!g) return <p className="muted">Nobody told how it was made; the fingerprint of its events is equal.</p>
  return (
    <>
      {g.fingerprint.length > 0 && (
        <p>
          Fingerprint <span className="mono">{g.fingerprint.join(', ')}</span>
          {g.rule ? (
            <>
              , by the rule <code>{g.rule}</code>
            </>
          ) : (
            ', as the program asked'
          )}
        </p>
      )}
      {g.variants.map((v, i) => (v.decides ? <Decides key={i} v={v} strategy={g.strategy} /> : <Other key={i} v={v} />))}
    </>
  )
}

function Decides({ v, strategy }: { v: Variant; strategy: string }) {
  const t = tally(v.parts)
  return (
    <>
      <p className="muted">
        {v.name === 'app' ? "The program's own calls decide" : v.name === 'system' ? 'All calls decide' : v.name ? `The variant ${v.name} decides` : 'What counts'}
        {STRATEGIES[strategy] && ', ' + STRATEGIES[strategy]}: {t.counts} {t.counts === 1 ? 'part counts' : 'parts count'}
        {t.not > 0 && `, ${t.not} ${t.not === 1 ? 'does' : 'do'} not`}.
      </p>
      <Parts parts={v.parts} />
    </>
  )
}

function Other({ v }: { v: Variant }) {
  return (
    <details className="other">
      <summary>
        Not used: {v.name} {v.hint && <span className="muted">({v.hint})</span>}
      </summary>
      <Parts parts={v.parts} />
    </details>
  )
}

/** Few enough to be read at once. */
const FEW = 40

function Parts({ parts, within = true }: { parts: readonly Part[]; within?: boolean }) {
  const [all, setAll] = useState(false)
  return (
    <ul className="parttree">
      {parts.slice(0, all ? parts.length : FEW).map((p, i) => (
        <PartLine key={i} p={p} within={within} />
      ))}
      {!all && parts.length > FEW && (
        <li>
          <button type="button" className="linkish" onClick={() => setAll(true)}>
            Show {parts.length - FEW} more
          </button>
        </li>
      )}
    </ul>
  )
}

/** One part; one whose parts are all leaves, as a call, is one line. */
function PartLine({ p, within }: { p: Part; within: boolean }) {
  const counts = within && p.counts
  const flat = p.parts.length > 0 && p.parts.every((x) => x.parts.length === 0) && p.id === 'frame'
  return (
    <li>
      <div className={'part' + (counts ? '' : ' out')}>
        <span className="mark" aria-hidden="true">
          {counts ? '●' : '○'}
        </span>
        <span className="muted id">{p.id}</span>
        <span className="what">
          <span className="only-read">{counts ? 'counts: ' : 'does not count: '}</span>
          {p.value && <span className="mono value">{p.value}</span>}
          {flat &&
            p.parts.map((x, i) => (
              <span key={i} className={counts && x.counts ? '' : 'out'}>
                <span className="mono value">{x.value}</span>
                {counts && !x.counts && x.hint && <span className="muted small"> {x.hint}</span>}
              </span>
            ))}
          {p.hint && <span className="muted small hint">{p.hint}</span>}
        </span>
      </div>
      {!flat && p.parts.length > 0 && <Parts parts={p.parts} within={counts} />}
    </li>
  )
}

function UnmergePlan({ issue, hashes, close, done }: { issue: string; hashes: readonly IssueHash[]; close: () => void; done: () => void }) {
  const cache = useQueryClient()
  const project = new URLSearchParams(useSearch()).get('project') ?? undefined
  const { me, setMe, fixed } = useMe()
  const from = hashes[0]?.former ?? ''
  const former = from !== '' && hashes.every((h) => h.former === from)
  const unmerge = useMutation({
    mutationFn: () => act<'/api/v1/issues/{id}/unmerge', 'post'>('post', `/issues/${issue}/unmerge`, { project }, { hashes: hashes.map((h) => h.hash), former, ...(me ? { by: me } : {}) }),
    onSuccess: async () => {
      await cache.invalidateQueries()
      done()
    },
  })
  const to = unmerge.data?.issue
  return (
    <Plan title={hashes.length === 1 ? 'Take one hash out' : `Take ${hashes.length} hashes out`} verb="Take out" busy={unmerge.isPending} error={unmerge.error} done={!!to} close={close} go={() => unmerge.mutate()}>
      {to ? (
        <p>
          Their events are in <Link to={'/issues/' + to}>issue {to}</Link> now.
        </p>
      ) : (
        <>
          <p>
            The events of {hashes.length === 1 ? 'this hash' : 'these hashes'} leave this issue for {former ? `issue ${from}, which they were merged from` : 'a new one'}. Both have exact counts at once. Undo: Merge.
          </p>
          <ul className="plainlist">
            {hashes.map((h) => (
              <li key={h.hash} className="mono">
                {h.hash}
              </li>
            ))}
          </ul>
          <Signed me={me} setMe={setMe} fixed={fixed} />
        </>
      )}
    </Plan>
  )
}
