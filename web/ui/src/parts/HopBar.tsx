import type { Hop } from '../api/types'
import type { Segment } from '../lib/parts'
import { fillOf, hopLabel, PARTS, partStyle, segments } from '../lib/parts'
import { duration } from '../lib/format'

/** The hatches, once a page. */
export function Hatches() {
  return (
    <svg width="0" height="0" aria-hidden="true" className="defs">
      <defs>
        {PARTS.filter((p) => p.waits).map((p) => (
          <pattern key={p.token} id={'hatch-' + p.token} width="6" height="6" patternTransform="rotate(45)" patternUnits="userSpaceOnUse">
            <rect width="6" height="6" fill={`var(--${p.token})`} opacity=".38" />
            <rect width="2.6" height="6" fill={`var(--${p.token})`} />
          </pattern>
        ))}
      </defs>
    </svg>
  )
}

export function Swatch({ part }: { part: string }) {
  return (
    <svg className="sw" viewBox="0 0 18 10" aria-hidden="true">
      <rect width="18" height="10" fill={fillOf(partStyle(part))} />
    </svg>
  )
}

/** Room in px for the word unknown. */
export const WORD = 50

/** The shapes of a hop between y and y + height; x gives px. */
export function HopShapes({ list, x, y, height }: { list: readonly Segment[]; x: (t: number) => number; y: number; height: number }) {
  return (
    <>
      {list.map((s, i) => {
        const x0 = x(s.from)
        const w = Math.max(x(s.to) - x0, 1.5)
        if (s.kind === 'unknown') {
          return (
            <g key={i}>
              <rect x={x0 + 0.5} y={y + 0.5} width={Math.max(w - 1, 1)} height={height - 1} rx="1.5" className="unknown" />
              {w >= WORD && (
                <text x={x0 + w / 2} y={y + height - 4} textAnchor="middle">
                  unknown
                </text>
              )}
              <title>{s.names.map((n) => partStyle(n).label.toLowerCase()).join(', ')}: unknown</title>
            </g>
          )
        }
        if (s.kind === 'negative') {
          return (
            <g key={i}>
              <rect x={x0} y={y - 3} width={w} height={height + 6} className="negative" />
              <title>{`${partStyle(s.name).label}: ${duration(s.ns)}, two clocks disagree`}</title>
            </g>
          )
        }
        return (
          <rect key={i} x={x0} y={y} width={w} height={height} rx="1.5" fill={fillOf(partStyle(s.name))}>
            <title>{`${partStyle(s.name).label} ${duration(s.ns)}`}</title>
          </rect>
        )
      })}
    </>
  )
}

/**
 * One hop as a bar of its own. Parts keep their order and at least a sliver
 * each; "to scale" is false when the slivers had to be widened.
 */
export function HopBar({ hop, height = 16, width = 300 }: { hop: Hop; height?: number; width?: number }) {
  const list = hop.start === null ? [] : segments(hop, hop.start)
  const W = width
  const lengths = list.map((s) => Math.max(0, s.to - s.from))
  const sum = lengths.reduce((a, b) => a + b, 0)
  const least = W * 0.03
  const widths = lengths.map((l) => Math.max(sum > 0 ? (l / sum) * W : W / list.length, least))
  const scale = W / widths.reduce((a, b) => a + b, 0)
  let at = 0
  const laid = list.map((s, i) => {
    const from = at
    at += widths[i]! * scale
    return { ...s, from, to: at }
  })
  return (
    <svg className="hopbar" role="img" aria-label={hopLabel(hop)} viewBox={`0 0 ${W} ${height}`} width={W} height={height} preserveAspectRatio="none">
      {list.length === 0 ? <rect x=".5" y=".5" width={W - 1} height={height - 1} className="unknown" /> : <HopShapes list={laid} x={(t) => t} y={0} height={height} />}
    </svg>
  )
}

/** Whether a bar of its own had to widen slivers. */
export function toScale(hop: Hop): boolean {
  if (hop.start === null) return true
  const lengths = segments(hop, hop.start).map((s) => Math.max(0, s.to - s.from))
  const sum = lengths.reduce((a, b) => a + b, 0)
  return lengths.every((l) => l / sum >= 0.03)
}
