import { keepPreviousData, useQuery, useQueryClient } from '@tanstack/react-query'
import { Fragment } from 'react'
import { useLocation, useSearch } from 'wouter'
import { ask } from '../../api/client'
import type { Ledger as Data, LedgerLine, Status } from '../../api/types'
import { apiRange, readFilters, withParams } from '../../lib/filters'
import { count, plain, share } from '../../lib/format'
import { useTitle } from '../../lib/hooks'
import { useRowKeys } from '../../lib/keys'
import { useLive } from '../../lib/live'
import { Export } from '../../parts/Export'
import { Finding, titleText } from '../../parts/Finding'
import { Link } from '../../parts/Link'
import { Shell } from '../../parts/Shell'
import { Empty, Failed, Ghosts } from '../../parts/States'
import { amount, ENDS, endOf, inBytes, ledgerFinding, nameOf, pageOf, since, words } from './ledger'

/** Where every item went: one table that adds up. */
export function Ledger({ status }: { status: Status | undefined }) {
  const search = useSearch()
  const [path, go] = useLocation()
  const cache = useQueryClient()
  const [live, setLive] = useLive()
  const q = new URLSearchParams(search)
  const f = readFilters(search)
  const one = q.get('project') || undefined
  const params = { ...apiRange(f), ...(one ? { project: one } : { all: true }) }
  const opened = q.get('open') ?? ''
  const ledger = useQuery({
    queryKey: ['ledger', params],
    queryFn: ({ signal }) => ask<'/api/v1/ledger'>('/ledger', params, signal),
    placeholderData: keepPreviousData,
    staleTime: Infinity,
  })
  const d = ledger.data
  // What came since waits behind a button: no number changes under the eye.
  const newer = useQuery({
    queryKey: ['ledger-since', params],
    queryFn: ({ signal }) => ask<'/api/v1/ledger'>('/ledger', params, signal),
    enabled: live && !f.to && !!d && !ledger.isPlaceholderData,
    refetchInterval: 5000,
    retry: false,
  })
  const change = d && newer.data && newer.dataUpdatedAt > ledger.dataUpdatedAt ? since(d, newer.data) : undefined
  const show = () => newer.data && cache.setQueryData(['ledger', params], newer.data)
  const toggle = (category: string) => go(path + withParams(search, { open: opened === category ? '' : category }), { replace: true })
  const finding = d && ledgerFinding(d)
  useRowKeys()
  useTitle(titleText(finding) || 'Ledger')
  return (
    <Shell page="Ledger" status={status} allProjects ranged live={{ on: live, set: setLive }}>
      <Finding finding={finding} failed={ledger.error && 'The ledger cannot be shown'}>
        {change?.moved && (
          <button type="button" className="new" onClick={show}>
            {change.items > 0 ? `${count(change.items)} new ${change.items === 1 ? 'item' : 'items'}` : 'Show what changed'}
          </button>
        )}
        {d && <span className="tag">as of {new Date(ledger.dataUpdatedAt).toLocaleTimeString('en-GB')}</span>}
        {d && <span className={'tag ' + (d.balanced ? 'ok' : 'bad')}>{d.balanced ? 'balanced' : 'not balanced'}</span>}
        {d && <Export path="/ledger" params={params} what="lines" />}
      </Finding>
      {ledger.error && !d ? (
        <Failed error={ledger.error} retry={() => void ledger.refetch()} retrying={ledger.isFetching} />
      ) : d && d.lines.length === 0 ? (
        <Empty title="No item was received">
          <p>
            Ask for a <Link to="?from=all">longer time</Link>, or look whether senders reach this server: <code>{status?.projects[0]?.dsns[0] ?? status?.endpoints.otlpHttp}</code>
          </p>
        </Empty>
      ) : (
        <div className={'panel scroll' + (ledger.isPlaceholderData ? ' stale' : '')}>
          <table aria-label="Ledger" className="ledger" aria-busy={ledger.isFetching}>
            <thead>
              <tr>
                <th>Category</th>
                <th className="num">Received</th>
                {ENDS.map((e, i) => (
                  <th key={e.key} className="num">
                    <span className="sign" aria-hidden="true">
                      {i === 0 ? '=' : '+'}
                    </span>
                    {e.label}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>{d ? d.lines.map((l) => <Line key={l.category} l={l} open={opened === l.category} toggle={() => toggle(l.category)} />) : <Ghosts rows={7} columns={9} />}</tbody>
          </table>
        </div>
      )}
      {d && d.lines.length > 0 && <Backlog d={d} />}
    </Shell>
  )
}

function Line({ l, open, toggle }: { l: LedgerLine; open: boolean; toggle: () => void }) {
  const page = pageOf(l.category)
  const name = nameOf(l.category)
  return (
    <Fragment>
      <tr className={open ? 'sel' : ''}>
        <th scope="row">
          <button type="button" data-row className="rowbutton" aria-expanded={open} onClick={toggle}>
            <span className="twist" aria-hidden="true">
              {open ? '▾' : '▸'}
            </span>
            {name}
          </button>
        </th>
        <td className="num" data-label="Received">
          <b>{amount(l.category, l.received)}</b>
        </td>
        {ENDS.map((e) => {
          const n = l[e.key]
          const shown = amount(l.category, n)
          return (
            <td key={e.key} className={'num' + (n === 0 ? ' none' : '')} data-label={e.label}>
              {n === 0 ? (
                '0'
              ) : e.key === 'parked' || (e.key === 'stored' && page) ? (
                <Link to={e.key === 'parked' ? '/health/letters' : page!} aria-label={`${plain(shown)} ${name} ${e.label.toLowerCase()}`}>
                  {shown}
                </Link>
              ) : (
                shown
              )}
            </td>
          )
        })}
      </tr>
      {open && (
        <tr className="opened">
          <td colSpan={ENDS.length + 2}>
            <Reasons l={l} />
          </td>
        </tr>
      )}
    </Fragment>
  )
}

/** Why items of a category are not stored, and what its columns mean. */
function Reasons({ l }: { l: LedgerLine }) {
  const name = nameOf(l.category)
  const of = (n: number) => share(n / l.received)
  return (
    <>
      <p className="reckoning">
        <b>{amount(l.category, l.received)}</b> received ={' '}
        {ENDS.filter((e) => l[e.key] !== 0).map((e, i) => (
          <span key={e.key}>
            {i > 0 && ' + '}
            <b>{amount(l.category, l[e.key])}</b> {e.label.toLowerCase()} <span className="muted">({e.says})</span>
          </span>
        ))}
      </p>
      {l.untold > 0 && (
        <p className="muted">
          Of {amount(l.category, l.untold)} of them collectors have not told yet that they took them. They do so within seconds, unless one was killed or another program wrote to the topics.
        </p>
      )}
      {l.reasons.length === 0 ? (
        <p className="muted">{l.inFlight === 0 ? 'Nothing else happened to them.' : 'No item was refused for a reason.'}</p>
      ) : (
        <table aria-label={`Reasons of ${name}`} className="reasons">
          <thead>
            <tr>
              <th>What happened</th>
              <th>Reason</th>
              <th className="num">{inBytes(l.category) ? 'Bytes' : 'Items'}</th>
              <th className="num">Of received</th>
            </tr>
          </thead>
          <tbody>
            {[...l.reasons]
              .sort((a, b) => b.quantity - a.quantity)
              .map((r) => (
                <tr key={r.outcome + r.reason}>
                  <td>
                    {words(r.outcome)} {endOf(r.outcome) === undefined && <span className="muted">(not in a column)</span>}
                  </td>
                  <td className="mono wrap">{r.reason || <span className="unknown-word">not told</span>}</td>
                  <td className="num">{amount(l.category, r.quantity)}</td>
                  <td className="num">{of(r.quantity)}</td>
                </tr>
              ))}
          </tbody>
        </table>
      )}
    </>
  )
}

/** What the stages have not read yet: it explains what is in flight. */
function Backlog({ d }: { d: Data }) {
  // The largest first; those with nothing to read keep the order of the line.
  const stages = [...(d.backlog ?? [])].sort((a, b) => b.records - a.records)
  return (
    <section className="panel pad backlog" aria-label="Backlog by stage" id="backlog">
      <h2>What the stages have not read yet, of all projects and times</h2>
      {d.backlog === null ? (
        <p className="muted">This process cannot ask the broker: the backlog is unknown. A process with the roles of the pipeline can.</p>
      ) : (
        <>
          {stages.length > 0 && (
            <table aria-label="Backlog">
              <thead>
                <tr>
                  <th>Stage</th>
                  <th>Topic</th>
                  <th className="num">Records</th>
                </tr>
              </thead>
              <tbody>
                {stages.map((b) => (
                  <tr key={b.stage + b.topic}>
                    <th scope="row">{b.stage}</th>
                    <td className="mono">{b.topic}</td>
                    <td className={'num' + (b.records === 0 ? ' none' : '')}>{count(b.records)}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          )}
          {d.backlog.length === 0 && <p className="muted">No stage reads yet.</p>}
        </>
      )}
    </section>
  )
}
