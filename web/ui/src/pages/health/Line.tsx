import { useMemo } from 'react'
import { useLocation, useSearch } from 'wouter'
import type { LineHealth } from '../../api/types'
import { withParams } from '../../lib/filters'
import { count, plain, rate } from '../../lib/format'
import { layout, NODE_HEIGHT as H, NODE_WIDTH as W } from '../topology/layout'
import { line, STATES, type Station } from './health'

/** Our own line, drawn as the topology is: boxes work, drums keep. */
export function LineGraph({ health, kept, selected }: { health: LineHealth; kept: readonly string[] | undefined; selected: string }) {
  const search = useSearch()
  const [path, go] = useLocation()
  const { nodes, edges } = useMemo(() => line(health, (v) => rate(v), kept), [health, kept])
  // Where stations stand depends on which there are, not on what they say.
  const shape = JSON.stringify([nodes.map((n) => n.id), edges.map((e) => e.id)])
  const laid = useMemo(() => layout(nodes, edges), [shape]) // eslint-disable-line react-hooks/exhaustive-deps
  const open = (n: Station) => {
    if (n.href.startsWith('#')) document.getElementById(n.href.slice(1))?.scrollIntoView({ block: 'start' })
    else go(path + withParams(search, { stage: n.href === selected ? '' : n.href }))
  }
  return (
    <div className="panel scroll linegraph" role="group" aria-label="The line" tabIndex={0}>
      <svg viewBox={`0 0 ${laid.width} ${laid.height}`} style={{ maxWidth: laid.width }}>
        {edges.map((e) => {
          const way = laid.edges.get(e.id)
          if (!way) return null
          return <path key={e.id} className={'way ' + (e.still ? 'still' : e.kind)} d={curve(way)} markerEnd="url(#line-arrow)" />
        })}
        <defs>
          <marker id="line-arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto-start-reverse">
            <path d="M0 0.5 7.5 4 0 7.5z" fill="var(--faint)" />
          </marker>
        </defs>
        {nodes.map((n) => {
          const at = laid.nodes.get(n.id)
          if (!at) return null
          const x = at.x - W / 2
          const y = at.y - H / 2
          return (
            <g
              key={n.id}
              className={['tnode', n.kind === 'drum' ? 'topic' : 'group', n.tone === 'ok' ? '' : n.tone, n.still ? 'still' : '', n.href === selected ? 'sel' : ''].join(' ')}
              role="button"
              tabIndex={0}
              aria-pressed={n.href.startsWith('#') ? undefined : n.href === selected}
              aria-label={plain(`${n.name}: ${n.line}, ${n.says}`)}
              onClick={() => open(n)}
              onKeyDown={(e) => {
                if (e.key !== 'Enter' && e.key !== ' ') return
                e.preventDefault()
                e.stopPropagation()
                open(n)
              }}
            >
              {n.kind === 'drum' ? (
                <>
                  <path className="shape" d={`M${x} ${y + 6}v${H - 12}a${W / 2} 6 0 0 0 ${W} 0v-${H - 12}`} />
                  <ellipse className="shape" cx={at.x} cy={y + 6} rx={W / 2} ry={6} />
                </>
              ) : (
                <rect className="shape" x={x} y={y} width={W} height={H} rx={6} />
              )}
              <text className="name" x={at.x} y={at.y + (n.kind === 'drum' ? 3 : -2)} textAnchor="middle">
                {n.name.length > 22 ? n.name.slice(0, 21) + '…' : n.name}
              </text>
              <text className="line" x={at.x} y={at.y + (n.kind === 'drum' ? 18 : 15)} textAnchor="middle">
                {n.line}
              </text>
              <title>{n.says}</title>
            </g>
          )
        })}
      </svg>
    </div>
  )
}

function curve(points: readonly { x: number; y: number }[]): string {
  const [first, ...rest] = points
  if (!first) return ''
  let d = `M${first.x} ${first.y}`
  let last = first
  for (const p of rest) {
    const mid = (last.x + p.x) / 2
    d += `C${mid} ${last.y} ${mid} ${p.y} ${p.x} ${p.y}`
    last = p
  }
  return d
}

export function HealthMark({ state, why }: { state: keyof typeof STATES; why?: string }) {
  const s = STATES[state]
  return (
    <span className={'lagstate ' + (s.tone || 'calm')} title={why || s.says}>
      <i aria-hidden="true" />
      {s.word}
    </span>
  )
}

/** n, or a dash that says none. */
export function Count({ n, bad }: { n: number; bad?: boolean }) {
  return n === 0 ? <span className="faint">0</span> : <span className={bad ? 'bad' : undefined}>{count(n)}</span>
}
