import { useQuery } from '@tanstack/react-query'
import { memo, useEffect, useMemo, useRef, useState } from 'react'
import { ask } from '../../api/client'
import type { Batch, Hop, Journey } from '../../api/types'
import { labelled, lengthsOnBreaks, MODES, type Axis, type Interval, type Mode } from '../../lib/axis'
import { count, duration, minus, plain } from '../../lib/format'
import { useMedia, useWindow } from '../../lib/hooks'
import { textWidth } from '../../lib/measure'
import { appendBounds, appendWords, hopLabel, segments } from '../../lib/parts'
import { spanAt } from '../../lib/placed'
import type { Row } from '../../lib/tree'
import type { ZoomedAxis } from '../../lib/zoom'
import { HopShapes, WORD } from '../../parts/HopBar'
import { useDrag } from './Overview'

/** Indenting ends here: deeper rows keep the indent of this depth. */
const MAX_INDENT = 12

/** What a row can be asked to do; it stays the same object, so that rows which did not change are not drawn again. */
export interface Acts {
  select: (row: Row) => void
  toggle: (row: Row) => void
  batch: (b: Batch) => void
}

interface Props {
  journey: Journey
  /** The rows that are to be seen, and whether each has some below it. */
  rows: readonly Row[]
  parents: ReadonlySet<string>
  shut: ReadonlySet<string>
  found: ReadonlySet<string>
  failed: (r: Row) => boolean
  batches: ReadonlyMap<string, Batch>
  path: ReadonlyMap<string, Interval[]> | undefined
  axis: ZoomedAxis
  mode: Mode
  setMode: (m: Mode) => void
  setZoom: (z: Interval | undefined) => void
  selected: Row | undefined
  /** Whether somebody selected it, by key, pointer or link. */
  chosen: boolean
  acts: Acts
  laneRef: (el: HTMLElement | null) => void
  width: number
}

export const keyOf = (r: Row) => (r.kind === 'span' ? r.span.traceId + '/' : '') + r.id

export function Chart({ journey, rows, parents, shut, found, failed, batches, path, axis, mode, setMode, setZoom, selected, chosen, acts, laneRef, width }: Props) {
  const narrow = useMedia('(max-width: 760px)')
  const rowHeight = narrow ? 50 : 30
  const [body, setBody] = useState<HTMLElement | null>(null)
  const { first, last } = useWindow(body, rows.length, rowHeight)
  // What nobody chose moves nothing: the page begins with its finding.
  const at = useMemo(() => (selected && chosen ? rows.indexOf(selected) : -1), [rows, selected, chosen])
  useScrollTo(body, at, rowHeight)
  const drag = useDrag(axis, setZoom)
  const grid = useMemo(() => ({ '--grid': gridOf(axis, width) }) as React.CSSProperties, [axis, width])
  return (
    <div className={'tree' + (narrow ? ' narrow' : '')} style={grid} role="table" aria-label="Waterfall" aria-rowcount={rows.length + 1}>
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
          <div role="columnheader" className="axis" ref={laneRef} title="Drag to see a part of the time; double-click for all of it" {...drag.on}>
            <span className="only-read">{`Time, ${mode}, ${plain(duration(axis.to - axis.from))} ${axis.from > 0 || axis.to < journey.durationNs ? 'of ' + plain(duration(journey.durationNs)) : 'in all'}`}</span>
            {width > 0 && <AxisHead axis={axis} width={width} />}
            {drag.band}
          </div>
        </div>
      </div>
      <div role="rowgroup" ref={setBody} style={{ paddingTop: first * rowHeight, paddingBottom: Math.max(0, rows.length - last) * rowHeight }}>
        {rows.slice(first, last).map((row, i) => {
          const key = keyOf(row)
          return (
            <RowView
              key={key}
              row={row}
              index={first + i + 2}
              height={rowHeight}
              selected={row === selected}
              hit={found.has(key)}
              bad={failed(row)}
              fold={parents.has(row.id) ? (shut.has(row.id) ? 'shut' : 'open') : undefined}
              batch={row.kind === 'span' ? batches.get(key) : undefined}
              path={path?.get(row.id)}
              axis={axis}
              width={width}
              origin={journey.start}
              acts={acts}
            />
          )
        })}
      </div>
    </div>
  )
}

