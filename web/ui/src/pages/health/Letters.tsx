import { keepPreviousData, useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'
import { useLocation, useSearch } from 'wouter'
import { act, ask } from '../../api/client'
import type { DeadLetter, DeadLetterOutcome, Finding as FindingData, Status } from '../../api/types'
import { withParams } from '../../lib/filters'
import { ago, bytes, count, fullTime } from '../../lib/format'
import { useTitle } from '../../lib/hooks'
import { useKeys, useRowKeys } from '../../lib/keys'
import { useMe } from '../../lib/me'
import { useCan } from '../../lib/session'
import { Export } from '../../parts/Export'
import { Finding } from '../../parts/Finding'
import { Link } from '../../parts/Link'
import { Older } from '../../parts/Pages'
import { Plan } from '../../parts/Plan'
import { Shell } from '../../parts/Shell'
import { Empty, Failed, Ghosts } from '../../parts/States'
import { letterKey, OUTCOMES, parseLetter } from './health'

const STATES: [string, string][] = [
  ['open', 'Open'],
  ['retried', 'Retried'],
  ['discarded', 'Discarded'],
  ['retrying', 'Being retried'],
  ['any', 'All'],
]
const PAGE = 50

/** The records that no stage could take: why, and what is to become of them. */
export function Letters({ status }: { status: Status | undefined }) {
  const search = useSearch()
  const [path, go] = useLocation()
  const q = new URLSearchParams(search)
  const topic = q.get('topic') ?? ''
  const state = q.get('state') || 'open'
  const before = q.get('before') ?? ''
  const open = parseLetter(q.get('letter') ?? '')
  const [picked, setPicked] = useState<ReadonlySet<string>>(new Set())
  const [plan, setPlan] = useState<'retry' | 'discard'>()
  const can = useCan('admin')
  const set = (change: Record<string, string>) => go(path + withParams(search, change))
  const letters = useQuery({
    queryKey: ['dead-letters', topic, state, before],
    queryFn: ({ signal }) => ask<'/api/v1/dead-letters'>('/dead-letters', { topic, state: state === 'open' ? undefined : state, before, limit: PAGE }, signal),
    placeholderData: keepPreviousData,
  })
  const d = letters.data
  const list = d?.letters ?? []
  const chosen = list.filter((l) => picked.has(letterKey(l)))
  const toggle = (key: string) => {
    const next = new Set(picked)
    if (!next.delete(key)) next.add(key)
    setPicked(next)
  }
  useRowKeys()
  useKeys({
    x: () => {
      const at = document.activeElement?.closest('tr')?.getAttribute('data-letter')
      if (at && can) toggle(at)
    },
  })
  const openInAll = d?.topics.reduce((n, t) => n + t.open, 0) ?? 0
  const found = d && findingOf(openInAll, d.topics.find((t) => t.open > 0)?.topic, list[0])
  useTitle('Dead letters')
  return (
    <Shell page="Health" status={status} back="/health">
      <Finding finding={found} failed={letters.error && 'Dead letters cannot be shown'}>
        <Link to="/health" className="tag">
          Health
        </Link>
      </Finding>
      <div className="filters" role="group" aria-label="Filters">
        {STATES.map(([value, label]) => (
          <button key={value} type="button" className={'pick' + (state === value ? ' on' : '')} aria-pressed={state === value} onClick={() => set({ state: value === 'open' ? '' : value, before: '' })}>
            {label} {value === 'open' && d && <span className="muted">{count(openInAll)}</span>}
          </button>
        ))}
        <select className={'pick' + (topic ? ' on' : '')} aria-label="Topic" value={topic} onChange={(e) => set({ topic: e.target.value, before: '' })}>
          <option value="">any topic</option>
          {topic && !d?.topics.some((t) => t.topic === topic) && <option>{topic}</option>}
          {d?.topics.map((t) => (
            <option key={t.topic} value={t.topic}>
              {t.topic} ({t.open} of {t.kept})
            </option>
          ))}
        </select>
      </div>
      {chosen.length > 0 && (
        <div className="chosen">
          <b>{chosen.length === 1 ? '1 letter chosen' : count(chosen.length) + ' letters chosen'}</b>
          <div className="actions" role="group" aria-label="Actions">
            <button type="button" className="pick" onClick={() => setPlan('retry')}>
              Retry…
            </button>
            <button type="button" className="pick" onClick={() => setPlan('discard')}>
              Discard…
            </button>
          </div>
          <button type="button" className="linkish" onClick={() => setPicked(new Set())}>
            Choose none
          </button>
        </div>
      )}
      {list.length > 0 && (
        <p className="pages">
          <Export path="/dead-letters" params={{ topic, state: state === 'open' ? undefined : state }} what="letters" />
        </p>
      )}
      {letters.error && !d ? (
        <Failed error={letters.error} retry={() => void letters.refetch()} retrying={letters.isFetching} />
      ) : (
        <div className={open ? 'split' : 'stacked'}>
          {d && list.length === 0 ? (
            <Empty title={state === 'open' ? 'No letter waits for anybody' : 'No letter is here'}>
              <p>
                A record that a stage can never take is put aside with the reason, and the stage goes on. {topic || state !== 'open' ? <Link to="/health/letters?state=any">All letters that are kept</Link> : 'Retention deletes letters after a week.'}
                {d.next && ' There are more behind this page.'}
              </p>
            </Empty>
          ) : (
            <div className={'panel scroll' + (letters.isPlaceholderData ? ' stale' : '')}>
              <table aria-label="Dead letters" className="letters">
                <thead>
                  <tr>
                    {can && (
                      <th>
                        <span className="only-read">Chosen</span>
                      </th>
                    )}
                    <th>Letter</th>
                    <th>Reason</th>
                    <th className="wide">Stage</th>
                    <th className="num wide">Size</th>
                    <th className="num">Put aside</th>
                  </tr>
                </thead>
                <tbody>
                  {!d ? (
                    <Ghosts rows={8} columns={can ? 6 : 5} />
                  ) : (
                    list.map((l) => {
                      const key = letterKey(l)
                      return (
                        <tr key={key} data-letter={key} className={picked.has(key) || (open && letterKey(open) === key) ? 'sel' : ''}>
                          {can && (
                            <td className="choose">
                              <input type="checkbox" aria-label={'Choose ' + key} checked={picked.has(key)} onChange={() => toggle(key)} />
                            </td>
                          )}
                          <td>
                            <Link to={withParams(search, { letter: key })} data-row className="rowlink mono">
                              {key}
                            </Link>
                            <div className="muted small">
                              {l.state !== 'open' && <span className={'tag ' + (l.state === 'retried' ? 'ok' : '')}>{l.state}</span>} from {l.originalTopic}/{l.originalPartition < 0 ? '?' : l.originalPartition}@{l.originalOffset < 0 ? '?' : l.originalOffset}
                            </div>
                          </td>
                          <td className="reason">{l.reason || <span className="faint">not told</span>}</td>
                          <td className="wide">{l.stage}</td>
                          <td className="num wide">{bytes(l.bytes)}</td>
                          <td className="num" title={fullTime(l.putAside)}>
                            {ago(l.putAside)}
                          </td>
                        </tr>
                      )
                    })
                  )}
                </tbody>
              </table>
            </div>
          )}
          {open && <Letter key={letterKey(open)} at={open} close={() => set({ letter: '' })} act={can ? (what) => { setPicked(new Set([letterKey(open)])); setPlan(what) } : undefined} />}
        </div>
      )}
      {d && <Older first={before ? '/health/letters' + withParams(search, { before: '' }) : ''} next={d.next ? '/health/letters' + withParams(search, { before: d.next }) : ''} nextWord="Older letters" stale={letters.isPlaceholderData} />}
      {plan && (
        <LetterPlan
          what={plan}
          letters={chosen.length > 0 ? chosen : open ? [open] : []}
          close={() => setPlan(undefined)}
          done={() => setPicked(new Set())}
        />
      )}
    </Shell>
  )
}

function findingOf(open: number, topic: string | undefined, newest: DeadLetter | undefined): FindingData {
  const text = (s: string, strong = false) => ({ kind: 'text' as const, text: s, strong })
  if (open === 0) return { rule: 'none', tone: 'ok', title: [text('No dead letter waits for anybody')], text: [] }
  return {
    rule: 'open', tone: 'warn',
    title: [{ kind: 'count', value: open }, text(open === 1 ? ' dead letter waits for somebody' : ' dead letters wait for somebody')],
    text: [...(newest ? [text('The last one: '), text(newest.reason || 'no reason is told', true), text('. ')] : []), ...(topic ? [text('Most lie on '), text(topic, true), text('.')] : [])],
  }
}

type Name = Pick<DeadLetter, 'topic' | 'partition' | 'offset'>

function Letter({ at, close, act: begin }: { at: Name; close: () => void; act: ((what: 'retry' | 'discard') => void) | undefined }) {
  useKeys({ Escape: close })
  const one = useQuery({
    queryKey: ['dead-letter', letterKey(at)],
    queryFn: ({ signal }) => ask<'/api/v1/dead-letters/{topic}/{partition}/{offset}'>(`/dead-letters/${encodeURIComponent(at.topic)}/${at.partition}/${at.offset}`, {}, signal),
  })
  const d = one.data
  const l = d?.letter
  return (
    <aside className="panel side" aria-label={'Dead letter ' + letterKey(at)}>
      <section>
        <div className="withact">
          <h2 className="name mono">{letterKey(at)}</h2>
          <button type="button" className="linkish" onClick={close}>
            Close
          </button>
        </div>
        {one.error && !d && <Failed error={one.error} retry={() => void one.refetch()} retrying={one.isFetching} />}
        {!d && !one.error && <p className="ghost">Asking…</p>}
        {l && (
          <>
            <p>{l.reason}</p>
            <dl className="kv">
              <dt>State</dt>
              <dd>
                {l.state}
                {l.by && ' by ' + l.by}
                {l.changed && <span title={fullTime(l.changed)}>, {ago(l.changed)}</span>}
              </dd>
              <dt>Stage</dt>
              <dd>{l.stage ? <Link to={'/health?stage=' + encodeURIComponent(l.stage)}>{l.stage}</Link> : 'not told'}</dd>
              <dt>From</dt>
              <dd className="mono">
                {l.originalTopic}/{l.originalPartition < 0 ? '?' : l.originalPartition}@{l.originalOffset < 0 ? '?' : l.originalOffset}
              </dd>
              <dt>Put aside</dt>
              <dd>{fullTime(l.putAside)}</dd>
              <dt>Its own time</dt>
              <dd>{fullTime(l.time)}</dd>
              <dt>Value</dt>
              <dd>
                {bytes(l.bytes)}
                {d.wholeBytes > l.bytes && ` of ${bytes(d.wholeBytes)}; the rest was cut`}
              </dd>
              {l.retryOf && (
                <>
                  <dt>Retry of</dt>
                  <dd className="mono">{parseLetter(l.retryOf) ? <Link to={'/health/letters?state=any&letter=' + encodeURIComponent(l.retryOf)}>{l.retryOf}</Link> : l.retryOf}</dd>
                </>
              )}
            </dl>
            {begin && <div className="actions" role="group" aria-label="Actions on this letter">
              {l.state !== 'retried' && l.whole && (
                <button type="button" className="pick" onClick={() => begin('retry')}>
                  Retry…
                </button>
              )}
              {l.state === 'open' && (
                <button type="button" className="pick" onClick={() => begin('discard')}>
                  Discard…
                </button>
              )}
            </div>}
            {!l.whole && <p className="muted small">It was cut when it was put aside, so it cannot be put back.</p>}
          </>
        )}
      </section>
      {d && (
        <section>
          <h3>Headers</h3>
          {d.headers.length === 0 && <p className="muted">none</p>}
          <dl className="kv">
            {d.headers.map((h, i) => (
              <div key={i} className="pair">
                <dt className="mono">{h.key}</dt>
                <dd className="mono">{h.value === '[scrubbed]' ? <span className="tag">scrubbed</span> : h.value}</dd>
              </div>
            ))}
          </dl>
          {d.moreHeaders > 0 && <p className="muted small">and {count(d.moreHeaders)} more</p>}
        </section>
      )}
      {d && (
        <section>
          <h3>{d.binary ? 'Text in its bytes' : 'Value'}</h3>
          {d.preview ? (
            <pre className="preview" tabIndex={0} aria-label="Preview of the value">
              {d.preview}
            </pre>
          ) : (
            <p className="muted">{d.binary ? 'No text is in it.' : 'It is empty.'}</p>
          )}
          <p className="muted small">
            {d.cut ? 'Not all of it is shown. ' : ''}What looks like a secret is scrubbed. <code>hoptrace dlq show {letterKey(at)}</code>
          </p>
        </section>
      )}
    </aside>
  )
}

function LetterPlan({ what, letters, close, done }: { what: 'retry' | 'discard'; letters: readonly Name[]; close: () => void; done: () => void }) {
  const cache = useQueryClient()
  const { me } = useMe()
  // As they were when the plan was opened: what is done takes them off the list below.
  const [named] = useState(letters)
  const change = useMutation({
    mutationFn: () => {
      const body = { letters: named.map(({ topic, partition, offset }) => ({ topic, partition, offset })), ...(me ? { by: me } : {}) }
      return what === 'retry'
        ? act<'/api/v1/dead-letters/retry', 'post'>('post', '/dead-letters/retry', {}, body)
        : act<'/api/v1/dead-letters/discard', 'post'>('post', '/dead-letters/discard', {}, body)
    },
    onSuccess: () => {
      done()
      for (const key of ['dead-letters', 'dead-letter', 'health']) void cache.invalidateQueries({ queryKey: [key] })
    },
  })
  const n = named.length
  const many = n === 1 ? '1 dead letter' : count(n) + ' dead letters'
  return (
    <Plan
      title={what === 'retry' ? `Retry ${many}` : `Discard ${many}`}
      verb={what === 'retry' ? 'Put back' : 'Discard'}
      busy={change.isPending}
      error={change.error}
      disabled={n === 0}
      done={change.isSuccess}
      close={close}
      go={() => change.mutate()}
    >
      {change.data ? (
        <Outcomes list={change.data.outcomes} />
      ) : (
        <>
          <p>
            {what === 'retry'
              ? 'Each record is written again to the topic that it came from, with its key and headers and one more that names the letter. That is done once for each letter, however often it is asked for.'
              : 'Each letter is noted as discarded and leaves the list of those that wait. Nothing is deleted.'}
          </p>
          <ul className="plainlist mono">
            {named.slice(0, 20).map((l) => (
              <li key={letterKey(l)}>
                {letterKey(l)}
                {what === 'retry' && ' → ' + l.topic.replace(/-dlq$/, '')}
              </li>
            ))}
            {n > 20 && <li>and {count(n - 20)} more</li>}
          </ul>
          <p className="muted">
            {what === 'retry'
              ? 'A record that the stage still cannot take becomes a new letter. It counts as received once more in the ledger. There is no way back, and none is needed.'
              : 'Undo: open it among the discarded and retry it, until retention deletes it.'}
          </p>
        </>
      )}
    </Plan>
  )
}

function Outcomes({ list }: { list: readonly DeadLetterOutcome[] }) {
  return (
    <ul className="plainlist outcomes" aria-label="Outcomes">
      {list.map((o) => (
        <li key={letterKey(o.letter)}>
          <span className={'tag ' + (OUTCOMES[o.outcome]?.tone ?? '')}>{OUTCOMES[o.outcome]?.word ?? o.outcome}</span> <span className="mono">{letterKey(o.letter)}</span> <span className="muted">{o.detail}</span>
        </li>
      ))}
    </ul>
  )
}
