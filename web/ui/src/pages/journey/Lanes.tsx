import { useMemo, useState } from 'react'
import type { Hop, Journey } from '../../api/types'
import { axisOf, labelled, MODES, type Axis, type Mode } from '../../lib/axis'
import { count, duration, fullTime, plain, time } from '../../lib/format'
import { useMedia, useWidth } from '../../lib/hooks'
import { textWidth } from '../../lib/measure'
import { appendWords, hopLabel, recordName } from '../../lib/parts'
import type { Row } from '../../lib/tree'
import { edgesOf, workOf } from '../../lib/work'
import { Measured } from '../../parts/ClockNote'
import { HopBar, HopShapes } from '../../parts/HopBar'
import { Link } from '../../parts/Link'
import { recordPath } from '../record/path'
import { isBad, labelWidth, lanesOf, retryWords, type Edge, type Lane, type Lanes as Layout, type Mark, type Place, type Work } from './lanes'
import './journey.css'

const TOPIC_ROW = 34
const SERVICE_ROW = 26
const PAD = 7
const LEFT_ROW = 20
/** Room at the right for what is not read yet. */
const OPEN = 84
const LEAD = 34

interface Props {
  journey: Journey
  rows: readonly Row[]
  mode: Mode
  setMode: (m: Mode) => void
  /** id of the selected hop */
  selected: string | undefined
  select: (id: string) => void
  /** When the journey was read, Unix ns. */
  now: string
  table: boolean
}

/** The journey as lanes, topics with services between; on a phone, and when asked for, the same as a table. */
export function Lanes(p: Props) {
  const narrow = useMedia('(max-width: 760px)')
  if (p.journey.hops.length === 0) {
    return (
      <p className="state muted">No Kafka message was seen in this trace: there is nothing to draw in lanes. The waterfall shows its spans.</p>
    )
  }
  return p.table || narrow ? <LaneTable {...p} /> : <Picture {...p} />
}

