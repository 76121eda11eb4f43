import type { ReactNode } from 'react'
import type { Hop, Span } from '../../api/types'
import { count, duration, fullTime, minus, short, time } from '../../lib/format'
import { PARTS, recordName } from '../../lib/parts'
import { Measured } from '../../parts/ClockNote'
import { HopBar } from '../../parts/HopBar'
import { Link } from '../../parts/Link'

/** A column of a table of rows. */
export interface Column<T> {
  name: string
  label: string
  /** Field that the server sorts by. */
  sort?: string
  numeric?: boolean
  /** What a query asks the cell's value by: a field, and the value. */
  asks?: (row: T) => string | undefined
  attribute?: boolean
  cell: (row: T) => ReactNode
}

const unknown = <span className="unknown-word">unknown</span>

function traceOf(h: Hop): string {
  return h.consumer?.traceId ?? h.producer?.traceId ?? ''
}

export const SPAN_COLUMNS: readonly Column<Span>[] = [
  {
    name: 'time',
    label: 'Started',
    sort: 'time',
    cell: (s) => (
      <Link to={`/traces/${s.traceId}?row=${s.spanId}`} data-row className="rowlink" title={fullTime(s.start)} aria-label={`${s.name} at ${time(s.start)}`}>
        {time(s.start)}
      </Link>
    ),
  },
  { name: 'service', label: 'Service', asks: (s) => s.service, cell: (s) => s.service },
  { name: 'name', label: 'Span', asks: (s) => s.name, cell: (s) => s.name },
  { name: 'duration', label: 'Took', sort: 'duration', numeric: true, cell: (s) => duration(minus(s.end, s.start)) },
  { name: 'status', label: 'Status', asks: (s) => s.status, cell: (s) => (s.status === 'error' ? <span className="tag bad">error</span> : s.status) },
  { name: 'kind', label: 'Kind', asks: (s) => (s.kind === 'unspecified' ? undefined : s.kind), cell: (s) => s.kind },
  { name: 'status.message', label: 'Said', asks: (s) => s.statusMessage || undefined, cell: (s) => s.statusMessage },
  { name: 'scope', label: 'Scope', asks: (s) => s.scope || undefined, cell: (s) => s.scope },
  { name: 'trace', label: 'Trace', asks: (s) => s.traceId, cell: (s) => <span className="mono">{short(s.traceId)}</span> },
]

export const HOP_COLUMNS: readonly Column<Hop>[] = [
  {
    name: 'time',
    label: 'Done',
    sort: 'time',
    cell: (h) => (
      <Link to={`/traces/${traceOf(h)}?row=${encodeURIComponent(h.id)}`} data-row className="rowlink" title={h.end ? fullTime(h.end) : undefined} aria-label={`${recordName(h)} done ${h.end ? time(h.end) : 'at an unknown time'}`}>
        {h.end ? time(h.end) : unknown}
      </Link>
    ),
  },
  { name: 'topic', label: 'Topic', asks: (h) => h.topic, cell: (h) => h.topic },
  { name: 'partition', label: 'Partition', numeric: true, asks: (h) => (h.partition === null ? undefined : String(h.partition)), cell: (h) => (h.partition === null ? unknown : h.partition) },
  { name: 'offset', label: 'Offset', numeric: true, cell: (h) => (h.offset === null ? unknown : count(h.offset)) },
  { name: 'producer', label: 'From', asks: (h) => h.producer?.service || undefined, cell: (h) => h.producer?.service || unknown },
  { name: 'group', label: 'Group', asks: (h) => h.group || undefined, cell: (h) => h.group || <span className="muted">no group</span> },
  { name: 'end_to_end', label: 'Sent → done', sort: 'end_to_end', numeric: true, cell: (h) => <Measured h={h} of={h.endToEnd} /> },
  { name: 'parts', label: 'Where the time went', cell: (h) => <HopBar hop={h} width={160} height={14} /> },
  { name: 'status', label: 'Status', asks: (h) => (h.failed ? 'error' : 'ok'), cell: (h) => (h.failed ? <span className="tag bad">failed</span> : 'ok') },
  { name: 'service', label: 'Service', asks: (h) => h.consumer?.service || undefined, cell: (h) => h.consumer?.service || unknown },
  ...PARTS.map(
    (p): Column<Hop> => ({
      name: p.name,
      label: p.label,
      sort: p.name,
      numeric: true,
      cell: (h) => <Measured h={h} of={h.parts.find((x) => x.name === p.name)} crosses={p.name === 'backlog' || p.name === 'long_poll'} />,
    }),
  ),
  { name: 'behind', label: 'Behind', sort: 'behind', numeric: true, cell: (h) => (h.behind === null ? unknown : count(h.behind)) },
  { name: 'size', label: 'Bytes', sort: 'size', numeric: true, cell: (h) => (h.record.size === null ? unknown : count(h.record.size)) },
  { name: 'trace', label: 'Trace', asks: (h) => traceOf(h) || undefined, cell: (h) => <span className="mono">{short(traceOf(h))}</span> },
]

export const SPAN_DEFAULT = ['time', 'service', 'name', 'duration', 'status']
export const HOP_DEFAULT = ['time', 'topic', 'partition', 'offset', 'producer', 'group', 'end_to_end', 'parts', 'status']

/** A column of an attribute. */
export function attributeColumn(key: string): Column<Span> {
  const resource = key.startsWith('resource.')
  const value = (s: Span) => (resource ? s.resource : s.attributes).find((a) => a.key === (resource ? key.slice('resource.'.length) : key))?.value
  return { name: key, label: key, attribute: true, asks: value, cell: (s) => value(s) ?? <span className="faint">none</span> }
}

/** The columns of a list of names; what is no column of the subject is an attribute of spans. */
export function columnsOf<T extends Span | Hop>(names: readonly string[], known: readonly Column<T>[], attributes: boolean): Column<T>[] {
  const out: Column<T>[] = []
  for (const name of names) {
    const c = known.find((k) => k.name === name)
    if (c) out.push(c)
    else if (attributes && name) out.push(attributeColumn(name) as unknown as Column<T>)
  }
  return out
}
