import type { CriticalShare, Journey } from '../../api/types'
import { count, duration, share } from '../../lib/format'
import { fillOf, PARTS } from '../../lib/parts'
import { Swatch } from '../../parts/HopBar'

const BY = ['part', 'topic', 'service'] as const
export type By = (typeof BY)[number]

const LABELS: Record<string, string> = { work: 'Other work', gap: 'Unknown' }

function label(s: CriticalShare): string {
  return s.by === 'part' ? (PARTS.find((p) => p.name === s.name)?.label ?? LABELS[s.name] ?? s.name) : s.name
}

function fill(s: CriticalShare): string {
  const p = s.by === 'part' ? PARTS.find((x) => x.name === s.name) : undefined
  return p ? fillOf(p) : s.by === 'part' && s.name === 'gap' ? 'none' : 'var(--faint)'
}

const MOST = 8
/** Below this share it is counted, not named. */
const LEAST = 0.005

/** Whose time the critical path is. Each share leads to the row of its longest stretch. */
export function Path({ journey, by, setBy, all, setAll, shown, setShown, select }: { journey: Journey; by: By; setBy: (b: By) => void; all: boolean; setAll: (on: boolean) => void; shown: boolean; setShown: (on: boolean) => void; select: (row: string) => void }) {
  const c = journey.critical
  if (c.segments.length === 0 || c.totalNs <= 0) return null
  const list = c.shares.filter((s) => s.by === by)
  const positive = list.filter((s) => s.ns > 0)
  const sum = positive.reduce((a, s) => a + s.ns, 0)
  // In time order, as on a row; topics and services by their size.
  const order = by === 'part' ? [...PARTS.map((p) => p.name as string), 'work', 'gap'] : []
  const drawn = by === 'part' ? [...positive].sort((a, b) => order.indexOf(a.name) - order.indexOf(b.name)) : positive
  const large = list.filter((s, i) => i === 0 || Math.abs(s.share) >= LEAST).slice(0, MOST)
  const named = all ? list : large
  const rest = list.filter((s) => !named.includes(s))
  let at = 0
  return (
    <section className="whose" aria-label="Critical path">
      <div className="top">
        <h2>Critical path</h2>
        <b>{duration(c.totalNs)}</b>
        <span className="muted">
          {by === 'topic' && 'within topics; the rest lies outside of hops'}
          {by === 'service' && 'of services; the rest lay in the broker'}
        </span>
        <span className="push viewpick" role="group" aria-label="Shares by">
          {BY.map((b) => (
            <button key={b} type="button" className={'pick' + (b === by ? ' on' : '')} aria-pressed={b === by} onClick={() => setBy(b)}>
              {b}
            </button>
          ))}
        </span>
        <button type="button" className={'pick' + (shown ? ' on' : '')} aria-pressed={shown} onClick={() => setShown(!shown)} title="Mark it on the rows: press p">
          On the rows
        </button>
      </div>
      <svg className="bar1" viewBox="0 0 1000 12" preserveAspectRatio="none" role="img" aria-label={`Critical path by ${by}: ` + list.map((s) => `${label(s)} ${share(s.share)}`).join(', ')}>
        {drawn.map((s) => {
          const x = at
          const w = (s.ns / Math.max(sum, c.totalNs)) * 1000
          at += w
          return <rect key={s.name} x={x} y="0" width={Math.max(w - (by === 'part' ? 0 : 2), 0.5)} height="12" fill={fill(s)} className={s.name === 'gap' ? 'unknown' : ''} />
        })}
      </svg>
      <dl>
        {named.map((s) => (
          <div key={s.name}>
            <dt>
              {by === 'part' && s.name !== 'gap' && s.name !== 'work' && <Swatch part={s.name} />} {label(s)}
            </dt>
            <dd>
              <button type="button" className="linkish" onClick={() => select(s.row)} title="To its longest stretch">
                {share(s.share)}
              </button>{' '}
              <span className={s.ns < 0 ? 'bad' : 'muted'}>{duration(s.ns)}</span>
            </dd>
          </div>
        ))}
        {rest.length > 0 && (
          <div title={rest.map((s) => `${label(s)} ${duration(s.ns)}`).join(', ')}>
            <dt>
              <button type="button" className="linkish" aria-expanded={false} onClick={() => setAll(true)}>
                {count(rest.length)} smaller
              </button>
            </dt>
            <dd className="muted">{duration(rest.reduce((ns, s) => ns + s.ns, 0))}</dd>
          </div>
        )}
        {all && large.length < list.length && (
          <div>
            <dt>
              <button type="button" className="linkish" aria-expanded={true} onClick={() => setAll(false)}>
                Only the largest
              </button>
            </dt>
          </div>
        )}
      </dl>
    </section>
  )
}
