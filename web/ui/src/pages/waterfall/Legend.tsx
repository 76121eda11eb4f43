import type { PartTotal } from '../../api/types'
import { count, duration } from '../../lib/format'
import { PARTS, SETTLE } from '../../lib/parts'
import { Swatch } from '../../parts/HopBar'

/** What the colours mean, with the sum of each part over the journey. What is below zero is counted. */
export function Legend({ totals }: { totals: readonly PartTotal[] | undefined }) {
  const by = new Map((totals ?? []).map((t) => [t.name as string, t]))
  return (
    <dl className="legend" aria-label="Parts, summed over this journey">
      {[...PARTS, SETTLE].filter((p) => p.name !== 'retry' || (by.get('retry')?.ns ?? 0) !== 0).map((p) => {
        const t = by.get(p.name)
        return (
          <div key={p.name} title={p.explain}>
            <dt>
              <Swatch part={p.name} /> {p.label}
            </dt>
            <dd>
              {t && t.known > 0 ? duration(t.ns) : <span className="unknown-word">{t && t.unknown > 0 ? 'unknown' : p.name === 'settle' ? 'not seen' : t ? 'not yet' : 'none'}</span>}
              {t && t.negative > 0 && <span className="bad"> {count(t.negative)} below zero</span>}
              {t && t.known > 0 && t.unknown > 0 && <span className="muted"> + {count(t.unknown)} unknown</span>}
            </dd>
          </div>
        )
      })}
    </dl>
  )
}
