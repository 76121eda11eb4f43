import type { Query, QueryKey } from '@tanstack/react-query'
import { ApiError } from '../api/client'

/** What is needed to know of a question to the server. */
export type Question = Pick<Query, 'queryKey' | 'state'>

/** That what is shown could not be asked for anew. */
export interface Stale {
  error: Error
  /** When the oldest of what is shown was answered, ms; 0 when that is not known. */
  at: number
  keys: readonly QueryKey[]
}

const SINCE = '-since'
const nameOf = (q: Question) => String(q.queryKey[0])

/** A page that shows what was answered before while its questions fail now; undefined when all is fresh, or when the page itself says what failed. */
export function staleOf(active: readonly Question[]): Stale | undefined {
  const failing = active.filter(
    (q) =>
      (q.state.status === 'error' && q.state.data !== undefined) ||
      // What asks for newer rows shows nothing of its own: without it the list beside it looks alive.
      (nameOf(q).endsWith(SINCE) && q.state.dataUpdatedAt === 0 && q.state.errorUpdateCount > 0),
  )
  const first = failing.find((q) => q.state.error) ?? failing[0]
  if (!first) return undefined
  const times = failing.map((q) => q.state.dataUpdatedAt || active.find((b) => nameOf(b) === nameOf(q).replace(SINCE, ''))?.state.dataUpdatedAt || 0).filter((t) => t > 0)
  const error = first.state.error ?? new ApiError('unknown', 'the question for what is new was not answered', '', '', 0)
  return { error, at: times.length > 0 ? Math.min(...times) : 0, keys: failing.map((q) => q.queryKey) }
}

/** Questions that are asked beside the page's own, or that say themselves how long they take. */
const ASIDE = new Set(['status', 'me', 'names', 'complete', 'saved', 'search'])
const own = (q: Question) => !ASIDE.has(nameOf(q)) && !nameOf(q).endsWith(SINCE)

/** Questions that the page waits for and has nothing yet to show of. */
export function waitingOf(active: readonly Question[]): Question[] {
  return active.filter((q) => own(q) && q.state.status === 'pending' && q.state.fetchStatus === 'fetching')
}

/** Questions that were called back before there was an answer. */
export function calledBack(active: readonly Question[]): Question[] {
  return active.filter((q) => own(q) && q.state.status === 'pending' && q.state.fetchStatus === 'idle')
}
