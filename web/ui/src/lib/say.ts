import type { Finding, Piece } from '../api/types'

/** A run of text of a finding; with href a link to its evidence. */
export function text(s: string, href?: string): Piece {
  return { kind: 'text', text: s, ...(href ? { href } : {}) }
}

/** A number of a finding; with href a link to its evidence. */
export function number(n: number, href?: string): Piece {
  return { kind: 'count', value: n, ...(href ? { href } : {}) }
}

/** The first rule whose condition holds gives the finding. */
export function firstOf<T>(rules: readonly { rule: string; tone: Finding['tone']; when: (x: T) => boolean; title: (x: T) => Piece[]; text: (x: T) => Piece[] }[], x: T): Finding {
  const r = rules.find((y) => y.when(x))
  if (!r) throw new Error('no rule holds')
  return { rule: r.rule, tone: r.tone, title: r.title(x), text: r.text(x) }
}
