import { expect, test } from 'vitest'
import { clockMarks } from './steps'

test('no two marks of time are the same words', () => {
  const at = Date.UTC(2026, 10, 30, 22) / 1000
  for (const step of [1, 10, 30, 60, 300, 3600, 6 * 3600, 86400]) {
    const said = clockMarks(Array.from({ length: 9 }, (_, i) => at + i * step))
    expect(new Set(said).size, `every ${step} s: ${said.join(' ')}`).toBe(9)
  }
  expect(clockMarks([at])).toHaveLength(1)
})
