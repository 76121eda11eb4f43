import type { QueryClient } from '@tanstack/react-query'
import type { ReactNode } from 'react'
import { count } from '../lib/format'

/** What came since waits here until somebody wants it, so that nothing moves while one reads. */
export function NewOnes({ many, what, show }: { many: number; what: string; show: () => void }) {
  if (many === 0) return null
  return (
    <button type="button" className="new" onClick={show}>
      {many >= 500 ? '500 or more' : count(many)} new {what}
    </button>
  )
}

/** Rows came, went or moved: they wait here. */
export function Moved({ show, children = 'The order changed' }: { show: () => void; children?: ReactNode }) {
  return (
    <button type="button" className="new" onClick={show}>
      {children}
    </button>
  )
}

/** Asks for the list again, then counts anew. */
export async function showNew(cache: QueryClient, list: 'traces' | 'hops' | 'issues' | 'logs' | 'search') {
  await cache.invalidateQueries({ queryKey: [list] })
  await cache.resetQueries({ queryKey: [list + '-since'] })
}
