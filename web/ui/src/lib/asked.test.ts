import { QueryClient, QueryObserver } from '@tanstack/react-query'
import { describe, expect, it } from 'vitest'
import { ApiError } from '../api/client'
import { calledBack, staleOf, waitingOf } from './asked'

const down = new ApiError('network', 'the server does not answer', '', '/api/v1/lag', 0)

/** A page that asks these, each a list of what comes of it, one after another. */
async function page(questions: Record<string, (() => Promise<unknown>)[]>) {
  const cache = new QueryClient({ defaultOptions: { queries: { retry: false } } })
  for (const [name, answers] of Object.entries(questions)) {
    let n = 0
    const observer = new QueryObserver(cache, { queryKey: [name], queryFn: () => answers[Math.min(n++, answers.length - 1)]!() })
    observer.subscribe(() => {})
    await new Promise((done) => setTimeout(done))
    for (let i = 1; i < answers.length; i++) await observer.refetch()
  }
  await new Promise((done) => setTimeout(done))
  return { cache, active: cache.getQueryCache().findAll({ type: 'active' }) }
}
const yes = () => Promise.resolve(1)
const no = () => Promise.reject(down)

describe('what a page says of its questions', () => {
  it('is nothing while they are answered, and nothing of one that the page itself says failed', async () => {
    expect(staleOf((await page({ lag: [yes] })).active)).toBeUndefined()
    expect(staleOf((await page({ lag: [no] })).active)).toBeUndefined()
  })

  it('is that it is old once they fail', async () => {
    const { active } = await page({ lag: [yes, no], names: [yes] })
    const stale = staleOf(active)
    expect(stale?.error.message).toBe('the server does not answer')
    expect(stale?.at).toBe(active.find((q) => q.queryKey[0] === 'lag')!.state.dataUpdatedAt)
    expect(stale?.keys).toEqual([['lag']])
  })

  it('is that it is old when what asks for newer rows fails, also while that is asked again', async () => {
    const { cache, active } = await page({ traces: [yes], 'traces-since': [no] })
    expect(staleOf(active)?.at).toBe(active[0]!.state.dataUpdatedAt)
    void cache.refetchQueries({ queryKey: ['traces-since'] })
    expect(staleOf(active)?.keys).toEqual([['traces-since']])
  })

  it('is that it waits, until it is answered or called back', async () => {
    const never = () => new Promise(() => {})
    const { cache, active } = await page({ topology: [never], names: [never] })
    expect(waitingOf(active).map((q) => q.queryKey[0])).toEqual(['topology'])
    expect(calledBack(active)).toEqual([])
    await cache.cancelQueries({ queryKey: ['topology'] })
    expect(waitingOf(active)).toEqual([])
    expect(calledBack(active).map((q) => q.queryKey[0])).toEqual(['topology'])
  })
})
