import { useEffect, useMemo, useRef, useState } from 'react'
import type { Journey } from '../../api/types'
import { axisOf, MODES, type Axis, type Mode } from '../../lib/axis'
import { count, duration, minus, plain } from '../../lib/format'
import { useMedia, useWidth, useWindow } from '../../lib/hooks'
import { hopLabel, segments } from '../../lib/parts'
import type { Row } from '../../lib/tree'
import { edgesOf, workOf } from '../../lib/work'
import { HopShapes, WORD } from '../../parts/HopBar'

/** Indenting ends here: deeper rows keep the indent of this depth. */
const MAX_INDENT = 12

interface Props {
  journey: Journey
  rows: readonly Row[]
  mode: Mode
  setMode: (m: Mode) => void
  selected: Row | undefined
  select: (row: Row) => void
}

export function Chart({ journey, rows, mode, setMode, selected, select }: Props) {
  const narrow = useMedia('(max-width: 760px)')
  const rowHeight = narrow ? 50 : 30
  const laneHeight = 30
  const [laneRef, width] = useWidth()
  const [body, setBody] = useState<HTMLElement | null>(null)
  const { first, last } = useWindow(body, rows.length, rowHeight)
  const work = useMemo(() => workOf(rows, journey.spans, journey.hops, journey.start), [rows, journey])
  const axis = useMemo(() => axisOf(mode, journey.durationNs, work, Math.max(2, Math.round(width / 110)), edgesOf(journey.hops, journey.start)), [mode, journey, work, width])
  const failedSpans = useMemo(() => new Set(journey.events.map((e) => e.spanId)), [journey])
  useScrollTo(body, selected ? rows.indexOf(selected) : -1, rowHeight)
  const shown = rows.slice(first, last)
  return (
    <div className={'tree' + (narrow ? ' narrow' : '')} role="table" aria-label="Waterfall" aria-rowcount={rows.length + 1}>
      <div role="rowgroup" className="headrow">
        <div role="row" className="row">
          <div role="columnheader" className="axish">
            <span>Work and hops</span>
            <kbd aria-hidden="true">z</kbd>
            <button type="button" className="axisbutton" onClick={() => setMode(MODES[(MODES.indexOf(mode) + 1) % MODES.length]!)} title="Folded, linear, logarithmic: press z">
              <span className="only-read">Time axis: </span>
              {mode}
            </button>
          </div>
          <div role="columnheader" className="axis" ref={laneRef} >
            <span className="only-read">{`Time, ${mode}, ${plain(duration(journey.durationNs))} in all`}</span>
            {width > 0 && <AxisHead axis={axis} width={width} />}
          </div>
        </div>
      </div>
      <div role="rowgroup" ref={setBody} style={{ paddingTop: first * rowHeight, paddingBottom: Math.max(0, rows.length - last) * rowHeight }}>
        {shown.map((row, i) => (
          <div role="row" aria-rowindex={first + i + 2} className={'row' + (row === selected ? ' sel' : '')} key={row.kind + row.id + (first + i)} style={{ height: rowHeight }} onClick={() => select(row)}>
            <Cell row={row} selected={row === selected} select={select} broke={row.kind === 'span' && failedSpans.has(row.span.spanId)} />
            <div role="cell" className="lane">
              {width > 0 && <Lane row={row} axis={axis} width={width} height={laneHeight} origin={journey.start} />}
            </div>
          </div>
        ))}
      </div>
    </div>
  )
}

/** Keeps the selected row in sight when it was chosen by key or by link. */
function useScrollTo(body: HTMLElement | null, index: number, rowHeight: number) {
  const before = useRef(-1)
  useEffect(() => {
    if (!body || index < 0 || index === before.current) return
    before.current = index
    const top = body.getBoundingClientRect().top + index * rowHeight
    const margin = 60
    if (top < margin) scrollBy({ top: top - margin })
    else if (top + rowHeight > innerHeight - 10) scrollBy({ top: top + rowHeight - innerHeight + margin })
  }, [body, index, rowHeight])
}

function Cell({ row, selected, select, broke }: { row: Row; selected: boolean; select: (row: Row) => void; broke: boolean }) {
  const indent = { paddingLeft: 12 + Math.min(row.depth, MAX_INDENT) * 16 }
  const press = { 'aria-pressed': selected, onClick: () => select(row) } as const
  if (row.kind === 'hop') {
    const h = row.hop
    return (
      <div role="cell" className="cell" style={indent}>
        <svg width="14" height="14" viewBox="0 0 14 14" aria-hidden="true" className={h.failed ? 'badstroke' : ''}>
          <path d="M1 7h9M7 3.5 10.5 7 7 10.5M13 2v10" fill="none" strokeWidth="1.5" strokeLinecap="round" />
        </svg>
        <button type="button" className="rowbutton" {...press} aria-label={`Hop ${h.topic}, ${h.group ? 'group ' + h.group : 'not read yet'}`}>
          <b>{h.topic}</b>
        </button>
        <span className="off">
          {h.partition === null ? 'p?' : 'p' + h.partition} · {h.offset === null ? '?' : count(h.offset)}
        </span>
        {h.delivery > 1 && <span className="svc">delivery {h.delivery}</span>}
      </div>
    )
  }
  const s = row.span
  const bad = s.status === 'error' || broke
  return (
    <div role="cell" className="cell" style={indent} title={`${s.name} · ${s.service}`}>
      <span className={'ring' + (bad ? ' bad' : '')} aria-hidden="true" />
      <button type="button" className="rowbutton op" {...press} aria-label={`Span ${s.name}, ${s.service}${bad ? ', failed' : ''}`}>
        {s.name}
      </button>
      <span className="svc">{s.service}</span>
    </div>
  )
}

