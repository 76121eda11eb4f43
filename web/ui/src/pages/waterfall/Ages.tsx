import type { BatchAge, BatchDetail } from '../../api/types'
import { count, duration, plain } from '../../lib/format'
import { fillOf, PARTS } from '../../lib/parts'
import { Swatch } from '../../parts/HopBar'

type Data = BatchDetail['ages']

/** What the ages of one bar are made of, as shares of its height; what is below zero has no height. */
export function layers(bar: Pick<BatchAge, 'parts'>): { name: string; share: number }[] {
  const parts = bar.parts.filter((p) => p.ns > 0)
  const sum = parts.reduce((a, p) => a + p.ns, 0)
  return parts.map((p) => ({ name: p.name, share: p.ns / sum }))
}

const TOP = 18
const HEIGHT = 140

/** A distribution of ages: how many, and of which parts. Heights are counts. */
export function Ages({ ages, width }: { ages: Data; width: number }) {
  const most = Math.max(1, ...ages.buckets.map((b) => b.count))
  const W = width
  const left = 44
  const step = (W - left) / Math.max(1, ages.buckets.length)
  const y = (n: number) => TOP + HEIGHT - (n / most) * HEIGHT
  const last = ages.buckets.findLast((b) => b.fromNs > 0)
  const factor = last ? last.toNs / last.fromNs : 0
  const every = Math.max(1, Math.ceil(66 / step))
  return (
    <figure style={{ margin: 0 }}>
      <svg
        viewBox={`0 0 ${W} ${TOP + HEIGHT + 26}`}
        role="img"
        aria-label={ages.known === 0 ? 'No age is known' : `Ages of ${plain(count(ages.known))} records, from ${plain(duration(ages.minNs))} to ${plain(duration(ages.maxNs))}, half of them below ${plain(duration(ages.p50Ns))}`}
      >
        {[most, Math.round(most / 2)].filter((n, i, all) => n > 0 && all.indexOf(n) === i).map((n) => (
          <g key={n}>
            <line x1={left} x2={W} y1={y(n)} y2={y(n)} stroke="var(--line)" />
            <text x={left - 6} y={y(n) + 4} textAnchor="end">
              {count(n)}
            </text>
          </g>
        ))}
        <line x1={left} x2={W} y1={TOP + HEIGHT + 0.5} y2={TOP + HEIGHT + 0.5} stroke="var(--line-strong)" />
        {ages.buckets.map((b, i) => {
          const x = left + i * step
          const height = TOP + HEIGHT - y(b.count)
          let at = TOP + HEIGHT
          return (
            <g key={i}>
              {b.fromNs < 0 ? (
                <rect x={x + 1.5} y={y(b.count)} width={Math.max(step - 3, 1)} height={height} className="negative" />
              ) : layers(b).length === 0 && b.count > 0 ? (
                <rect x={x + 1.5} y={y(b.count)} width={Math.max(step - 3, 1)} height={height} className="unknown" />
              ) : (
                layers(b).map((l) => {
                  const p = PARTS.find((z) => z.name === l.name)
                  at -= l.share * height
                  return <rect key={l.name} x={x + 1.5} y={at} width={Math.max(step - 3, 1)} height={l.share * height} fill={p ? fillOf(p) : 'none'} className={p ? '' : 'unknown'} />
                })
              )}
              <rect x={x} y={TOP} width={step} height={HEIGHT} className="barhit">
                <title>{`${count(b.count)} from ${duration(b.fromNs)} to ${duration(b.toNs)}`}</title>
              </rect>
              {b.count > 0 && step > 26 && (
                <text x={x + step / 2} y={y(b.count) - 4} textAnchor="middle">
                  {count(b.count)}
                </text>
              )}
              {i % every === 0 && (
                <text x={x + 2} y={TOP + HEIGHT + 16}>
                  {duration(b.fromNs)}
                </text>
              )}
            </g>
          )
        })}
      </svg>
      <figcaption>
        <dl className="legend" style={{ padding: '4px 0 8px', border: 0 }} aria-label="What the ages are made of">
          <div>
            <dt>Half below</dt>
            <dd>{ages.known ? duration(ages.p50Ns) : 'unknown'}</dd>
          </div>
          <div>
            <dt>95 % below</dt>
            <dd>{ages.known ? duration(ages.p95Ns) : 'unknown'}</dd>
          </div>
          <div>
            <dt>Oldest</dt>
            <dd>{ages.known ? duration(ages.maxNs) : 'unknown'}</dd>
          </div>
          {ages.parts
            .filter((p) => p.ns !== 0)
            .map((p) => (
              <div key={p.name}>
                <dt>
                  {p.name !== 'unknown' && <Swatch part={p.name} />} {PARTS.find((x) => x.name === p.name)?.label ?? 'Unknown'}, all together
                </dt>
                <dd>{duration(p.ns)}</dd>
              </div>
            ))}
          {ages.negative > 0 && (
            <div>
              <dt className="bad">Negative</dt>
              <dd>{count(ages.negative)}</dd>
            </div>
          )}
          {ages.unknown > 0 && (
            <div>
              <dt>Of unknown age</dt>
              <dd>{count(ages.unknown)}</dd>
            </div>
          )}
          {ages.log && factor > 1 && (
            <div>
              <dt>Each bar reaches</dt>
              <dd>{factor.toFixed(1)} times as far</dd>
            </div>
          )}
        </dl>
      </figcaption>
    </figure>
  )
}