function Picture({ journey: j, rows, mode, setMode, selected, select, now }: Props) {
  const [ref, width] = useWidth()
  const open = j.hops.some((h) => !h.consumer)
  // Room at the left for what nobody told the sending of.
  const lead = j.hops.some((h) => !h.producer) ? LEAD : 1
  const across = Math.max(width - (open ? OPEN : 2) - lead, 10)
  const work = useMemo(() => workOf(rows, j.spans, j.hops, j.start), [rows, j])
  const axis = useMemo(() => axisOf(mode, j.durationNs, work, Math.max(2, Math.round(across / 110)), edgesOf(j.hops, j.start)), [mode, j, work, across])
  const layout = useMemo(() => (width > 0 ? lanesOf(j, (t) => axis.x(t) * across + lead, width, now, selected) : undefined), [j, axis, across, lead, width, now, selected])
  const x = (t: number) => axis.x(t) * across + lead
  const tops = layout ? topsOf(layout) : []
  const height = layout ? tops.at(-1)! : 200
  const left = layout ? layout.total - layout.drawn : 0
  return (
    <div className="lanes">
      <div className="axish">
        <span>Lanes</span>
        <kbd aria-hidden="true">z</kbd>
        <button type="button" className="axisbutton" onClick={() => setMode(MODES[(MODES.indexOf(mode) + 1) % MODES.length]!)} title="Folded, linear, logarithmic: press z">
          <span className="only-read">Time axis: </span>
          {mode}
        </button>
      </div>
      <div className="axis" ref={ref}>
        {width > 0 && <Head axis={axis} width={width} across={across} lead={lead} />}
      </div>
      <div className="lanenames">
        {layout?.lanes.map((l, i) => (
          <div key={l.kind + l.name} className={'lanename ' + l.kind} style={{ height: tops[i + 1]! - tops[i]! }} title={l.name}>
            <svg width="14" height="14" viewBox="0 0 14 14" aria-hidden="true">
              {l.kind === 'topic' ? <path d="M2 3.5c0-1 2-2 5-2s5 1 5 2v7c0 1-2 2-5 2s-5-1-5-2zM2 3.5c0 1 2 2 5 2s5-1 5-2" fill="none" /> : <rect x="2" y="2.5" width="10" height="9" rx="1" fill="none" />}
            </svg>
            {l.kind === 'topic' ? <Link to={'/messages?topic=' + encodeURIComponent(l.name)}>{l.name}</Link> : <span>{l.name || 'a service without name'}</span>}
          </div>
        ))}
      </div>
      <div className="lanebody">
        {layout && (
          <svg width={width} height={height} role="group" aria-label={`Journey over ${layout.lanes.filter((l) => l.kind === 'topic').length} topics, ${plain(duration(j.durationNs))} in all`}>
            {layout.lanes.map((l, i) => (
              <rect key={i} x="0" y={tops[i]} width={width} height={tops[i + 1]! - tops[i]!} className={'laneback ' + l.kind} />
            ))}
            {axis.breaks.map((b, i) => (
              <rect key={i} x={b.x0 * across + lead + 3} y="0" width={Math.max(0, (b.x1 - b.x0) * across - 6)} height={height} fill="var(--raised)" opacity=".7" />
            ))}
            {axis.ticks.map((t, i) => (
              <line key={i} x1={t.x * across + lead + 0.5} x2={t.x * across + lead + 0.5} y1="0" y2={height} stroke="var(--line)" strokeDasharray="1 3" />
            ))}
            {layout.edges.map((e, i) => (
              <Way key={i} e={e} x={x} tops={tops} lanes={layout.lanes} on={e.id === selected} />
            ))}
            {layout.lanes.map((l, i) => (
              <g key={i}>
                {l.works.map((w) => (
                  <WorkMark key={w.id} w={w} x={x} width={width} y={tops[i]! + PAD + w.row * SERVICE_ROW} selected={w.hops.some((h) => h.id === selected)} select={select} />
                ))}
                {l.marks.map((m) => (
                  <RecordMark key={m.hop.id} m={m} x={x} width={width} y={tops[i]! + PAD + m.row * TOPIC_ROW} selected={m.hop.id === selected} select={select} />
                ))}
                {l.left.length > 0 && <Rest lane={l} x={x} y={tops[i + 1]! - LEFT_ROW - 2} width={width} />}
              </g>
            ))}
            {axis.breaks.map((b, i) => {
              const words = duration(b.to - b.from)
              const w = textWidth(words) + 14
              const at = Math.min(Math.max(((b.x0 + b.x1) / 2) * across + lead - w / 2, 1), width - w - 1)
              return (
                <g key={i}>
                  <rect x={at} y={height - 19} width={w} height={15} rx="7.5" fill="var(--panel)" stroke="var(--line-strong)" />
                  <text x={at + w / 2} y={height - 8} textAnchor="middle">
                    {words}
                  </text>
                </g>
              )
            })}
          </svg>
        )}
      </div>
      <p className="lanenote muted">
        {left > 0 && (
          <>
            <b>{count(layout!.drawn)}</b> of {count(layout!.total)} readings are drawn one by one: those that failed, were sent on, are unread or took longest. <Link to="?view=table">The table has all</Link>.{' '}
          </>
        )}
        {j.cut.some((c) => c.what === 'hops') && <>The journey has more hops than the {count(j.cut.find((c) => c.what === 'hops')!.limit)} that are read. </>}
        A bar is a record in its topic until a group gets it; below it the service works. An outline is time that nobody measured.
      </p>
    </div>
  )
}

/** Where each lane begins; the last is where all end. */
function topsOf(l: Layout): number[] {
  const tops = [0]
  for (const lane of l.lanes) tops.push(tops.at(-1)! + PAD * 2 + lane.rows * (lane.kind === 'topic' ? TOPIC_ROW : SERVICE_ROW) - (lane.kind === 'topic' ? 4 : 0) + (lane.left.length > 0 ? LEFT_ROW : 0))
  return [...tops.slice(0, -1), tops.at(-1)! + 20]
}

function Head({ axis, width, across, lead }: { axis: Axis; width: number; across: number; lead: number }) {
  const place = (x: number) => (x * across + lead) / width
  const placed = { ticks: axis.ticks.map((t) => ({ ...t, x: place(t.x) })), breaks: axis.breaks.map((b) => ({ ...b, x0: place(b.x0), x1: place(b.x1) })) }
  return (
    <svg width={width} height="26" aria-hidden="true">
      {axis.breaks.map((b, i) => {
        const c = ((b.x0 + b.x1) / 2) * across + lead
        return <path key={i} d={`M${c - 4} 4l4 6-4 6 4 6M${c + 2} 4l4 6-4 6 4 6`} fill="none" stroke="var(--muted)" />
      })}
      {placed.ticks.map((t, i) => (
        <line key={i} x1={t.x * width + 0.5} x2={t.x * width + 0.5} y1="18" y2="26" stroke="var(--line-strong)" />
      ))}
      {labelled(placed, width).map((t) => (
        <text key={t.x} x={t.x * width + 4} y="15">
          {t.label}
        </text>
      ))}
    </svg>
  )
}

