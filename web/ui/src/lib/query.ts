import { valueOf } from './complete'

/** The states that the list of issues has a chip for; all is none of them. */
export const STATES = ['unresolved', 'new', 'regressed', 'escalating', 'archived', 'resolved', 'all'] as const

export type IssueState = (typeof STATES)[number]

const TERM = /^is:(unresolved|new|regressed|escalating|ongoing|archived|ignored|resolved)$/i

/** What a chip takes the place of; is:assigned is none of it. */
const STATE = /^[-!]?is:(?:!=)?(?:\[|unresolved|new|regressed|escalating|ongoing|archived|ignored|resolved)/i

/** Words of a query, with quoted ones and what is in parentheses kept whole. */
function words(query: string): string[] {
  const out: string[] = []
  let word = ''
  let depth = 0
  for (const part of query.match(/"(?:\\.|[^"\\])*"?|\s+|[^\s"]/g) ?? []) {
    if (part === '(') depth++
    else if (part === ')') depth--
    if (depth <= 0 && /^\s/.test(part)) {
      if (word) out.push(word)
      word = ''
    } else word += part
  }
  return word ? [...out, word] : out
}

/** The chip that a query stands for; undefined when it says more than one. */
export function stateOf(query: string): IssueState | undefined {
  const all = words(query)
  const ofState = all.filter((w) => STATE.test(w) || (/^[-!]?\(/.test(w) && /(?:^|[\s(!-])is:/i.test(w.replace(/"(?:\\.|[^"\\])*"?/g, ''))))
  if (ofState.length === 0) return 'all'
  if (ofState.length > 1 || !TERM.test(ofState[0]!) || all.includes('OR') || all[all.indexOf(ofState[0]!) - 1] === 'NOT') return undefined
  const state = ofState[0]!.slice(3).toLowerCase()
  return (STATES as readonly string[]).includes(state) ? (state as IssueState) : undefined
}

/** The query with another state; what else it asks for stays. */
export function withState(query: string, state: IssueState): string {
  const all = words(query)
  const rest = all.includes('OR') ? ['(' + query.trim() + ')'] : all.filter((w, i) => !STATE.test(w) && !(w === 'NOT' && STATE.test(all[i + 1] ?? '')) && w !== 'AND')
  return (state === 'all' ? (all.includes('OR') ? [query.trim()] : rest) : ['is:' + state, ...rest]).join(' ')
}

/** A term of the query language. */
export function term(key: string, value: string): string {
  const k = /^[A-Za-z_][\w.-]*$/.test(key) ? key : `tags[${key}]`
  return k + ':' + valueOf(value)
}