/** The ticks and breaks behind each row, as one background: hundreds of dashed lines cost a scroll most of its time. */
function gridOf(axis: Axis, width: number): string {
  const ticks = axis.ticks.map((t) => `linear-gradient(var(--line) 25%, transparent 0) ${(t.x * width).toFixed(1)}px 0 / 1px 4px repeat-y`)
  const breaks = axis.breaks.map((b) => `linear-gradient(var(--fold), var(--fold)) ${(b.x0 * width + 3).toFixed(1)}px 0 / ${Math.max(0, (b.x1 - b.x0) * width - 6).toFixed(1)}px 100% no-repeat`)
  return [...ticks, ...breaks].join(', ') || 'none'
}

/** Keeps the selected row in sight when it was chosen by key or by link. */
function useScrollTo(body: HTMLElement | null, index: number, rowHeight: number) {
  const before = useRef(-1)
  useEffect(() => {
    if (!body || index < 0 || index === before.current) return
    before.current = index
    const top = body.getBoundingClientRect().top + index * rowHeight
    const margin = 84
    if (top < margin) scrollBy({ top: top - margin })
    else if (top + rowHeight > innerHeight - 10) scrollBy({ top: top + rowHeight - innerHeight + margin })
  }, [body, index, rowHeight])
}

interface RowProps {
  row: Row
  index: number
  height: number
  selected: boolean
  hit: boolean
  bad: boolean
  fold: 'shut' | 'open' | undefined
  batch: Batch | undefined
  path: readonly Interval[] | undefined
  axis: Axis
  width: number
  origin: string
  acts: Acts
}

const RowView = memo(function RowView(p: RowProps) {
  const { row, selected, height, acts } = p
  return (
    <div role="row" aria-rowindex={p.index} className={'row' + (selected ? ' sel' : '') + (p.hit ? ' hit' : '')} style={{ height }} onClick={() => acts.select(row)}>
      <Cell {...p} />
      <div role="cell" className="lane">
        {p.width > 0 && <Lane row={row} axis={p.axis} width={p.width} height={30} origin={p.origin} path={p.path} batch={p.batch} />}
      </div>
    </div>
  )
})

function Cell({ row, selected, bad, fold, batch, acts }: RowProps) {
  const indent = { paddingLeft: 12 + Math.min(row.depth, MAX_INDENT) * 16 }
  const press = { 'aria-pressed': selected, onClick: () => acts.select(row) } as const
  const name = row.kind === 'hop' ? row.hop.topic : row.span.name
  const folder = (
    <button
      type="button"
      className={'fold' + (fold ? '' : ' none')}
      tabIndex={fold ? 0 : -1}
      aria-hidden={fold ? undefined : true}
      aria-expanded={fold ? fold === 'open' : undefined}
      aria-label={`What is below ${name}`}
      onClick={(e) => {
        e.stopPropagation()
        acts.toggle(row)
      }}
    >
      {fold === 'shut' ? '▸' : '▾'}
    </button>
  )
  if (row.kind === 'hop') {
    const h = row.hop
    return (
      <div role="cell" className="cell" style={indent} title={`${h.topic} ${h.group}`}>
        {folder}
        <svg width="14" height="14" viewBox="0 0 14 14" aria-hidden="true" className={bad ? 'badstroke' : ''}>
          <path d="M1 7h9M7 3.5 10.5 7 7 10.5M13 2v10" fill="none" strokeWidth="1.5" strokeLinecap="round" />
        </svg>
        <button type="button" className="rowbutton" {...press} aria-label={`Hop ${h.topic}, ${h.group ? 'group ' + h.group : 'not read yet'}`}>
          <b>{h.topic}</b>
        </button>
        <span className="off">
          {h.partition === null ? 'p?' : 'p' + h.partition} · {h.offset === null ? '?' : count(h.offset)}
        </span>
        {h.delivery > 1 && <span className="svc">delivery {h.delivery}</span>}
        {h.retry && h.retry.attempt > 0 && <span className="svc">retry {count(h.retry.attempt)}</span>}
      </div>
    )
  }
  const s = row.span
  return (
    <div role="cell" className="cell" style={indent} title={`${s.name} · ${s.service}`}>
      {folder}
      <span className={'ring' + (bad ? ' bad' : '')} aria-hidden="true" />
      <button type="button" className="rowbutton op" {...press} aria-label={`Span ${s.name}, ${s.service}${bad ? ', failed' : ''}`}>
        {s.name}
      </button>
      {batch && (
        <button
          type="button"
          className="many"
          onClick={(e) => {
            e.stopPropagation()
            acts.batch(batch)
          }}
          aria-label={`Open the batch of ${plain(count(batch.told ?? batch.records))} records`}
        >
          {count(batch.told ?? batch.records)} records
        </button>
      )}
      <span className="svc">{s.service}</span>
    </div>
  )
}