const middle = (lane: Lane, top: number, row: number) => top + PAD + (lane.kind === 'topic' ? row * TOPIC_ROW + 21 : row * SERVICE_ROW + 10)

/** From a service down to the record that it sent, or from a record to who read it. */
function Way({ e, x, tops, lanes, on }: { e: Edge; x: (t: number) => number; tops: readonly number[]; lanes: readonly Lane[]; on: boolean }) {
  const at = (p: Place) => [x(p.at), middle(lanes[p.lane]!, tops[p.lane]!, p.row)] as const
  const [x0, y0] = at(e.from)
  const [x1, y1] = at(e.to)
  const half = (y0 + y1) / 2
  const down = y1 > y0
  const tip = y1 + (down ? -6 : 6)
  return (
    <g className={`way ${e.kind} ${e.tone}${on ? ' on' : ''}`}>
      <path d={Math.abs(x0 - x1) < 1 ? `M${x1} ${y0}V${tip}` : `M${x0} ${y0}C${x0} ${half} ${x1} ${half} ${x1} ${tip}`} fill="none" />
      <path d={`M${x1 - 3.5} ${tip + (down ? -5 : 5)}L${x1} ${tip}L${x1 + 3.5} ${tip + (down ? -5 : 5)}`} fill="none" />
      {e.words && <title>{e.words}</title>}
    </g>
  )
}

function press(select: () => void) {
  return {
    role: 'button',
    onClick: select,
    onKeyDown: (e: React.KeyboardEvent) => {
      if (e.key !== 'Enter' && e.key !== ' ') return
      e.preventDefault()
      select()
    },
  } as const
}

function RecordMark({ m, x, y, width, selected, select }: { m: Mark; x: (t: number) => number; y: number; width: number; selected: boolean; select: (id: string) => void }) {
  const h = m.hop
  const from = x(m.from)
  const to = m.waits === undefined ? Math.max(x(m.to), from + 3) : width - 8
  const label = Math.max(1, Math.min(from, width - labelWidth(m)))
  const tone = isBad(h) ? 'bad' : m.waits !== undefined || retryWords(h) ? 'warn' : ''
  return (
    <g className={'mark' + (selected ? ' sel' : '')} data-mark={h.id} tabIndex={selected ? 0 : -1} aria-pressed={selected} aria-label={`${hopLabel(h)}${m.words ? ', ' + m.words : ''}`} {...press(() => select(h.id))}>
      <rect x={Math.min(from, label) - 3} y={y - 2} width={Math.max(to, label + labelWidth(m) - 8) - Math.min(from, label) + 6} height={TOPIC_ROW - 3} rx="3" className="hit" />
      <text x={label} y={y + 10} className={'name ' + tone}>
        {m.label}
      </text>
      {m.fork && <path d={`M${from} ${y + 21 - TOPIC_ROW + 7}V${y + 21}`} className="fork" />}
      {!h.producer && !m.fork && (
        <g>
          <rect x={from - LEAD + 4} y={y + 15.5} width={LEAD - 6} height={11} rx="1.5" className="unknown" />
          <title>sent by a producer that is not instrumented, or whose span is not stored: unknown</title>
        </g>
      )}
      {m.segments.length === 0 && <rect x={from + 0.5} y={y + 15.5} width={Math.max(to - from - 1, 3)} height={11} rx="1.5" className="unknown" />}
      <HopShapes list={m.segments} x={x} y={y + 15} height={12} />
      {m.waits !== undefined && (
        <g className="open">
          <path d={`M${x(m.segments.at(-1)?.to ?? m.from)} ${y + 21}H${to - 4}`} />
          <path d={`M${to - 8} ${y + 17}l5 4-5 4`} />
        </g>
      )}
      {m.append && (
        <path className="whisker" d={`M${x(m.append.lo)} ${y + 21}H${x(m.append.hi)}M${x(m.append.lo)} ${y + 17}v8M${x(m.append.hi)} ${y + 17}v8`}>
          <title>{appendWords(m.append)}</title>
        </path>
      )}
    </g>
  )
}

