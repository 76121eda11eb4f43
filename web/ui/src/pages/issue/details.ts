import type { Note } from '../../api/types'
import { count, plain } from '../../lib/format'

/** What was done to a value, as a person says it. */
export function noteText(n: Note): string {
  const was = n.length > 0 ? `, was ${plain(count(n.length))} long` : ''
  switch (n.what) {
    case 'cut':
      return 'cut, it was too large' + was
    case 'refused':
      return `refused: ${n.rule || 'it was not what it should be'}`
    default:
      return n.rule ? `${n.what} by the rule ${n.rule}${was}` : `${n.what}, it was too large${was}`
  }
}

/** How many notes tell about a place or one below it. */
export function notesAt(notes: readonly Note[], path: string): number {
  return notes.filter((n) => n.path === path || n.path.startsWith(path + '.')).length
}

/** Notes about one place together, in their order. */
export function byPlace(notes: readonly Note[]): [string, Note[]][] {
  const out = new Map<string, Note[]>()
  for (const n of notes) out.set(n.path, [...(out.get(n.path) ?? []), n])
  return [...out]
}
