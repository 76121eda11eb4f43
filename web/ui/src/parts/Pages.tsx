import type { ReactNode } from 'react'
import { useLocation } from 'wouter'
import { count } from '../lib/format'
import { pageOf } from '../lib/pages'
import { Link } from './Link'

interface PagesProps {
  /** Rows before those that are shown, how many are shown, and all there are. */
  skip: number
  shown: number
  total: number
  /** Rows of a page. */
  size: number
  /** What they are, in words. */
  what: string
  /** Gets what the URL says as skip; nothing on the first page. */
  go: (skip: string) => void
}

/** Which rows of a list are shown, and the ways to those before and behind them. */
export function Pages({ skip, shown, total, size, what, go }: PagesProps) {
  const p = pageOf(skip, shown, total, size)
  if (!p) return null
  return (
    <p className="pages" role="group" aria-label={'Pages of ' + what}>
      <span className="muted">
        {shown === 0 ? 'none here' : `${count(skip + 1)} to ${count(skip + shown)}`} of {count(total)} {what}
      </span>
      {p.before !== undefined && (
        <button type="button" className="pick" onClick={() => go(p.before ? String(p.before) : '')}>
          Before
        </button>
      )}
      {p.more !== undefined && (
        <button type="button" className="pick" onClick={() => go(String(p.more))}>
          More
        </button>
      )}
    </p>
  )
}

interface OlderProps {
  /** Address of the first page; empty on it. */
  first: string
  /** What leads there, in words. */
  firstWord?: string
  /** Address of the next page; empty on the last. */
  next: string
  nextWord: string
  /** The answer that is shown is of another page. */
  stale: boolean
  /** What else stands there. */
  children?: ReactNode
}

/** The ways to the first and the next page of a list that goes on by a mark. */
export function Older({ first, firstWord = 'Newest', next, nextWord, stale, children }: OlderProps) {
  const [, go] = useLocation()
  if (!first && !next && !children) return null
  return (
    <p className="pages">
      {children}
      {first && <Link to={first}>{firstWord}</Link>}
      {next && (
        <button type="button" className="pick" disabled={stale} onClick={() => go(next)}>
          {nextWord}
        </button>
      )}
    </p>
  )
}