function WorkMark({ w, x, y, width, selected, select }: { w: Work; x: (t: number) => number; y: number; width: number; selected: boolean; select: (id: string) => void }) {
  const from = x(w.from)
  const end = Math.max(x(w.to), from + 3)
  const at = w.side === 'right' ? { x: end + 5 } : w.side === 'left' ? { x: from - 5, textAnchor: 'end' as const } : { x: width - 6, textAnchor: 'end' as const, className: 'over' }
  const bar = <rect x={from} y={y + 4} width={end - from} height={12} rx="2" fill={w.failed ? 'var(--bad)' : w.hops.length > 0 ? 'var(--process)' : 'var(--faint)'} opacity={w.hops.length > 0 || w.failed ? 1 : 0.5} />
  const text = (
    <text {...at} y={y + 14}>
      {w.words}
    </text>
  )
  const first = w.hops[0]
  if (!first)
    return (
      <g>
        {bar}
        {text}
      </g>
    )
  return (
    <g className={'mark' + (selected ? ' sel' : '')} tabIndex={-1} aria-pressed={selected} aria-label={`Processed ${w.records === 1 ? recordName(first) : plain(count(w.records)) + ' records'} for ${plain(duration(w.to - w.from))}${w.failed ? ', failed' : ''}`} {...press(() => select(first.id))}>
      <rect x={from - 3} y={y + 1} width={end - from + 6} height={18} rx="3" className="hit" />
      {bar}
      {text}
    </g>
  )
}

/** What has no row of its own: each a stroke where it lies. */
function Rest({ lane, x, y, width }: { lane: Lane; x: (t: number) => number; y: number; width: number }) {
  const words = `${count(lane.left.length)} more ${lane.kind === 'topic' ? 'readings' : 'works'}, in the table`
  return (
    <g className="rest">
      <path d={lane.left.map((l) => `M${x(l.from)} ${y + 9}H${Math.max(x(l.to), x(l.from) + 1.5)}`).join('')} />
      <text x={width - 6} y={y + 13} textAnchor="end" className="over">
        {words}
      </text>
    </g>
  )
}

/** How many rows the table shows at first, and more at each press. */
const PAGE = 200

function LaneTable({ journey: j, selected, select, now }: Props) {
  const [shown, setShown] = useState(PAGE)
  const at = j.hops.findIndex((h) => h.id === selected)
  const most = Math.max(shown, at + 1)
  return (
    <div className="scroll">
      <table aria-label="Journey" className="ways">
        <thead>
          <tr>
            <th className="wide">Sent</th>
            <th className="wide">From</th>
            <th>Record</th>
            <th>To</th>
            <th>Where the time went</th>
            <th className="num">Sent → done</th>
          </tr>
        </thead>
        <tbody>
          {j.hops.slice(0, most).map((h) => (
            <Line key={h.id} h={h} on={h.id === selected} select={select} now={now} />
          ))}
        </tbody>
      </table>
      {j.hops.length > most && (
        <p className="lanenote">
          <button type="button" className="pick" onClick={() => setShown(most + PAGE)}>
            {count(Math.min(PAGE, j.hops.length - most))} more of {count(j.hops.length - most)}
          </button>
        </p>
      )}
    </div>
  )
}

function Line({ h, on, select, now }: { h: Hop; on: boolean; select: (id: string) => void; now: string }) {
  const words = retryWords(h)
  const path = recordPath(h)
  const written = h.record.appended ?? h.producer?.end
  return (
    <tr className={on ? 'sel' : ''} onClick={() => select(h.id)}>
      <td className="muted wide" title={h.start ? fullTime(h.start) : undefined}>
        {h.start ? time(h.start) : 'unknown'}
      </td>
      <td className="wide">{h.producer ? h.producer.service || 'a service without name' : <span className="unknown-word">unknown</span>}</td>
      <td className="first">
        <button type="button" data-row className="rowbutton" aria-pressed={on} aria-label={hopLabel(h)}>
          <b>{h.topic}</b>
        </button>{' '}
        <span className="mono muted coords">
          {path ? <Link to={path}>{`p${h.partition} · ${count(h.offset!)}`}</Link> : `${h.partition === null ? 'p?' : 'p' + h.partition} · offset unknown`}
        </span>
        {words && <span className={'tag gap ' + (h.retry?.deadLetter ? 'bad' : 'warn')}>{words}</span>}
        {h.failed && <span className="tag bad gap">failed</span>}
        {h.delivery > 1 && <span className="tag gap">delivery {h.delivery}</span>}
      </td>
      <td>
        {h.consumer ? (
          <>
            {h.consumer.service || 'a service without name'} <span className="muted">{h.group ? 'group ' + h.group : 'no group'}</span>
          </>
        ) : (
          <span className="warnword">not read yet{written ? ', waits ' + duration(Math.max(0, Number(BigInt(now) - BigInt(written)))) : ''}</span>
        )}
      </td>
      <td>
        <HopBar hop={h} width={200} height={14} />
      </td>
      <td className="num">
        <Measured h={h} of={h.endToEnd} />
      </td>
    </tr>
  )
}
