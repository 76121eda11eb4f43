import { useEffect, useRef } from 'react'
import uPlot from 'uplot'
import 'uplot/dist/uPlot.min.css'
import { useWidth } from '../lib/hooks'
import { sparse } from './sparse'
import { clockMarks } from './steps'

export interface Line {
  label: string
  values: readonly (number | null)[]
  /** Colour token. */
  token: string
  /** Drawn with dashes: nobody works on the message, or it is not the one that is looked at. */
  dashed?: boolean
  faint?: boolean
}

export interface LinesChartProps {
  /** What it shows, in words: its name for those who do not see it. */
  label: string
  /** Unix seconds, rising. */
  times: readonly number[]
  lines: readonly Line[]
  /** A value as it is written on the axis and beside the pointer. */
  format: (v: number) => string
  /** A logarithmic axis; zero and less are then not drawn. */
  log?: boolean
  height?: number
}

/** Several quantities over time. It fetches nothing and knows no route. */
export default function LinesChart({ label, times, lines, format, log = false, height = 190 }: LinesChartProps) {
  const [box, width] = useWidth()
  const host = useRef<HTMLDivElement>(null)
  const readout = useRef<HTMLDivElement>(null)
  const plot = useRef<uPlot>(undefined)
  const latest = useRef({ times, lines, format })
  latest.current = { times, lines, format }
  // What uPlot cannot change in place.
  const shape = lines.map((l) => `${l.label}/${l.token}/${l.dashed}/${l.faint}`).join('\n')
  useEffect(() => {
    const el = host.current
    if (!el || width === 0) return
    const data = () => [latest.current.times, ...latest.current.lines.map((l) => (log ? l.values.map((v) => (v !== null && v > 0 ? v : null)) : l.values))] as unknown as uPlot.AlignedData
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
          scales: {
            x: { time: true },
            y: log ? { distr: 3, range: (_, min, max) => (min > 0 && max > 0 ? [Math.pow(10, Math.floor(Math.log10(min))), Math.pow(10, Math.ceil(Math.log10(max * 1.01)))] : [1, 10]) } : { range: (_, _min, max) => [0, max > 0 ? max * 1.08 : 1] },
          },
          axes: [
            { ...axis, space: 80, size: 30, gap: 9, values: (_, splits) => clockMarks(splits) },
            { ...axis, size: 70, space: 34, ...(log ? { splits: (_: uPlot, _axis: number, min: number, max: number) => decades(min, max) } : {}), values: (_, splits) => splits.map((v) => (v === null ? '' : latest.current.format(v))) },
          ],
          series: [
            {},
            ...latest.current.lines.map((l): uPlot.Series => ({ label: l.label, stroke: colour(l.token), width: l.faint ? 1 : 2, ...(l.dashed ? { dash: [6, 4] } : {}), points: { show: sparse(l.values), size: 5 }, spanGaps: false })),
          ],
          hooks: {
            setCursor: [
              (u) => {
                const i = u.cursor.idx
                const at = i == null ? undefined : latest.current.times[i]
                if (!readout.current) return
                const said = i == null ? [] : latest.current.lines.map((l) => (l.values[i] == null ? '' : `${l.label} ${latest.current.format(l.values[i]!)}`)).filter(Boolean)
                readout.current.textContent = at === undefined ? '' : `${new Date(at * 1000).toLocaleString('en-GB')}: ${said.join(' · ') || 'nothing is known'}`
              },
            ],
          },
        },
        data(),
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
  }, [width, height, shape, log])
  useEffect(() => {
    plot.current?.setData([times, ...lines.map((l) => (log ? l.values.map((v) => (v !== null && v > 0 ? v : null)) : l.values))] as unknown as uPlot.AlignedData)
  }, [times, lines, log])
  return (
    <div className="timechart" ref={box}>
      <div ref={host} role="img" aria-label={label} style={{ height }} />
      <div className="muted small readout" ref={readout} aria-hidden="true" />
    </div>
  )
}

/** The powers of ten of a range, at most six of them. */
export function decades(min: number, max: number): number[] {
  const low = Math.round(Math.log10(min))
  const high = Math.round(Math.log10(max))
  const every = Math.max(1, Math.ceil((high - low) / 5))
  return Array.from({ length: Math.floor((high - low) / every) + 1 }, (_, i) => Math.pow(10, low + i * every))
}


/** A time on the axis: with its day when the axis spans more than one. */
