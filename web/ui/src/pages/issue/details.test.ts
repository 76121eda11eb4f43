import { expect, it } from 'vitest'
import type { Note } from '../../api/types'
import { byPlace, noteText, notesAt } from './details'

const note = (what: Note['what'], rule: string, length = 0, path = 'a.b'): Note => ({ path, what, rule, length })

it.each([
  [note('replaced', '@creditcard:filter', 19), 'replaced by the rule @creditcard:filter, was 19 long'],
  [note('masked', 'mine'), 'masked by the rule mine'],
  [note('removed', '', 1200), 'removed, it was too large, was 1 200 long'],
  [note('cut', '', 9000), 'cut, it was too large, was 9 000 long'],
  [note('refused', 'no level'), 'refused: no level'],
  [note('refused', ''), 'refused: it was not what it should be'],
])('a note says %j', (n, want) => expect(noteText(n)).toBe(want))

it('finds the notes at a place and below, not beside it', () => {
  const notes = [note('cut', '', 0, 'user.email'), note('cut', '', 0, 'user.email.x'), note('cut', '', 0, 'user.emails')]
  expect(notesAt(notes, 'user.email')).toBe(2)
})

it('puts notes of one place together', () => {
  expect(byPlace([note('cut', '', 0, 'b'), note('cut', '', 0, 'a'), note('masked', 'm', 0, 'b')]).map(([p, l]) => [p, l.length])).toEqual([
    ['b', 2],
    ['a', 1],
  ])
})
