import type { TopologySteps } from '../../api/types'
import { count, duration, plain } from '../../lib/format'
import { useWidth } from '../../lib/hooks'
import { clockOf, stepsOf, type Stretch } from './steps'

const HEIGHT = 46

/** The range in steps: what was read, and how long it had waited. One step can be chosen: the graph then shows it. */
export function Strip({ steps, at, choose }: { steps: TopologySteps | undefined; at: string; choose: (start: string) => void }) {
  const [ref, width] = useWidth()
  const all = steps ? stepsOf(steps) : []
  const chosen = all.findIndex((s) => s.start === at)
  const days = steps !== undefined && Number(BigInt(steps.to) - BigInt(steps.from)) > 20 * 3600e9
  const pick = (i: number) => choose(i < 0 ? '' : (all[i]?.start ?? ''))
  return (
    <section className="strip" aria-label="Time travel">
      <div className="buttons">
        <button type="button" className="pick" onClick={() => pick(chosen < 0 ? all.length - 1 : chosen - 1)} disabled={all.length === 0 || chosen === 0} title="One step earlier (,)">
          ◂ Earlier
        </button>
        <button type="button" className="pick" onClick={() => pick(chosen + 1)} disabled={chosen < 0 || chosen === all.length - 1} title="One step later (.)">
          Later ▸
        </button>
        <button type="button" className={'pick' + (chosen < 0 ? ' on' : '')} onClick={() => pick(-1)} aria-pressed={chosen < 0}>
          Whole time
        </button>
        <span className="said" role="status">
          {chosen < 0 ? <span className="muted">{all.length > 0 && `${all.length} steps of ${lasting(steps!.stepNs)}: p99 of the wait (amber), messages read (grey)`}</span> : <b>{sayStep(all[chosen]!, days)}</b>}
        </span>
      </div>
      <div className="track" ref={ref}>
        {width > 0 && all.length > 0 && <Picture all={all} chosen={chosen} width={width} />}
        <input
          type="range"
          aria-label="Step"
          min={0}
          max={all.length}
          value={chosen + 1}
          disabled={all.length === 0}
          aria-valuetext={chosen < 0 ? 'whole time' : plain(sayStep(all[chosen]!, days))}
          onChange={(e) => pick(Number(e.target.value) - 1)}
        />
      </div>
      <div className="ends small muted" aria-hidden="true">
        <span>{steps && clockOf(steps.from, days)}</span>
        <span>{steps && clockOf(steps.to, days)}</span>
      </div>
    </section>
  )
}

/** 30 m, 3 h: steps are whole minutes or hours. */
function lasting(ns: number): string {
  return duration(ns).replace(/\u202f00\u202f[sm]$|\u202f00\u202fh$/, '')
}

function sayStep(s: Stretch, days: boolean): string {
  const wait = s.wait ? `, p99 wait ${duration(s.wait.p99Ns)}` : ''
  return `${clockOf(s.start, days)} – ${clockOf(s.end, false)}: ${count(s.written)} written, ${count(s.read)} read${wait}`
}

function Picture({ all, chosen, width }: { all: readonly Stretch[]; chosen: number; width: number }) {
  const w = width / all.length
  const most = Math.max(...all.map((s) => s.read), 1)
  const longest = Math.max(...all.map((s) => s.wait?.p99Ns ?? 0), 1e6)
  // From 1 ms on by powers: milliseconds and hours are both seen.
  const height = (ns: number) => (ns <= 0 ? 1 : Math.max(1, (Math.log10(Math.max(ns, 1e5) / 1e5) / Math.log10(longest / 1e5)) * (HEIGHT - 4)))
  return (
    <svg width={width} height={HEIGHT} aria-hidden="true">
      {all.map((s, i) => (
        <g key={s.start}>
          {s.wait && <rect className="wait" x={i * w} width={w} y={HEIGHT - height(s.wait.p99Ns)} height={height(s.wait.p99Ns)} />}
          {s.read > 0 && <rect className="read" x={i * w + w * 0.2} width={Math.max(w * 0.6, 1)} y={HEIGHT - Math.max(1.5, (s.read / most) * (HEIGHT - 12))} height={Math.max(1.5, (s.read / most) * (HEIGHT - 12))} />}
          {s.failed > 0 && <rect className="failed" x={i * w + w * 0.2} width={Math.max(w * 0.6, 1)} y={HEIGHT - 3} height={3} />}
        </g>
      ))}
      {chosen >= 0 && <rect className="chosen" x={chosen * w + 0.75} y={0.75} width={Math.max(w - 1.5, 2)} height={HEIGHT - 1.5} />}
    </svg>
  )
}
