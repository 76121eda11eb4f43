/** The states that the list of issues has a chip for; all is none of them. */
export const STATES = ['unresolved', 'new', 'regressed', 'escalating', 'archived', 'resolved', 'all'] as const

export type IssueState = (typeof STATES)[number]

const TERM = /^is:(unresolved|new|regressed|escalating|ongoing|archived|ignored|resolved)$/i

/** Words of a query, with quoted ones kept whole. */
function words(query: string): string[] {
  return query.match(/(?:[^\s"]|"(?:\\.|[^"\\])*"?)+/g) ?? []
}

/** The chip that a query stands for; undefined when it says more than one. */
export function stateOf(query: string): IssueState | undefined {
  const found = words(query).filter((w) => TERM.test(w))
  if (words(query).some((w) => /^!?is:/i.test(w) && !TERM.test(w) && !/^is:(un)?assigned$/i.test(w))) return undefined
  if (found.length === 0) return 'all'
  if (found.length > 1) return undefined
  const state = found[0]!.slice(3).toLowerCase()
  return (STATES as readonly string[]).includes(state) ? (state as IssueState) : undefined
}

/** The query with another state; what else it asks for stays. */
export function withState(query: string, state: IssueState): string {
  const rest = words(query).filter((w) => !TERM.test(w) && !/^!?is:(\[|unresolved|resolved|archived)/i.test(w))
  return (state === 'all' ? rest : ['is:' + state, ...rest]).join(' ')
}

/** A term of the query language. */
export function term(key: string, value: string): string {
  const k = /^[A-Za-z_][\w.-]*$/.test(key) ? key : `tags[${key}]`
  return k + ':' + (/^[^\s"*,[\]<>]+$/.test(value) ? value : '"' + value.replace(/([\\"])/g, '\\$1') + '"')
}
