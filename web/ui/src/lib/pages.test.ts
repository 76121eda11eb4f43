import { expect, it } from 'vitest'
import { pageOf } from './pages'

it('tells where the pages before and behind one begin', () => {
  expect(pageOf(0, 70, 70, 100)).toBeUndefined()
  expect(pageOf(0, 0, 0, 100)).toBeUndefined()
  expect(pageOf(0, 100, 250, 100)).toEqual({ before: undefined, more: 100 })
  expect(pageOf(100, 100, 250, 100)).toEqual({ before: 0, more: 200 })
  expect(pageOf(200, 50, 250, 100)).toEqual({ before: 100, more: undefined })
  expect(pageOf(30, 100, 250, 100)).toEqual({ before: 0, more: 130 })
  // Behind the last page: back to the last one.
  expect(pageOf(5000, 0, 250, 100)).toEqual({ before: 200, more: undefined })
  expect(pageOf(100, 0, 70, 100)).toEqual({ before: 0, more: undefined })
})
