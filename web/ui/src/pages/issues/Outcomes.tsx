import type { Issue, IssueOutcome } from '../../api/types'
import { count, plain } from '../../lib/format'

const WORDS: Record<IssueOutcome['outcome'], string> = { done: 'done', already: 'so before', refused: 'not done' }

/** What became of issues, in a sentence: "2 done, 1 not done". */
export function told(list: readonly IssueOutcome[]): string {
  const of = (o: IssueOutcome['outcome']) => list.filter((x) => x.outcome === o).length
  const said = (['done', 'already', 'refused'] as const).filter((o) => of(o) > 0).map((o) => `${plain(count(of(o)))} ${WORDS[o]}`)
  return said.join(', ') || 'There was nothing to do'
}

/** What became of each issue; those that were not done first, with why. */
export function Outcomes({ list, issues }: { list: readonly IssueOutcome[]; issues: readonly Issue[] }) {
  const titles = new Map(issues.map((i) => [i.id, i.title]))
  const sorted = [...list].sort((a, b) => rank(b) - rank(a))
  return (
    <ul className="outcomelist" aria-label="Outcome of each issue">
      {sorted.map((o) => (
        <li key={o.id}>
          <span className={'tag ' + (o.outcome === 'done' ? 'ok' : o.outcome === 'refused' ? 'bad' : '')}>{WORDS[o.outcome]}</span> <span>{o.title || titles.get(o.id) || `issue ${o.id}`}</span>
          {o.why && <div className="muted small">{o.why}</div>}
        </li>
      ))}
    </ul>
  )
}

function rank(o: IssueOutcome): number {
  return o.outcome === 'refused' ? 2 : o.outcome === 'already' ? 1 : 0
}
