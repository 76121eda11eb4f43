import { useEffect, useRef } from 'react'
import uPlot from 'uplot'
import 'uplot/dist/uPlot.min.css'
import { useWidth } from '../lib/hooks'
import { clockMarks } from './steps'

export interface BandChartProps {
  /** What it shows, in words: its name for those who do not see it. */
  label: string
  /** Unix seconds, rising. */
  times: readonly number[]
  /** The bounds between which the truth lies; null where a side is not known. */
  low: readonly (number | null)[]
  high: readonly (number | null)[]
  /** Times that are marked, and what is said of them. */
  marks: readonly { at: number; text: string }[]
  /** A value as it is written on the axis and beside the pointer. */
  format: (v: number) => string
  /** What is written beside the pointer. */
  readout: (i: number) => string
  token: string
  height?: number
}

/** An interval over time, as a band with its middle. It fetches nothing and knows no route. */
export default function BandChart({ label, times, low, high, marks, format, readout, token, height = 200 }: BandChartProps) {
  const [box, width] = useWidth()
  const host = useRef<HTMLDivElement>(null)
  const told = useRef<HTMLDivElement>(null)
  const latest = useRef({ marks, format, readout })
  latest.current = { marks, format, readout }
  useEffect(() => {
    const el = host.current
    if (!el || width === 0) return
    let plot: uPlot | undefined
    const middle = times.map((_, i) => (low[i] == null || high[i] == null ? null : (low[i] + high[i]) / 2))
    const make = () => {
      const css = getComputedStyle(document.documentElement)
      const colour = (name: string) => css.getPropertyValue('--' + name).trim()
      const axis = { stroke: colour('muted'), grid: { stroke: colour('line'), width: 1 }, ticks: { show: false }, font: '11px ' + css.getPropertyValue('--font').trim() }
      const edge = { stroke: 'transparent', width: 0, points: { show: false }, spanGaps: false }
      plot?.destroy()
      plot = new uPlot(
        {
          width,
          height,
          legend: { show: false },
          padding: [10, 28, 0, 0],
          cursor: { y: false, drag: { setScale: false, x: false } },
          scales: {
            x: { time: true },
            y: {
              range: (_, min, max) => {
                if (min == null || max == null) return [-1, 1]
                const room = Math.max((max - min) * 0.12, Math.abs(max) * 1e-6, 1e-6)
                return [min - room, max + room]
              },
            },
          },
          axes: [
            { ...axis, space: 80, size: 30, gap: 9, values: (_, splits) => clockMarks(splits) },
            { ...axis, size: 86, space: 34, values: (_, splits) => splits.map((v) => latest.current.format(v)) },
          ],
          series: [{}, { ...edge }, { ...edge }, { stroke: colour(token), width: 1.75, points: { show: times.length < 60, size: 4 }, spanGaps: false }],
          bands: [{ series: [2, 1], fill: `color-mix(in srgb, ${colour(token)} 26%, transparent)` }],
          hooks: {
            draw: [
              (u) => {
                const { ctx, bbox } = u
                ctx.save()
                ctx.strokeStyle = colour('bad')
                ctx.lineWidth = 1.5 * devicePixelRatio
                ctx.setLineDash([4 * devicePixelRatio, 3 * devicePixelRatio])
                for (const m of latest.current.marks) {
                  const x = Math.round(u.valToPos(m.at, 'x', true))
                  ctx.beginPath()
                  ctx.moveTo(x, bbox.top)
                  ctx.lineTo(x, bbox.top + bbox.height)
                  ctx.stroke()
                }
                ctx.restore()
              },
            ],
            setCursor: [
              (u) => {
                const i = u.cursor.idx
                if (told.current) told.current.textContent = i == null ? '' : latest.current.readout(i)
              },
            ],
          },
        },
        [times as number[], low as (number | null)[], high as (number | null)[], middle],
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
  }, [width, height, token, times, low, high, marks])
  return (
    <div className="timechart" ref={box}>
      <div ref={host} role="img" aria-label={label} style={{ height }} />
      <div className="muted small readout" ref={told} aria-hidden="true" />
    </div>
  )
}
