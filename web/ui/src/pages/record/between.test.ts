import { expect, it } from 'vitest'
import { between } from './between'

it('counts the records that were written, and no offset that none has', () => {
  const log = { logStart: 10, logEnd: 58 }
  expect(between(log, 40, 30)).toBe(9)
  expect(between(log, 30, 40)).toBe(9)
  expect(between(log, 41, 40)).toBe(0)
  expect(between(log, 99_999, 50)).toBe(7)
  expect(between(log, 99_999, 57)).toBe(0)
  expect(between(log, 3, 12)).toBe(2)
  expect(between({ logStart: null, logEnd: null }, 99_999, 57)).toBe(99_941)
})