function AxisHead({ axis, width }: { axis: Axis; width: number }) {
  return (
    <svg width={width} height="26" aria-hidden="true">
      {axis.breaks.map((b, i) => (
        <rect key={i} x={b.x0 * width + 3} y="0" width={Math.max(0, (b.x1 - b.x0) * width - 6)} height="26" fill="var(--fold)" />
      ))}
      {axis.ticks.map((t, i) => (
        <line key={i} x1={t.x * width + 0.5} x2={t.x * width + 0.5} y1="18" y2="26" stroke="var(--line-strong)" />
      ))}
      {labelled(axis, width).map((t) => (
        <text key={t.x} x={t.x * width + 4} y="15">
          {t.label}
        </text>
      ))}
      {axis.breaks.map((b, i) => {
        const c = ((b.x0 + b.x1) / 2) * width
        const words = duration(b.to - b.from)
        return (
          <g key={i}>
            <path d={`M${c - 4} 4l4 6-4 6 4 6M${c + 2} 4l4 6-4 6 4 6`} fill="none" stroke="var(--muted)" />
            <title>{words} of waiting is folded</title>
          </g>
        )
      })}
    </svg>
  )
}

interface LaneProps {
  row: Row
  axis: Axis
  width: number
  height: number
  origin: string
  path: readonly Interval[] | undefined
  batch: Batch | undefined
}

function Lane({ row, axis, width, height, origin, path, batch }: LaneProps) {
  const x = (t: number) => axis.x(t) * (width - 2) + 1
  const onPath = path?.map((p, i) => {
    const a = x(p.from)
    return <line key={i} className="onpath" x1={a} x2={Math.max(x(p.to), a + 1.5)} y1={4} y2={4} />
  })
  if (row.kind === 'hop') return <HopLane hop={row.hop} axis={axis} width={width} height={height} origin={origin} x={x} onPath={onPath} />
  const s = row.span
  const { from: start, to: end } = spanAt(s, origin)
  const from = x(start)
  const w = Math.max(x(end) - from, 2)
  const bad = s.status === 'error'
  const bar = (y: number, tall: number) => <rect x={from} y={y} width={w} height={tall} rx="2" fill={bad ? 'var(--bad)' : 'var(--faint)'} opacity={bad ? 0.9 : 0.55} />
  return (
    <svg width={width} height={height} role="img" aria-label={`Span ${s.name}: ${plain(duration(end - start))}${batch ? `, ${plain(count(batch.told ?? batch.records))} records` : ''}`}>
      {onPath}
      {batch ? (
        <BatchMark batch={batch} took={duration(end - start)} from={from} end={from + w} width={width} bar={bar} />
      ) : (
        <>
          {bar(10, 10)}
          <EndText from={from} end={from + w} width={width} text={duration(end - start)} />
        </>
      )}
    </svg>
  )
}

