import { useEffect, useRef, useState } from 'react'
import type { Journey } from '../../api/types'
import type { Interval } from '../../lib/axis'
import { minus } from '../../lib/format'
import { PARTS } from '../../lib/parts'
import { useWidth } from '../../lib/hooks'
import { spanAt } from '../../lib/placed'
import type { Row } from '../../lib/tree'
import type { ZoomedAxis } from '../../lib/zoom'

const HEIGHT = 34

/** All rows at once, a line each, and which part of the time is shown below. Dragging chooses another. */
export function Overview({ journey, rows, whole, zoom, setZoom }: { journey: Journey; rows: readonly Row[]; whole: ZoomedAxis; zoom: Interval | undefined; setZoom: (z: Interval | undefined) => void }) {
  const [box, width] = useWidth()
  const canvas = useRef<HTMLCanvasElement>(null)
  const [theme, setTheme] = useState(0)
  useEffect(() => {
    const observer = new MutationObserver(() => setTheme((n) => n + 1))
    observer.observe(document.documentElement, { attributes: true, attributeFilter: ['data-theme'] })
    return () => observer.disconnect()
  }, [])
  useEffect(() => {
    const el = canvas.current
    const c = el?.getContext('2d')
    if (!el || !c || width === 0) return
    const scale = devicePixelRatio || 1
    el.width = width * scale
    el.height = HEIGHT * scale
    c.scale(scale, scale)
    c.clearRect(0, 0, width, HEIGHT)
    const css = getComputedStyle(document.documentElement)
    const colour = (token: string) => css.getPropertyValue('--' + token).trim()
    const colours = new Map<string, string>(PARTS.map((p) => [p.name, colour(p.token)]))
    const faint = colour('faint')
    const bad = colour('bad')
    const thick = Math.max(0.75, (HEIGHT - 6) / Math.max(rows.length, 1))
    const line = (i: number, from: number, to: number, fill: string) => {
      const x = whole.x(from) * width
      c.fillStyle = fill
      c.fillRect(x, 3 + (i / Math.max(rows.length, 1)) * (HEIGHT - 6), Math.max(whole.x(to) * width - x, 1), thick)
    }
    rows.forEach((r, i) => {
      if (r.kind === 'span') {
        const at = spanAt(r.span, journey.start)
        line(i, at.from, at.to, r.span.status === 'error' ? bad : faint)
      } else for (const p of r.hop.parts) if (p.known && p.from !== null && p.to !== null && p.ns > 0) line(i, minus(p.from, journey.start), minus(p.to, journey.start), colours.get(p.name) ?? faint)
    })
  }, [journey, rows, whole, width, theme])
  const drag = useDrag(whole, setZoom)
  const a = zoom ? whole.x(zoom.from) * 100 : 0
  const b = zoom ? whole.x(zoom.to) * 100 : 100
  return (
    <div className="overview" ref={box} aria-hidden="true">
      <canvas ref={canvas} style={{ height: HEIGHT }} {...drag.on} />
      {zoom && (
        <>
          <div className="out" style={{ left: 0, width: a + '%', borderRightWidth: 1 }} />
          <div className="out" style={{ left: b + '%', right: 0, borderLeftWidth: 1 }} />
        </>
      )}
      {drag.band}
    </div>
  )
}

/** Dragging over an axis chooses a part of the time; a click alone chooses nothing. */
export function useDrag(axis: ZoomedAxis, setZoom: (z: Interval | undefined) => void) {
  const [band, setBand] = useState<{ a: number; b: number }>()
  const place = (e: React.PointerEvent) => {
    const r = e.currentTarget.getBoundingClientRect()
    return Math.min(Math.max((e.clientX - r.left) / r.width, 0), 1)
  }
  return {
    band: band && Math.abs(band.b - band.a) > 0.004 && <div className="band" style={{ position: 'absolute', top: 0, bottom: 0, left: Math.min(band.a, band.b) * 100 + '%', width: Math.abs(band.b - band.a) * 100 + '%', background: 'var(--accent)', opacity: 0.22, pointerEvents: 'none' }} />,
    on: {
      onPointerDown: (e: React.PointerEvent) => {
        if (e.button !== 0 || e.pointerType === 'touch') return
        e.currentTarget.setPointerCapture(e.pointerId)
        const x = place(e)
        setBand({ a: x, b: x })
      },
      onPointerMove: (e: React.PointerEvent) => band && setBand({ a: band.a, b: place(e) }),
      onPointerUp: (e: React.PointerEvent) => {
        if (!band) return
        const b = place(e)
        setBand(undefined)
        if (Math.abs(b - band.a) > 0.008) setZoom({ from: axis.t(Math.min(band.a, b)), to: axis.t(Math.max(band.a, b)) })
      },
      onPointerCancel: () => setBand(undefined),
      onDoubleClick: () => setZoom(undefined),
    },
  }
}
