import { notifyManager, useQueryClient, type QueryClient, type QueryKey } from '@tanstack/react-query'
import { useCallback, useEffect, useState, useSyncExternalStore } from 'react'
import { ApiError } from '../api/client'
import { calledBack, staleOf, waitingOf, type Stale } from '../lib/asked'
import { ago } from '../lib/format'

const active = (cache: QueryClient) => cache.getQueryCache().findAll({ type: 'active', predicate: (q) => !q.isDisabled() })

/** The state of the page's questions; text is what of it is told apart. */
function useQuestions<T>(of: (cache: QueryClient) => T, text: (value: T) => string): T {
  const cache = useQueryClient()
  const subscribe = useCallback((changed: () => void) => cache.getQueryCache().subscribe(notifyManager.batchCalls(changed)), [cache])
  useSyncExternalStore(subscribe, () => text(of(cache)))
  return of(cache)
}

/** That the page could not be asked for anew, so that what it shows is old. */
export function useStale(): Stale | undefined {
  return useQuestions(
    (cache) => staleOf(active(cache)),
    (s) => (s ? s.error.message + s.at + JSON.stringify(s.keys) : ''),
  )
}

/** The clock, each second while it is wanted. */
function useSeconds(on: boolean): number {
  const [now, setNow] = useState(Date.now)
  useEffect(() => {
    if (!on) return
    setNow(Date.now())
    const t = setInterval(() => setNow(Date.now()), 1000)
    return () => clearInterval(t)
  }, [on])
  return now
}

const seconds = (ms: number) => Math.max(Math.round(ms / 1000), 1) + '\u202fs'
const clock = (ms: number) => new Date(ms).toLocaleTimeString('en-GB')

/** Below each page: that its questions fail, last long or were called back. It lies over the page, so that nothing moves. */
export function Asked() {
  const stale = useStale()
  const waiting = useQuestions(
    (cache) => waitingOf(active(cache)).map((q) => q.queryKey),
    (keys) => JSON.stringify(keys),
  )
  const back = useQuestions(
    (cache) => calledBack(active(cache)).map((q) => q.queryKey),
    (keys) => JSON.stringify(keys),
  )
  if (stale) return <Old stale={stale} />
  if (waiting.length > 0) return <Waiting key={JSON.stringify(waiting[0])} keys={waiting} />
  if (back.length > 0) return <Back keys={back} />
  return null
}

function Old({ stale }: { stale: Stale }) {
  const [again, asking] = useAgain(stale.keys)
  const now = useSeconds(true)
  const e = stale.error instanceof ApiError ? stale.error : undefined
  return (
    <section className="asked bad" aria-label="Not refreshed">
      {/* The age stands outside: an alert that changes is read aloud each time. */}
      <p role="alert">
        <b>This page is not refreshed: {stale.error.message}.</b> {e?.hint && <span>{e.hint[0]!.toUpperCase() + e.hint.slice(1)}. </span>}
        {e?.question && (
          <span className="small">
            <code>GET {e.question.length > 120 ? e.question.slice(0, 119) + '…' : e.question}</code>
            {e.status > 0 && <> · HTTP {e.status}</>}
          </span>
        )}
      </p>
      {stale.at > 0 && (
        <span>
          What is shown is of {clock(stale.at)}, {ago(stale.at + '000000', new Date(now))}.
        </span>
      )}
      <button type="button" className="pick" onClick={again} disabled={asking}>
        {asking ? 'Asking…' : 'Ask again'}
      </button>
    </section>
  )
}

const SLOW_MS = 1000

function Waiting({ keys }: { keys: readonly QueryKey[] }) {
  const cache = useQueryClient()
  const [began] = useState(Date.now)
  const [slow, setSlow] = useState(false)
  useEffect(() => {
    const t = setTimeout(() => setSlow(true), SLOW_MS)
    return () => clearTimeout(t)
  }, [])
  const now = useSeconds(slow)
  if (!slow) return null
  return (
    <section className="asked" aria-label="Asking">
      <p role="status">Asking</p>
      <span>for {seconds(now - began)}</span>
      <button type="button" className="pick" onClick={() => keys.forEach((queryKey) => void cache.cancelQueries({ queryKey, exact: true }))}>
        Cancel
      </button>
    </section>
  )
}

function Back({ keys }: { keys: readonly QueryKey[] }) {
  const [again, asking] = useAgain(keys)
  return (
    <section className="asked" aria-label="Called back">
      <p role="status">The question was called back before it was answered.</p>
      <button type="button" className="pick" onClick={again} disabled={asking}>
        Ask again
      </button>
    </section>
  )
}

function useAgain(keys: readonly QueryKey[]): [() => void, boolean] {
  const cache = useQueryClient()
  const [asking, setAsking] = useState(false)
  const again = () => {
    setAsking(true)
    void Promise.all(keys.map((queryKey) => cache.refetchQueries({ queryKey, exact: true, type: 'active' }))).finally(() => setAsking(false))
  }
  return [again, asking]
}