function HopLane({ hop: h, axis, width, height, origin, x, onPath }: { hop: Hop; axis: Axis; width: number; height: number; origin: string; x: (t: number) => number; onPath: React.ReactNode }) {
  const list = segments(h, origin)
  const total = h.start && h.end ? minus(h.end, h.start) : 0
  // Where parts are negative, the end lies before the start.
  const from = list.length > 0 ? Math.min(...list.map((s) => x(s.from))) : h.start ? x(minus(h.start, origin)) : 0
  const hidden = list.some((s) => s.kind === 'unknown' && x(s.to) - x(s.from) < WORD)
  const negative = h.parts.filter((p) => p.known && p.ns < 0)
  const said = [
    h.consumer ? duration(total) : 'not read yet',
    hidden && h.consumer ? 'part unknown' : '',
    ...negative.map((p) => duration(p.ns)),
    h.record.attempts > 1 ? `written ${count(h.record.attempts)}×` : '',
    h.record.throttleNs > 0 ? `throttled ${duration(h.record.throttleNs)}` : '',
  ]
    .filter(Boolean)
    .join(' · ')
  const settle = h.settle
  const settleFrom = settle?.from ? x(minus(settle.from, origin)) : 0
  const settleTo = settle?.to ? Math.max(x(minus(settle.to, origin)), settleFrom + 1.5) : 0
  const work = Math.max(from + 2, ...list.map((s) => x(s.to)))
  const end = Math.max(work, settleTo)
  const folded = lengthsOnBreaks(list, axis.breaks).map(({ s, b }) => ({ at: ((b.x0 + b.x1) / 2) * width, s }))
  return (
    <svg width={width} height={height} role="img" aria-label={hopLabel(h)}>
      <HopShapes list={list} x={x} y={8} height={15} />
      {settle && (
        <rect x={settleFrom} y="8" width={settleTo - settleFrom} height="15" rx="1.5" fill="var(--settle)">
          <title>Settle {duration(settle.ns)}: the commit that covers it</title>
        </rect>
      )}
      <ErrorBars hop={h} origin={origin} x={x} />
      {onPath}
      {folded.map(({ at, s }, i) => {
        const t = duration(s.to - s.from)
        const w = textWidth(t, true) + 14
        const left = Math.min(Math.max(at - w / 2, 1), width - w - 1)
        return (
          <g key={i}>
            <rect x={left} y={7.5} width={w} height={16} rx="8" fill="var(--panel)" stroke={s.kind === 'part' ? `var(--${s.name === 'backlog' ? 'backlog' : s.name === 'batch_queue' ? 'batch' : s.name === 'fetch_queue' ? 'fetchq' : 'line-strong'})` : 'var(--line-strong)'} />
            <text x={left + w / 2} y={19.5} textAnchor="middle" className="d">
              {t}
            </text>
          </g>
        )
      })}
      {folded.length === 0 && <EndText from={from} end={work + textWidth(said) + 10 < settleFrom ? work : end} width={width} text={said} />}
    </svg>
  )
}

/** Where the append truly lies: within these, says the comparison of the two hosts' clocks. */
function ErrorBars({ hop, origin, x }: { hop: Hop; origin: string; x: (t: number) => number }) {
  const append = appendBounds(hop, origin)
  if (!append) return null
  const a = x(append.lo)
  const b = x(append.hi)
  const middle = (a + b) / 2
  const left = Math.min(a, middle - 3)
  const right = Math.max(b, middle + 3)
  return (
    <g className="errbar">
      <path d={`M${left} 24.5v4M${right} 24.5v4M${left} 26.5H${right}`} />
      <title>{appendWords(append)}</title>
    </g>
  )
}

/** A batch on its row: how long it took, a small distribution of ages, and the words for it. Where neither side of the bar has room, the bar is low and they stand above it. */
function BatchMark({ batch, took, from, end, width, bar }: { batch: Batch; took: string; from: number; end: number; width: number; bar: (y: number, tall: number) => React.ReactNode }) {
  const project = new URLSearchParams(location.search).get('project') ?? undefined
  const ages = useQuery({
    queryKey: ['batch-ages', project, batch.traceId, batch.spanId],
    queryFn: ({ signal }) => ask<'/api/v1/traces/{id}/spans/{span}/batch'>(`/traces/${batch.traceId}/spans/${batch.spanId}/batch`, { project, limit: 1 }, signal),
    staleTime: 60_000,
  }).data?.ages
  if (!ages) {
    return (
      <>
        {bar(10, 10)}
        <EndText from={from} end={end} width={width} text={took} />
      </>
    )
  }
  const most = Math.max(1, ...ages.buckets.map((b) => b.count))
  const step = 4
  const wide = ages.buckets.length * step
  const words = ages.known > 0 ? `half older than ${duration(ages.p50Ns)}, the oldest ${duration(ages.maxNs)}` : 'ages unknown'
  const text = [`${took} · ${words}`, words, took].find((t) => wide + textWidth(t) + 22 < width) ?? ''
  const room = wide + textWidth(text) + 22
  const right = end + room < width
  const above = !right && from < room
  const left = right ? end + 8 : above ? 2 : from - room
  const base = above ? 22 : 25
  const tall = (n: number) => Math.max(n ? 1.5 : 0, (n / most) * (base - 6))
  return (
    <g>
      {above ? bar(24.5, 4) : bar(10, 10)}
      {ages.buckets.map((b, i) => (
        <rect key={i} x={left + i * step} y={base - tall(b.count)} width={step - 1} height={tall(b.count)} fill={b.fromNs < 0 ? 'var(--bad)' : 'var(--backlog)'} />
      ))}
      <text x={left + wide + 8} y={above ? 18 : 19}>
        {text}
      </text>
    </g>
  )
}

/** Beside the bar, on the side that has room; within it when neither has. */
function EndText({ from, end, width, text }: { from: number; end: number; width: number; text: string }) {
  const room = textWidth(text) + 10
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

