import { describe, expect, test } from 'vitest'
import { allThatMatch, choose, MOST_CHOSEN, readChosen, writeChosen, type Chosen } from './choose'

const list = ['11', '22', '33', '44', '55']
const of = (ids: string[], anchor?: string): Chosen => ({ ids: new Set(ids), anchor })
const ids = (c: Chosen) => list.filter((id) => c.ids.has(id))

describe('choosing rows', () => {
  test.each<[string, Chosen, string, boolean, string[]]>([
    ['a row', of([]), '22', false, ['22']],
    ['a chosen row again', of(['22', '33'], '22'), '22', false, ['33']],
    ['a range downwards', of(['22'], '22'), '44', true, ['22', '33', '44']],
    ['a range upwards', of(['44'], '44'), '22', true, ['22', '33', '44']],
    ['a range that takes away', of(['11', '33', '44'], '22'), '44', true, ['11']],
    ['a range without a begin is a row', of(['11']), '44', true, ['11', '44']],
    ['a range from a row of another page is a row', of(['99'], '99'), '44', true, ['44']],
  ])('%s', (_, was, id, shift, want) => {
    const got = choose(list, was, id, shift)
    expect(ids(got)).toEqual(want)
    expect(got.anchor).toBe(id)
  })

  test('a second range begins where the first ended', () => {
    let c = choose(list, of([]), '11', false)
    c = choose(list, c, '22', true)
    c = choose(list, c, '44', true)
    expect(ids(c)).toEqual(['11', '22', '33', '44'])
  })
})

test('what is chosen lives in the URL, and only ids do', () => {
  expect(writeChosen(readChosen('11.22'))).toBe('11.22')
  expect([...readChosen('11..x.0.-1.99999999999999999.22')]).toEqual(['11', '22'])
  expect([...readChosen(null)]).toEqual([])
})

describe('all that match', () => {
  const of = (many: number) => {
    const asked: [string | undefined, number][] = []
    const page = (before: string | undefined, limit: number) => {
      asked.push([before, limit])
      const from = Number(before ?? 0)
      const to = Math.min(from + limit, many)
      return Promise.resolve({ issues: Array.from({ length: to - from }, (_, i) => from + i), next: to < many ? String(to) : null })
    }
    return { asked, page }
  }
  test('are read page by page, each once', async () => {
    const { asked, page } = of(730)
    const got = await allThatMatch(page)
    expect(got.more).toBe(false)
    expect(got.issues).toEqual(Array.from({ length: 730 }, (_, i) => i))
    expect(asked).toEqual([[undefined, 500], ['500', 500]])
  })
  test('are no more than an action takes, and it is said that there are others', async () => {
    const got = await allThatMatch(of(1001).page)
    expect(got.issues).toHaveLength(MOST_CHOSEN)
    expect(got.more).toBe(true)
    expect((await allThatMatch(of(1000).page)).more).toBe(false)
  })
})
