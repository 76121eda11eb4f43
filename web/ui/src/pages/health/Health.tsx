import { keepPreviousData, useQuery } from '@tanstack/react-query'
import { lazy, Suspense, type ReactNode } from 'react'
import { useLocation, useSearch } from 'wouter'
import { ask } from '../../api/client'
import type { HealthCollector, HealthProcess, HealthStage, HealthStore, HealthWeb, LineHealth, Status } from '../../api/types'
import { withParams } from '../../lib/filters'
import { ago, bytes, count, duration, fullTime, plain, rate, share } from '../../lib/format'
import { useTitle } from '../../lib/hooks'
import { useRowKeys } from '../../lib/keys'
import { useLive } from '../../lib/live'
import { useStill } from '../../lib/still'
import { Finding, pieces, titleText } from '../../parts/Finding'
import { Link } from '../../parts/Link'
import { Moved } from '../../parts/Live'
import { Shell, type TimeRanges } from '../../parts/Shell'
import { Empty, Failed, Ghosts } from '../../parts/States'
import { WHOLE } from '../../parts/steps'
import { sparkPath } from '../lag/lag'
import { ENDS, amount, nameOf } from '../ledger/ledger'
import { behind, keyOf, slots, split, stageOf, STATES } from './health'
import { Count, HealthMark, LineGraph } from './Line'

const TimeChart = lazy(() => import('../../parts/TimeChart'))

const RANGES: TimeRanges = {
  label: 'Health over',
  param: 'over',
  usual: '-1h',
  ranges: [
    ['-15m', 'last 15 minutes'],
    ['-1h', 'last hour'],
    ['-6h', 'last 6 hours'],
    ['-24h', 'last 24 hours'],
  ],
}

/** How our own line does: collector, stages, stores and web. */
export function Health({ status }: { status: Status | undefined }) {
  const search = useSearch()
  const [path, go] = useLocation()
  const [live, setLive] = useLive()
  const q = new URLSearchParams(search)
  const over = q.get('over') || RANGES.usual
  const open = q.get('stage') ?? ''
  const set = (change: Record<string, string>) => go(path + withParams(search, change))
  const health = useQuery({
    queryKey: ['health', over],
    queryFn: ({ signal }) => ask<'/api/v1/health'>('/health', { from: over }, signal),
    placeholderData: keepPreviousData,
    refetchInterval: live ? 10_000 : false,
  })
  const d = health.data
  // Stages that wake or fall asleep would push the others about.
  const [still, isMoved, reorder] = useStill(d && !health.isPlaceholderData ? split(d.stages).busy : undefined, keyOf, over)
  const kept = !d || health.isPlaceholderData ? undefined : still.map((r) => r.key)
  const stage = d && open ? stageOf(d.stages, open) : undefined
  useRowKeys()
  useTitle(titleText(d?.finding) || 'Health')
  return (
    <Shell page="Health" status={status} ranged={RANGES} live={{ on: live, set: setLive }}>
      <Finding finding={d?.finding} failed={health.error && 'Health cannot be shown'}>
        {d && (
          <>
            {isMoved && <Moved show={reorder}>Other stages work now</Moved>}
            {d.letters !== null && (
              <Link to="/health/letters" className={'tag' + (d.letters > 0 ? ' warn' : '')}>
                {d.letters === 0 ? 'no dead letters' : d.letters === 1 ? '1 dead letter' : count(d.letters) + ' dead letters'}
              </Link>
            )}
            <span className="tag">as of {new Date(health.dataUpdatedAt).toLocaleTimeString('en-GB')}</span>
          </>
        )}
      </Finding>
      {d && d.ruledOut.length > 0 && (
        <ul className="ruledout" aria-label="Ruled out">
          {d.ruledOut.map((line, i) => (
            <li key={i}>
              <span className="muted">not</span> {pieces(line)}
            </li>
          ))}
        </ul>
      )}
      {health.error && !d ? (
        <Failed error={health.error} retry={() => void health.refetch()} retrying={health.isFetching} />
      ) : d && d.processes.length === 0 ? (
        <Empty title="No process has reported in this time">
          <p>Each process of hoptrace reports every ten seconds to the metadata store that they share. One of an older version does not.</p>
        </Empty>
      ) : (
        <div className={'stacked' + (health.isPlaceholderData ? ' stale' : '')}>
          {d && <LineGraph health={d} kept={kept} selected={stage ? keyOf(stage) : ''} />}
          <Stages d={d} kept={kept} open={stage ? keyOf(stage) : ''} all={q.get('all') === 'true'} set={set} />
          {d && (
            <>
              <div className="quarters">
                {d.collector && <Collector c={d.collector} d={d} />}
                {d.stores.map((s) => (
                  <Store key={s.name} s={s} />
                ))}
                {d.web && <Web w={d.web} d={d} />}
              </div>
              <Processes list={d.processes} />
            </>
          )}
          <LedgerTable over={over} />
        </div>
      )}
    </Shell>
  )
}

