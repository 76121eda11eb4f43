import { useEffect, useRef } from 'react'
import uPlot from 'uplot'
import 'uplot/dist/uPlot.min.css'
import { useWidth } from '../lib/hooks'
import { sparse } from './sparse'
import { clockMarks } from './steps'

export interface TimeChartProps {
  /** What it shows, in words: its name for those who do not see it. */
  label: string
  /** Unix seconds, rising. */
  times: readonly number[]
  values: readonly (number | null)[]
  /** A value as it is written on the axis and beside the pointer. */
  format: (v: number) => string
  /** Steps of the value axis that read well; those of decimal numbers unless given. */
  steps?: readonly number[]
  /** Colour token of the line. */
  token: string
  height?: number
}

/** One quantity over time. It fetches nothing and knows no route. */
export default function TimeChart({ label, times, values, format, steps, token, height = 150 }: TimeChartProps) {
  const [box, width] = useWidth()
  const host = useRef<HTMLDivElement>(null)
  const readout = useRef<HTMLDivElement>(null)
  const plot = useRef<uPlot>(undefined)
  const latest = useRef({ times, values, format })
  latest.current = { times, values, format }
  useEffect(() => {
    const el = host.current
    if (!el || width === 0) return
    const make = () => {
      const css = getComputedStyle(document.documentElement)
      const colour = (name: string) => css.getPropertyValue('--' + name).trim()
      const axis = { stroke: colour('muted'), grid: { stroke: colour('line'), width: 1 }, ticks: { show: false }, font: '11px ' + css.getPropertyValue('--font').trim() }
      plot.current?.destroy()
      plot.current = new uPlot(
        {
          width,
          height,
          legend: { show: false },
          padding: [8, 28, 0, 0],
          cursor: { y: false, drag: { setScale: false, x: false } },
          scales: { x: { time: true }, y: { range: (_, _min, max) => [0, max > 0 ? max * 1.08 : 1] } },
          axes: [
            { ...axis, space: 80, size: 30, gap: 9, values: (_, splits) => clockMarks(splits) },
            { ...axis, size: 70, space: 34, ...(steps ? { incrs: steps as number[] } : {}), values: (_, splits) => splits.map((v) => latest.current.format(v)) },
          ],
          series: [{}, { stroke: colour(token), fill: `color-mix(in srgb, ${colour(token)} 18%, transparent)`, width: 1.75, points: { show: () => sparse(latest.current.values), size: 5 }, spanGaps: false }],
          hooks: {
            setCursor: [
              (u) => {
                const i = u.cursor.idx
                const at = i == null ? undefined : latest.current.times[i]
                const v = i == null ? undefined : latest.current.values[i]
                if (readout.current) readout.current.textContent = at === undefined ? '' : `${new Date(at * 1000).toLocaleString('en-GB')}: ${v == null ? 'nothing is kept' : latest.current.format(v)}`
              },
            ],
          },
        },
        [latest.current.times as number[], latest.current.values as (number | null)[]],
        el,
      )
    }
    make()
    // Colours are read when it is drawn, so a change of theme draws it anew.
    const theme = new MutationObserver(make)
    theme.observe(document.documentElement, { attributes: true, attributeFilter: ['data-theme'] })
    const system = matchMedia('(prefers-color-scheme: dark)')
    system.addEventListener('change', make)
    return () => {
      theme.disconnect()
      system.removeEventListener('change', make)
      plot.current?.destroy()
      plot.current = undefined
    }
  }, [width, height, token, steps])
  useEffect(() => {
    plot.current?.setData([times as number[], values as (number | null)[]])
  }, [times, values])
  return (
    <div className="timechart" ref={box}>
      <div ref={host} role="img" aria-label={label} style={{ height }} />
      <div className="muted small readout" ref={readout} aria-hidden="true" />
    </div>
  )
}

/** A time on the axis: with its day when the axis spans more than one. */
