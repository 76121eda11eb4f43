import { expect, it } from 'vitest'
import { plain } from '../../lib/format'
import { quotaText, windowText } from './settings'

it('says what a quota takes', () => {
  const f = (limit: number | null, window: number | undefined, want: string) => expect(plain(quotaText({ id: 'q', scope: 'project', limit, ...(window ? { window } : {}) }))).toBe(want)
  f(null, undefined, 'all, and counts it')
  f(0, undefined, 'nothing')
  f(50_000, 3600, '50 000 in an hour')
  f(10, 90, '10 in 1 m 30 s')
})

it('names windows', () => {
  expect([1, 60, 3600, 86_400, 600].map(windowText).map(plain)).toEqual(['a second', 'a minute', 'an hour', 'a day', '10 m 00 s'])
})
