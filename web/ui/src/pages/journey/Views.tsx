import type { ReactNode } from 'react'
import { useLocation } from 'wouter'
import { withParams } from '../../lib/filters'
import { Link } from '../../parts/Link'

/** Other pictures of a journey than the waterfall. */
export const VIEWS = ['lanes', 'table'] as const

export type View = (typeof VIEWS)[number] | undefined

const ALL: readonly [View, string][] = [
  [undefined, 'Waterfall'],
  ['lanes', 'Lanes by topic'],
  ['table', 'Table'],
]

export function nextView(v: View): string {
  return ALL[(ALL.findIndex(([x]) => x === v) + 1) % ALL.length]![0] ?? ''
}

/** Which picture of the journey is shown: press v. */
export function Views({ view, search, children }: { view: View; search: string; children?: ReactNode }) {
  const [path] = useLocation()
  return (
    <nav className="views" aria-label="Pictures of the journey">
      {ALL.map(([v, label]) => (
        <Link key={label} to={path + withParams(search, { view: v ?? '', project: '' })} aria-current={v === view ? 'true' : undefined}>
          {label}
        </Link>
      ))}
      <kbd aria-hidden="true">v</kbd>
      {children}
    </nav>
  )
}