function Stages({ d, kept, open, all, set }: { d: LineHealth | undefined; kept: readonly string[] | undefined; open: string; all: boolean; set: (change: Record<string, string>) => void }) {
  const { busy, still } = split(d?.stages ?? [], kept)
  const shown = all ? [...busy, ...still] : [...busy, ...still.filter((s) => keyOf(s) === open)]
  return (
    <section id="stages" className="panel scroll" aria-label="Stages">
      <table className="lag" aria-label="Stages">
        <thead>
          <tr>
            <th>Stage</th>
            <th>State</th>
            <th className="num">Items</th>
            <th className="num">Waiting</th>
            <th className="num">Time behind</th>
            <th className="num wide">A batch</th>
            <th className="num wide">Store</th>
            <th className="num">Tries again</th>
            <th className="num">Errors</th>
            <th className="num">Put aside</th>
            <th className="num wide">Last batch</th>
            <th className="wide">Items over time</th>
          </tr>
        </thead>
        <tbody>
          {!d ? <Ghosts rows={6} columns={12} /> : shown.map((s) => <StageRow key={keyOf(s)} s={s} d={d} open={keyOf(s) === open} set={(stage) => set({ stage })} />)}
          {d && still.length > 0 && (
            <tr className="opened">
              <td colSpan={12}>
                <button type="button" className="linkish" aria-expanded={all} onClick={() => set({ all: all ? '' : 'true' })}>
                  {all ? 'Fold the stages that nothing comes to' : `${plain(count(still.length))} more that nothing comes to: ${still.map((s) => s.name).slice(0, 4).join(', ')}${still.length > 4 ? ' …' : ''}`}
                </button>
              </td>
            </tr>
          )}
        </tbody>
      </table>
    </section>
  )
}

const time = (ns: number | null) => (ns === null ? <span className="faint">—</span> : duration(ns))
const persec = (v: number | null) => (v === null ? <span className="unknown-word">unknown</span> : rate(v))

