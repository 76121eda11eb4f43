import { keepPreviousData, useQuery } from '@tanstack/react-query'
import { useCallback, useDeferredValue, useEffect, useMemo, useRef, useState } from 'react'
import { useLocation, useSearch } from 'wouter'
import { ask } from '../../api/client'
import type { Status } from '../../api/types'
import { apiRange, readFilters, withParams } from '../../lib/filters'
import { count, fullTime, minus } from '../../lib/format'
import { useMedia, useTitle } from '../../lib/hooks'
import { useKeys, useRowKeys } from '../../lib/keys'
import { Export } from '../../parts/Export'
import { Filters } from '../../parts/Filters'
import { Finding, titleText } from '../../parts/Finding'
import { Link } from '../../parts/Link'
import { Shell } from '../../parts/Shell'
import { Empty, Failed } from '../../parts/States'
import { EdgeTable } from './EdgeTable'
import { Graph, shapeOf } from './Graph'
import { nameOf, numbersAt, readView, SORTS, viewText, type Sort, type View } from './graph'
import { Side } from './Side'
import { Strip } from './Strip'
import { stepAt, stepsOf } from './steps'
import { useLayout } from './useLayout'

/** Services, topics and groups, and what passes between them. The URL holds the filters, the step, the selection, the view. */
export function TopologyPage({ status }: { status: Status | undefined }) {
  const search = useSearch()
  const [path, go] = useLocation()
  const q = new URLSearchParams(search)
  const f = readFilters(search)
  const project = q.get('project') ?? undefined
  const small = useMedia('(max-width: 760px)')
  const asTable = small || q.get('view') === 'table'
  const at = q.get('at') ?? ''
  const selected = q.get('sel') ?? ''
  const sort = SORTS.find((s) => s === q.get('sort')) ?? 'messages'
  const change = (c: Record<string, string>, replace = false) => go(path + withParams(location.search, c), { replace })

  const ways = { ...apiRange(f), service: f.service || undefined, topic: f.topic || undefined, group: f.group || undefined, project }
  const whole = useQuery({
    queryKey: ['topology', ways],
    queryFn: ({ signal }) => ask<'/api/v1/topology'>('/topology', ways, signal),
    placeholderData: keepPreviousData,
  })
  const steps = useQuery({
    queryKey: ['topology-steps', ways],
    queryFn: ({ signal }) => ask<'/api/v1/topology/steps'>('/topology/steps', ways, signal),
    placeholderData: keepPreviousData,
  })
  const all = useMemo(() => (steps.data ? stepsOf(steps.data) : []), [steps.data])
  const chosen = stepAt(all, at)
  const missed = at !== '' && steps.data !== undefined && !steps.isPlaceholderData && !chosen
  const then = useQuery({
    queryKey: ['topology', { ...ways, from: chosen?.start, to: chosen?.end }],
    queryFn: ({ signal }) => ask<'/api/v1/topology'>('/topology', { ...ways, from: chosen!.start, to: chosen!.end }, signal),
    enabled: chosen !== undefined,
    placeholderData: keepPreviousData,
  })
  const atStep = chosen ? then.data : undefined
  const graph = useMemo(() => whole.data && numbersAt(whole.data, atStep), [whole.data, atStep])
  const span = chosen ? { from: chosen.start, to: chosen.end } : apiRange(f)
  const error = whole.error ?? (chosen ? then.error : null)
  const data = chosen ? (atStep ?? whole.data) : whole.data

  const laid = useLayout(asTable ? undefined : whole.data?.nodes, asTable ? undefined : whole.data?.edges)
  const [reveal, setReveal] = useState(0)
  const select = useCallback((id: string) => go(location.pathname + withParams(location.search, { sel: id })), [go])
  // On a phone what is selected stands below the table.
  const side = useRef<HTMLDivElement>(null)
  useEffect(() => {
    if (small && selected) side.current?.scrollIntoView({ block: 'start' })
  }, [small, selected])
  const selectFar = (id: string) => {
    select(id)
    setReveal((n) => n + 1)
  }
  const setView = useCallback((v: View | undefined) => go(location.pathname + withParams(location.search, { box: v ? viewText(v) : '' }), { replace: true }), [go])

  const find = q.get('find') ?? ''
  const words = useDeferredValue(find.trim().toLowerCase())
  const found = useMemo(() => (words && graph ? new Set(graph.nodes.filter((n) => nameOf(n.id).toLowerCase().includes(words)).map((n) => n.id)) : undefined), [words, graph])

  const stepBy = (n: number) => {
    const i = all.findIndex((s) => s === chosen)
    const next = i < 0 ? (n < 0 ? all.length - 1 : -1) : i + n
    if (all[next]) change({ at: all[next].start })
  }
  useKeys({
    ',': () => stepBy(-1),
    '.': () => stepBy(1),
    Escape: () => selected && select(''),
    v: () => !small && change({ view: asTable ? '' : 'table' }),
  })
  useRowKeys()
  useTitle(titleText(data?.finding) || 'Topology')
  const again = () => {
    void whole.refetch()
    void steps.refetch()
    if (chosen) void then.refetch()
  }
  const busy = whole.isFetching || then.isFetching
  const seconds = graph ? Math.max(minus(graph.to, graph.from) / 1e9, 1) : 1
  const filtered = f.service || f.topic || f.group
  return (
    <Shell page="Topology" status={status} ranged>
      <Finding finding={data?.finding} failed={error && !data && 'The topology cannot be shown'}>
        {!small && (
          <span className="viewpick" role="group" aria-label="View">
            <button type="button" className={'pick' + (asTable ? '' : ' on')} aria-pressed={!asTable} onClick={() => change({ view: '' })}>
              Graph
            </button>
            <button type="button" className={'pick' + (asTable ? ' on' : '')} aria-pressed={asTable} onClick={() => change({ view: 'table' })}>
              Table
            </button>
          </span>
        )}
        <button type="button" className="pick" onClick={again} disabled={busy}>
          {busy ? 'Asking…' : 'Refresh'}
        </button>
      </Finding>
      {missed && (
        <p className="note" role="status">
          The time that this link names{/^\d{1,19}$/.test(at) ? `, ${fullTime(at)},` : ''} is not in this range: the whole of it is shown.{' '}
          <button type="button" className="linkish" onClick={() => change({ at: '' })}>
            Forget it
          </button>
        </p>
      )}
      <div className="topbar">
        <Filters with={['service', 'topic', 'group']} />
        {filtered && (
          <button type="button" className="pick" onClick={() => change({ service: '', topic: '', group: '', box: '' })}>
            Show everything
          </button>
        )}
        <Export path="/topology" params={{ ...ways, ...span }} what="edges" named />
        <Export path="/topology" params={{ ...ways, ...span, rows: 'nodes' }} what="nodes" named />
        {!asTable && (
          <form
            role="search"
            aria-label="Find in the graph"
            className="find"
            onSubmit={(e) => {
              e.preventDefault()
              const first = graph?.nodes.find((n) => found?.has(n.id))
              if (first) selectFar(first.id)
            }}
          >
            <input className="pick" type="text" aria-label="Find a node" placeholder="find a name" value={find} maxLength={200} onChange={(e) => change({ find: e.target.value }, true)} autoComplete="off" spellCheck={false} />
            <span className="muted small" role="status">
              {found && (found.size === 0 ? 'no such name' : `${count(found.size)} found; Enter goes to the first`)}
            </span>
          </form>
        )}
      </div>
      {error && !graph ? (
        <Failed error={error} retry={again} retrying={busy} />
      ) : graph && graph.nodes.length === 0 ? (
        <Empty title={filtered ? 'Nothing lies on this way' : 'No topic was used here'}>
          <p>
            Ask for a <Link to="?from=all">longer time</Link>
            {filtered ? ' or take a filter away' : ''}. Programs that send spans of their Kafka clients appear here by themselves.
          </p>
        </Empty>
      ) : (
        <>
          <div className="split topology">
            <div className="stacked">
              <div className={asTable ? '' : 'panel'}>
                {asTable ? (
                  graph ? (
                    <EdgeTable graph={graph} selected={selected} select={select} sort={sort} setSort={(s: Sort) => change({ sort: s === 'messages' ? '' : s })} />
                  ) : (
                    <div className="panel tgraph loading" />
                  )
                ) : (
                  <>
                    <Legend />
                    {laid.error ? (
                      <Failed error={laid.error} retry={() => change({ view: 'table' })} retrying={false} />
                    ) : graph && laid.layout && !(laid.busy && laid.layout.nodes.size === 0) ? (
                      <div className={laid.busy || whole.isPlaceholderData || (chosen && then.isPlaceholderData) ? 'stale' : ''}>
                        <Graph
                          graph={graph}
                          seconds={seconds}
                          layout={laid.layout}
                          selected={selected}
                          select={select}
                          view={readView(q.get('box'))}
                          setView={setView}
                          found={found}
                          reveal={reveal}
                        />
                      </div>
                    ) : (
                      <div className="tgraph loading">
                        <p className="muted" role="status">
                          {graph ? `Laying out ${count(graph.nodes.length)} nodes…` : 'Asking…'}
                        </p>
                      </div>
                    )}
                  </>
                )}
                <div className={asTable ? 'panel apart' : ''}>
                  <Strip steps={steps.data} at={chosen?.start ?? ''} choose={(start) => change({ at: start })} />
                </div>
              </div>
            </div>
            <div ref={side} className="toside">
            {graph ? (
              <Side graph={graph} selected={selected} select={selectFar} span={span} project={project} filter={(c) => change({ service: '', topic: '', group: '', ...c, sel: '', box: '' })} />
            ) : (
              <aside className="panel side" aria-label="Selected" />
            )}
            </div>
          </div>
        </>
      )}
    </Shell>
  )
}

