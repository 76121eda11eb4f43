import { expect, test } from 'vitest'
import type { IssueOutcome } from '../../api/types'
import { told } from './Outcomes'

const o = (outcome: IssueOutcome['outcome']): IssueOutcome => ({ id: '1', title: '', outcome, why: '' })

test.each<[IssueOutcome[], string]>([
  [[o('done')], '1 done'],
  [[o('refused'), o('done'), o('done'), o('already')], '2 done, 1 so before, 1 not done'],
  [[o('refused')], '1 not done'],
  [[], 'There was nothing to do'],
])('outcomes are counted in a sentence', (list, want) => {
  expect(told(list)).toBe(want)
})