function StageRow({ s, d, open, set }: { s: HealthStage; d: LineHealth; open: boolean; set: (key: string) => void }) {
  const known = s.itemsOver.filter((v): v is number => v !== null)
  return (
    <>
      <tr className={open ? 'sel' : undefined}>
        <td className="name" data-label="Stage">
          <button type="button" className="rowbutton" data-row aria-expanded={open} onClick={() => set(open ? '' : keyOf(s))}>
            <b>{s.name}</b>
          </button>
          <div className="muted small">{s.topic}</div>
        </td>
        <td data-label="State">
          <HealthMark state={s.state} why={s.why} />
        </td>
        <td className="num" data-label="Items">
          {persec(s.items)}
        </td>
        <td className="num" data-label="Waiting">
          {s.lagRecords === null ? <span className="unknown-word">unknown</span> : <Count n={s.lagRecords} />}
        </td>
        <td className="num" data-label="Time behind">
          {behind(s) === 'unknown' ? <span className="unknown-word">unknown</span> : behind(s)}
        </td>
        <td className="num wide">{time(s.handleNs)}</td>
        <td className="num wide">{time(s.writeNs)}</td>
        <td className="num" data-label="Tries again">
          <Failures n={s.retries} what={s.retries === 1 ? 'try again' : 'tries again'} s={s} />
        </td>
        <td className="num" data-label="Errors">
          <Failures n={s.errors} what={s.errors === 1 ? 'error' : 'errors'} s={s} />
        </td>
        <td className="num" data-label="Put aside">
          {s.deadLetters > 0 ? <Link to={'/health/letters?topic=' + encodeURIComponent(s.dlq)}>{count(s.deadLetters)}</Link> : <Count n={0} />}
        </td>
        <td className="num wide" title={s.lastBatch ? fullTime(s.lastBatch) : undefined}>
          {s.lastBatch ? ago(s.lastBatch) : <span className="faint">none</span>}
        </td>
        <td className="wide">
          <svg width="132" height="24" viewBox="-1 -1 134 24" role="img" aria-label={known.length === 0 ? 'items over time: nothing is kept yet' : plain(`items over time: last ${rate(known[known.length - 1]!)}, at most ${rate(Math.max(...known))}`)}>
            <line x1="0" x2="132" y1="22" y2="22" stroke="var(--line)" />
            <path d={sparkPath(s.itemsOver, 132, 22)} fill="none" stroke="var(--process)" strokeWidth="1.5" strokeLinecap="round" strokeLinejoin="round" />
          </svg>
        </td>
      </tr>
      {open && (
        <tr className="opened">
          <td colSpan={12}>
            <StageDetail s={s} d={d} />
          </td>
        </tr>
      )}
    </>
  )
}

/** How often something failed, leading to what it failed by last. */
function Failures({ n, what, s }: { n: number; what: string; s: HealthStage }) {
  const search = useSearch()
  if (n === 0) return <Count n={0} />
  return (
    <Link to={'/health' + withParams(search, { stage: keyOf(s) }) + '#failures'} className="bad" aria-label={plain(`${count(n)} ${what} of ${s.name}: what failed last`)}>
      {count(n)}
    </Link>
  )
}

const KINDS: Record<HealthStage['failures'][number]['kind'], string> = {
  handling: 'a batch failed, and is tried again',
  fetching: 'it could not fetch',
  committing: 'it could not commit',
  panic: 'it panicked, which was caught',
}

/** What a stage failed by last, of each kind and process. */
function LastFailures({ s, processes }: { s: HealthStage; processes: number }) {
  if (s.failures.length === 0) {
    return s.retries + s.errors === 0 ? null : (
      <p id="failures" className="muted">
        What failed is in the log of the process that runs it: it was started again since, or is of an older version.
      </p>
    )
  }
  return (
    <section id="failures" aria-label={'What failed last of ' + s.name}>
      <h2>What failed last</h2>
      <ul className="plainlist">
        {s.failures.map((f) => (
          <li key={f.kind + f.process} className="wrap">
            <span className="muted" title={fullTime(f.at)}>
              {ago(f.at)}
            </span>{' '}
            {KINDS[f.kind]}: <span className="mono">{f.says}</span>
            {processes > 1 && <span className="muted"> {f.process}</span>}
          </li>
        ))}
      </ul>
    </section>
  )
}

const sentence = (s: string) => s[0]!.toUpperCase() + s.slice(1) + '.'