function Legend() {
  const shape = (kind: 'service' | 'topic' | 'group') => (
    <svg width="34" height="16" viewBox="-1 -1 68 32" aria-hidden="true" className={'tnode ' + kind}>
      <path className="shape" d={shapeOf(kind, 66, 30)} />
      {kind === 'topic' && <path className="rim" d="M58 0 a8 15 0 0 0 0 30" />}
    </svg>
  )
  const line = (kind: 'write' | 'read' | 'process') => (
    <svg width="34" height="10" viewBox="0 0 34 10" aria-hidden="true" className={'tedge ' + kind}>
      <path className="line" d="M0 5 H34" strokeWidth="3" />
    </svg>
  )
  return (
    <dl className="legend">
      <div>
        <dt>{shape('service')}</dt>
        <dd>service</dd>
      </div>
      <div>
        <dt>{shape('topic')}</dt>
        <dd>topic</dd>
      </div>
      <div>
        <dt>{shape('group')}</dt>
        <dd>group</dd>
      </div>
      <div>
        <dt>{line('write')}</dt>
        <dd>writes</dd>
      </div>
      <div>
        <dt>{line('read')}</dt>
        <dd>waits in the broker</dd>
      </div>
      <div>
        <dt>{line('process')}</dt>
        <dd>is worked on <span className="muted">· thicker: more a second</span></dd>
      </div>
    </dl>
  )
}
