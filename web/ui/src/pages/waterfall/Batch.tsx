import { keepPreviousData, useQuery } from '@tanstack/react-query'
import { useLocation, useSearch } from 'wouter'
import { ask } from '../../api/client'
import type { BatchDetail, BatchMessage } from '../../api/types'
import { withParams } from '../../lib/filters'
import { bytes, count, duration, plain, time, fullTime } from '../../lib/format'
import { useWidth } from '../../lib/hooks'
import { recordName } from '../../lib/parts'
import { Export } from '../../parts/Export'
import { Finding } from '../../parts/Finding'
import { HopBar } from '../../parts/HopBar'
import { Link } from '../../parts/Link'
import { Failed, Ghosts } from '../../parts/States'
import { Ages } from './Ages'

const PAGE = 50

/** The records of one batch: a distribution of their ages, and a sorted page of them. Its state is in the URL: order, skip. */
export default function Batch({ trace, span, project, to, close }: { trace: string; span: string; project: string | undefined; to: (trace: string, row: string) => string; close: () => void }) {
  const search = useSearch()
  const [path, go] = useLocation()
  const q = new URLSearchParams(search)
  const order = q.get('order') ?? 'oldest'
  const skip = Math.max(0, Number(q.get('skip')) || 0)
  const [box, width] = useWidth()
  const batch = useQuery({
    queryKey: ['batch', project, trace, span, order, skip],
    queryFn: ({ signal }) => ask<'/api/v1/traces/{id}/spans/{span}/batch'>(`/traces/${trace}/spans/${span}/batch`, { project, order, skip: skip || undefined, limit: PAGE }, signal),
    placeholderData: keepPreviousData,
  })
  const b = batch.data
  const set = (change: Record<string, string>) => go(path + withParams(search, change), { replace: true })
  const head = (name: string, key: string, className = 'num') => (
    <th className={className} aria-sort={order === key ? (key === 'youngest' ? 'ascending' : 'descending') : 'none'}>
      <button type="button" className="sorter" aria-pressed={order === key} onClick={() => set({ order: key === 'oldest' && order === 'oldest' ? 'youngest' : key === 'oldest' ? '' : key, skip: '' })}>
        {name}
      </button>
    </th>
  )
  return (
    <div className="batch">
      <Finding finding={b?.finding} failed={batch.error && !b && 'The batch cannot be shown'}>
        <Export path={`/traces/${trace}/spans/${span}/batch`} params={{ project, order: order === 'oldest' ? undefined : order }} what="records" />
        <button type="button" className="pick" onClick={close}>
          Back to the trace <kbd aria-hidden="true">Esc</kbd>
        </button>
      </Finding>
      {batch.error && !b ? (
        <Failed error={batch.error} retry={() => void batch.refetch()} retrying={batch.isFetching} />
      ) : (
        <div className="panel" aria-busy={!b}>
          <div className="bars2" ref={box}>
            {b && width > 0 ? <Ages ages={b.ages} width={Math.max(width - 32, 200)} /> : <div style={{ height: 190 }} />}
          </div>
          <div className={'scroll' + (batch.isPlaceholderData ? ' stale' : '')}>
            <table aria-label="Records of the batch">
              <thead>
                <tr>
                  {head('Record', 'place', '')}
                  {head(order === 'youngest' ? 'Age, youngest first' : 'Age', 'oldest')}
                  {head('Batch queue', 'batch_queue', 'num wide')}
                  {head('Backlog', 'backlog', 'num wide')}
                  {head('Long poll', 'long_poll', 'num wide')}
                  {head('Fetch queue', 'fetch_queue', 'num wide')}
                  {head('Size', 'size', 'num wide')}
                  <th className="wide">Where the time went</th>
                  <th>Sent by</th>
                </tr>
              </thead>
              <tbody>{b ? b.messages.map((m) => <Line key={m.hop.id} m={m} to={to} />) : <Ghosts rows={10} columns={9} />}</tbody>
            </table>
          </div>
          {b && <Pages b={b} go={(n) => set({ skip: n ? String(n) : '' })} />}
        </div>
      )}
    </div>
  )
}

function Pages({ b, go }: { b: BatchDetail; go: (skip: number) => void }) {
  const last = b.skip + b.messages.length
  return (
    <p className="pages">
      <span className="muted">
        {b.messages.length === 0 ? 'no record here' : `${count(b.skip + 1)} to ${count(last)}`} of {count(b.records)}
        {b.cut && ', and more that are not read'}
      </span>
      <button type="button" className="pick" disabled={b.skip === 0} onClick={() => go(Math.max(0, b.skip - PAGE))}>
        Before
      </button>
      <button type="button" className="pick" disabled={last >= b.records} onClick={() => go(b.skip + PAGE)}>
        Next
      </button>
    </p>
  )
}

function Line({ m, to }: { m: BatchMessage; to: (trace: string, row: string) => string }) {
  const h = m.hop
  const part = (name: string) => {
    const p = h.parts.find((x) => x.name === name)
    return <td className="num wide">{p?.known ? <span className={p.ns < 0 ? 'bad' : ''}>{p.ns === 0 ? 'none' : duration(p.ns)}</span> : <span className="unknown-word">unknown</span>}</td>
  }
  return (
    <tr>
      <td>
        {h.partition !== null && h.offset !== null ? (
          <Link to={`/records/${encodeURIComponent(h.topic)}/${h.partition}/${h.offset}`} data-row className="rowlink" aria-label={recordName(h)}>
            {h.topic}
          </Link>
        ) : (
          h.topic
        )}{' '}
        <span className="mono muted coords">
          {h.partition === null ? 'p?' : 'p' + h.partition} · {h.offset === null ? '?' : count(h.offset)}
        </span>
      </td>
      <td className="num" title={m.ageFrom === 'timestamp' ? "from the record's own timestamp" : m.ageFrom === 'sent' ? 'sent → handed to the application' : undefined}>
        {m.age.known ? <b className={m.age.ns < 0 ? 'bad' : ''}>{duration(m.age.ns)}</b> : <span className="unknown-word">unknown</span>}
        {m.crossesClock && <span className="muted"> two clocks</span>}
        {m.age.uncertaintyNs && <span className="muted"> ± {duration((m.age.uncertaintyNs.hi - m.age.uncertaintyNs.lo) / 2)}</span>}
      </td>
      {part('batch_queue')}
      {part('backlog')}
      {part('long_poll')}
      {part('fetch_queue')}
      <td className="num wide">{h.record.size === null ? <span className="unknown-word">unknown</span> : bytes(h.record.size)}</td>
      <td className="wide">
        <HopBar hop={h} width={140} height={12} />
      </td>
      <td>
        {h.producer ? (
          <Link to={to(h.producer.traceId, h.producer.spanId)} title={fullTime(h.producer.start)} aria-label={`Trace of the producer of ${plain(recordName(h))}`}>
            {h.producer.service || 'a service without name'} <span className="muted">{time(h.producer.start)}</span>
          </Link>
        ) : (
          <span className="unknown-word">unknown</span>
        )}
      </td>
    </tr>
  )
}