function StageDetail({ s, d }: { s: HealthStage; d: LineHealth }) {
  const times = slots(d.from, d.stepNs, s.itemsOver.length)
  return (
    <div className="stagedetail">
      <p>
        {s.does}. {s.why ? <b>{sentence(s.why)}</b> : sentence(STATES[s.state].says)}
      </p>
      {s.standing.length > 1 && (
        <ul>
          {s.standing.map((x) => (
            <li key={x}>{x}</li>
          ))}
        </ul>
      )}
      <LastFailures s={s} processes={d.processes.length} />
      <div className="halves">
        <Chart label={`Items a second through ${s.name}`} times={times} values={s.itemsOver} format={(v) => rate(v)} token="process" />
        <Chart label={`Records that wait for ${s.name}`} times={times} values={s.lagOver} format={(v) => count(Math.round(v))} steps={WHOLE} token="backlog" />
      </div>
      <dl className="facts">
        <Fact name="Records" value={persec(s.records)} />
        <Fact name="Written to its topic" value={persec(s.written)} />
        <Fact name="Batches" value={`${count(s.batches)}, ${count(s.slow)} took more than a second`} />
        <Fact name="Processes" value={count(s.processes)} />
        <Fact name="Gaps" value={s.gaps === 0 ? 'none' : `${count(s.gaps)}, ${count(s.lost)} records skipped`} />
        <Fact name="Group" value={<Link to={'/lag/group?cluster=bus&group=' + encodeURIComponent(s.group)}>{s.group}</Link>} />
        <Fact name="Dead letters" value={<Link to={'/health/letters?topic=' + encodeURIComponent(s.dlq)}>{s.dlq}</Link>} />
      </dl>
    </div>
  )
}

function Chart({ label, times, values, format, steps, token }: { label: string; times: readonly number[]; values: readonly (number | null)[]; format: (v: number) => string; steps?: readonly number[]; token: string }) {
  return (
    <figure className="small-multiple">
      <figcaption className="muted small">{label}</figcaption>
      <Suspense fallback={<div className="timechart" />}>
        <TimeChart label={label} times={times} values={values} format={format} {...(steps ? { steps } : {})} token={token} height={110} />
      </Suspense>
    </figure>
  )
}

function Fact({ name, value }: { name: string; value: ReactNode }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  )
}

function Collector({ c, d }: { c: HealthCollector; d: LineHealth }) {
  return (
    <section id="collector" className="panel pad" aria-label="Collector">
      <h2>
        Collector <HealthMark state={c.state} />
      </h2>
      <dl className="facts">
        <Fact name="Requests" value={persec(c.requests)} />
        <Fact name="Refused" value={persec(c.refused)} />
        <Fact name="Bytes" value={c.bytes === null ? <span className="unknown-word">unknown</span> : bytes(c.bytes) + '/s'} />
        <Fact name="Pressure" value={c.pressure === null ? <span className="unknown-word">unknown</span> : share(c.pressure)} />
        <Fact name="Spool" value={c.spoolRequests === 0 ? `empty, of ${bytes(c.spoolMaxBytes)}` : `${count(c.spoolRequests)} requests, ${bytes(c.spoolBytes)} of ${bytes(c.spoolMaxBytes)}`} />
        <Fact name="Kafka answers in" value={time(c.produceNs)} />
      </dl>
      <Chart label="Requests a second" times={slots(d.from, d.stepNs, c.received.length)} values={c.received} format={(v) => rate(v)} token="ack" />
    </section>
  )
}

function Store({ s }: { s: HealthStore }) {
  const unknown = <span className="unknown-word">unknown</span>
  return (
    <section id="stores" className="panel pad" aria-label={'Store ' + s.name}>
      <h2>
        {s.name} <HealthMark state={s.error ? 'silent' : 'ok'} why={s.error || 'it answers'} />
      </h2>
      {s.error && <p className="bad">{s.error}</p>}
      <dl className="facts">
        <Fact name="Rows stored" value={persec(s.inserted)} />
        <Fact name="A batch takes" value={time(s.writeNs)} />
        <Fact name="Answers in" value={time(s.answeredNs)} />
        <Fact name="Holds" value={s.rows === null || s.bytes === null ? unknown : `${count(s.rows)} rows, ${bytes(s.bytes)}`} />
        <Fact name="Parts" value={s.parts === null ? unknown : count(s.parts)} />
        <Fact name="Memory" value={s.memory === null ? unknown : bytes(s.memory)} />
        <Fact name="Disk free" value={s.freeBytes === null || s.totalBytes === null || s.totalBytes === 0 ? unknown : `${share(s.freeBytes / s.totalBytes)}, ${bytes(s.freeBytes)}`} />
      </dl>
    </section>
  )
}

