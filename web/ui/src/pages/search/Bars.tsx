import { useEffect, useRef } from 'react'
import uPlot from 'uplot'
import 'uplot/dist/uPlot.min.css'
import { count } from '../../lib/format'
import { useWidth } from '../../lib/hooks'
import { clockMarks } from '../../parts/steps'

interface BarsProps {
  label: string
  /** Unix seconds of each bucket's begin. */
  times: readonly number[]
  /** Width of a bucket in seconds. */
  step: number
  rows: readonly number[]
  failed: readonly number[]
  /** A stretch was chosen by dragging, Unix seconds. */
  choose: (from: number, to: number) => void
}

/** A time on the axis: with its day when the axis is long, with seconds when it is short. */
/** How many rows there are over time; failed ones in red. Dragging chooses a stretch. */
export default function Bars({ label, times, step, rows, failed, choose }: BarsProps) {
  const [box, width] = useWidth()
  const host = useRef<HTMLDivElement>(null)
  const readout = useRef<HTMLDivElement>(null)
  const latest = useRef(choose)
  latest.current = choose
  useEffect(() => {
    const el = host.current
    if (!el || width === 0 || times.length === 0) return
    let plot: uPlot | undefined
    const make = () => {
      const css = getComputedStyle(document.documentElement)
      const colour = (name: string) => css.getPropertyValue('--' + name).trim()
      const axis = { stroke: colour('muted'), grid: { stroke: colour('line'), width: 1 }, ticks: { show: false }, font: '11px ' + css.getPropertyValue('--font').trim() }
      const bars = uPlot.paths.bars!({ size: [0.85, 60], align: 1 })
      plot?.destroy()
      plot = new uPlot(
        {
          width,
          height: 110,
          legend: { show: false },
          padding: [6, 12, 0, 0],
          cursor: { y: false, points: { show: false }, drag: { x: true, y: false, setScale: false } },
          scales: { x: { time: true, range: () => [times[0]!, times[times.length - 1]! + step] }, y: { range: (_, _min, max) => [0, max > 0 ? max * 1.1 : 1] } },
          axes: [{ ...axis, space: 90, size: 28, gap: 9, values: (_, splits) => clockMarks(splits) }, { ...axis, size: 56, space: 30, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6, 1e7], values: (_, splits) => splits.map((v) => count(v)) }],
          series: [{}, { fill: colour('line-strong'), stroke: colour('line-strong'), width: 0, paths: bars, points: { show: false } }, { fill: colour('bad'), stroke: colour('bad'), width: 0, paths: bars, points: { show: false } }],
          hooks: {
            setCursor: [
              (u) => {
                const i = u.cursor.idx
                if (!readout.current) return
                readout.current.textContent = i == null || times[i] === undefined ? '' : `${new Date(times[i]! * 1000).toLocaleString('en-GB')}: ${count(rows[i] ?? 0)}, ${count(failed[i] ?? 0)} failed`
              },
            ],
            setSelect: [
              (u) => {
                if (u.select.width < 4) return
                const from = u.posToVal(u.select.left, 'x')
                const to = u.posToVal(u.select.left + u.select.width, 'x')
                u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false)
                latest.current(from, to)
              },
            ],
          },
        },
        [times as number[], rows as number[], failed as number[]],
        el,
      )
    }
    make()
    const theme = new MutationObserver(make)
    theme.observe(document.documentElement, { attributes: true, attributeFilter: ['data-theme'] })
    const system = matchMedia('(prefers-color-scheme: dark)')
    system.addEventListener('change', make)
    return () => {
      theme.disconnect()
      system.removeEventListener('change', make)
      plot?.destroy()
    }
  }, [width, times, rows, failed, step])
  return (
    <div className="timechart" style={{ minHeight: 110 }} ref={box}>
      <div ref={host} role="img" aria-label={label} style={{ height: 110 }} />
      <div className="muted small readout" ref={readout} aria-hidden="true" />
    </div>
  )
}