function AxisHead({ axis, width }: { axis: Axis; width: number }) {
  const free = axis.ticks.filter((t, i, all) => i === 0 || (t.x - all[i - 1]!.x) * width > 34)
  return (
    <svg width={width} height="26" aria-hidden="true">
      <Breaks axis={axis} width={width} height={26} />
      {free.map((t, i) => (
        <g key={i}>
          <line x1={t.x * width + 0.5} x2={t.x * width + 0.5} y1="18" y2="26" stroke="var(--line-strong)" />
          <text x={t.x * width + 4} y="15">
            {t.label}
          </text>
        </g>
      ))}
      {axis.breaks.map((b, i) => {
        const c = ((b.x0 + b.x1) / 2) * width
        return (
          <g key={i}>
            <path d={`M${c - 4} 4l4 6-4 6 4 6M${c + 2} 4l4 6-4 6 4 6`} fill="none" stroke="var(--muted)" />
            <title>{duration(b.to - b.from)} of waiting is folded</title>
          </g>
        )
      })}
    </svg>
  )
}

function Breaks({ axis, width, height }: { axis: Axis; width: number; height: number }) {
  return axis.breaks.map((b, i) => <rect key={i} x={b.x0 * width + 3} y="0" width={Math.max(0, (b.x1 - b.x0) * width - 6)} height={height} fill="var(--raised)" opacity=".7" />)
}

function Lane({ row, axis, width, height, origin }: { row: Row; axis: Axis; width: number; height: number; origin: string }) {
  const x = (t: number) => axis.x(t) * (width - 2) + 1
  const grid = (
    <>
      <Breaks axis={axis} width={width} height={height} />
      {axis.ticks.map((t, i) => (
        <line key={i} x1={t.x * width + 0.5} x2={t.x * width + 0.5} y1="0" y2={height} stroke="var(--line)" strokeDasharray="1 3" />
      ))}
    </>
  )
  if (row.kind === 'hop') {
    const h = row.hop
    const list = segments(h, origin)
    const total = h.start && h.end ? minus(h.end, h.start) : 0
    const from = h.start ? x(minus(h.start, origin)) : 0
    const hidden = list.some((s) => s.kind === 'unknown' && x(s.to) - x(s.from) < WORD)
    const said = h.consumer ? duration(total) + (hidden ? ' · part unknown' : '') : 'not read yet'
    const end = h.end ? Math.max(x(minus(h.end, origin)), from + 2) : from
    // The wait that a break swallows writes its length on the break.
    const folded = axis.breaks.flatMap((b) =>
      list.filter((s) => s.kind !== 'negative' && Math.min(s.to, b.to) - Math.max(s.from, b.from) > (b.to - b.from) / 2).map((s) => ({ at: ((b.x0 + b.x1) / 2) * width, s })),
    )
    return (
      <svg width={width} height={height} role="img" aria-label={hopLabel(h)}>
        {grid}
        <HopShapes list={list} x={x} y={7} height={16} />
        {folded.map(({ at, s }, i) => {
          const t = duration(s.to - s.from)
          const w = t.length * 6.2 + 14
          const left = Math.min(Math.max(at - w / 2, 1), width - w - 1)
          return (
            <g key={i}>
              <rect x={left} y={7} width={w} height={16} rx="8" fill="var(--panel)" stroke={s.kind === 'part' ? `var(--${s.name === 'backlog' ? 'backlog' : s.name === 'batch_queue' ? 'batch' : s.name === 'fetch_queue' ? 'fetchq' : 'line-strong'})` : 'var(--line-strong)'} />
              <text x={left + w / 2} y={19} textAnchor="middle" className="d">
                {t}
              </text>
            </g>
          )
        })}
        {folded.length === 0 && <EndText from={from} end={end} width={width} text={said} />}
      </svg>
    )
  }
  const s = row.span
  const from = x(minus(s.start, origin))
  const w = Math.max(x(minus(s.end, origin)) - from, 2)
  const bad = s.status === 'error'
  return (
    <svg width={width} height={height} role="img" aria-label={`Span ${s.name}: ${plain(duration(minus(s.end, s.start)))}`}>
      {grid}
      <rect x={from} y="10" width={w} height="10" rx="2" fill={bad ? 'var(--bad)' : 'var(--faint)'} opacity={bad ? 0.9 : 0.55} />
      <EndText from={from} end={from + w} width={width} text={duration(minus(s.end, s.start))} />
    </svg>
  )
}

/** Beside the bar, on the side that has room; within it when neither has. */
function EndText({ from, end, width, text }: { from: number; end: number; width: number; text: string }) {
  const room = text.length * 6.4 + 10
  if (end + room < width)
    return (
      <text x={end + 6} y="19">
        {text}
      </text>
    )
  if (from > room)
    return (
      <text x={from - 6} y="19" textAnchor="end">
        {text}
      </text>
    )
  return (
    <text x={width - 8} y="19" textAnchor="end" className="over">
      {text}
    </text>
  )
}