function Web({ w, d }: { w: HealthWeb; d: LineHealth }) {
  return (
    <section id="web" className="panel pad" aria-label="Web">
      <h2>Web</h2>
      <dl className="facts">
        <Fact name="Questions" value={persec(w.requests)} />
        <Fact name="Answered in" value={time(w.meanNs)} />
        <Fact name="Answered" value={count(w.answered)} />
        <Fact name="Took over a second" value={<Count n={w.slow} />} />
        <Fact name="Failed" value={<Count n={w.failed} bad />} />
      </dl>
      <Chart label="Questions a second" times={slots(d.from, d.stepNs, w.over.length)} values={w.over} format={(v) => rate(v)} token="accent" />
    </section>
  )
}

function Processes({ list }: { list: readonly HealthProcess[] }) {
  return (
    <section className="panel scroll" aria-label="Processes">
      <table aria-label="Processes">
        <thead>
          <tr>
            <th>Process</th>
            <th className="num">Reported</th>
            <th className="num wide">Running for</th>
            <th className="num">Memory</th>
            <th className="num">CPU</th>
            <th className="wide">Version</th>
          </tr>
        </thead>
        <tbody>
          {list.map((p) => (
            <tr key={p.instance}>
              <td className="name">
                {p.instance} {p.late && <span className="tag bad gap">late</span>}
              </td>
              <td className="num" title={fullTime(p.reported)}>
                {ago(p.reported)}
              </td>
              <td className="num wide" title={'since ' + fullTime(p.started)}>
                {duration(Math.max(Number(BigInt(p.reported) - BigInt(p.started)), 0))}
              </td>
              <td className="num">{p.memoryBytes === null ? <span className="unknown-word">unknown</span> : bytes(p.memoryBytes)}</td>
              <td className="num">{p.cpu === null ? <span className="unknown-word">unknown</span> : share(p.cpu)}</td>
              <td className="wide mono">{p.version}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  )
}

/** The ledger of all projects over the same time: one table that adds up. */
function LedgerTable({ over }: { over: string }) {
  const ledger = useQuery({
    queryKey: ['health-ledger', over],
    queryFn: ({ signal }) => ask<'/api/v1/ledger'>('/ledger', { all: true, from: over }, signal),
    placeholderData: keepPreviousData,
    refetchInterval: 30_000,
  })
  const l = ledger.data
  if (ledger.error && !l) return <Failed error={ledger.error} retry={() => void ledger.refetch()} retrying={ledger.isFetching} />
  if (!l || l.lines.length === 0) return null
  const used = ENDS.filter((e) => l.lines.some((x) => x[e.key] !== 0))
  return (
    <section className="panel scroll" aria-label="Ledger">
      <p className="pad">
        <span className={'tag ' + (l.balanced ? 'ok' : 'bad')}>{l.balanced ? 'adds up' : 'does not add up'}</span> {l.verdict} <Link className="tag" to={'/ledger?from=' + over}>The ledger with its reasons</Link>
      </p>
      <table aria-label="The ledger of this time">
        <thead>
          <tr>
            <th>Of all projects</th>
            <th className="num">Received</th>
            {used.map((e) => (
              <th key={e.key} className="num" title={e.says}>
                {e.label}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {l.lines.map((x) => (
            <tr key={x.category}>
              <td>{nameOf(x.category)}</td>
              <td className="num">{amount(x.category, x.received)}</td>
              {used.map((e) => (
                <td key={e.key} className="num">
                  {x[e.key] === 0 ? <span className="faint">0</span> : amount(x.category, x[e.key])}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  )
}
