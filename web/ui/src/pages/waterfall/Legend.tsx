import type { PartTotal } from '../../api/types'
import { count, duration } from '../../lib/format'
import { PARTS } from '../../lib/parts'
import { Swatch } from '../../parts/HopBar'

/** What the colours mean, with the sum of each part over the journey. */
export function Legend({ totals }: { totals: readonly PartTotal[] | undefined }) {
  const by = new Map((totals ?? []).map((t) => [t.name, t]))
  return (
    <dl className="legend" aria-label="Parts, summed over this journey">
      {PARTS.filter((p) => p.name !== 'retry' || (by.get('retry')?.ns ?? 0) !== 0).map((p) => {
        const t = by.get(p.name)
        return (
          <div key={p.name} title={p.explain}>
            <dt>
              <Swatch part={p.name} /> {p.label}
            </dt>
            <dd>
              {!t || t.known === 0 ? t && t.unknown > 0 ? <span className="unknown-word">unknown</span> : 'none' : duration(t.ns)}
              {t && t.known > 0 && t.unknown > 0 && <span className="muted"> + {count(t.unknown)} unknown</span>}
            </dd>
          </div>
        )
      })}
    </dl>
  )
}
