import { describe, expect, it } from 'vitest'
import { groupingOf, summaryOf, tally } from './why'

const leaf = (id: string, value: string, hint?: string) => ({ id, value, contributes: !hint, ...(hint ? { hint } : {}) })

const tree = {
  version: 'hoptrace:2',
  strategy: 'chained-exception',
  variants: [
    {
      name: 'app',
      contributes: true,
      hash: 'ab',
      component: {
        id: 'app',
        contributes: true,
        values: [
          {
            id: 'exception',
            contributes: true,
            values: [
              leaf('type', 'CardDeclined'),
              {
                id: 'stacktrace',
                contributes: true,
                values: [
                  { id: 'frame', contributes: false, hint: "not the program's own", values: [leaf('module', 'flask.app'), leaf('function', 'wsgi_app')] },
                  { id: 'frame', contributes: true, values: [leaf('module', 'shop.orders'), leaf('filename', 'shop/orders.py', 'the module counts instead'), leaf('function', 'create_order')] },
                  { id: 'frame', contributes: true, values: [leaf('module', 'shop.payments'), leaf('function', 'charge')] },
                ],
              },
              leaf('value', 'it was declined', 'the stack counts instead'),
            ],
          },
        ],
      },
    },
    { name: 'system', contributes: false, hint: 'the variant app decides', component: { id: 'system', contributes: true, values: [] } },
  ],
}

describe('the tree of a hash', () => {
  it('is read with what counts and why others do not', () => {
    const g = groupingOf(tree)!
    expect(g.variants.map((v) => [v.name, v.decides, v.hint, v.hash])).toEqual([
      ['app', true, '', 'ab'],
      ['system', false, 'the variant app decides', ''],
    ])
    expect(tally(g.variants[0]!.parts)).toEqual({ counts: 5, not: 4 })
  })

  it('is said in short, the newest call first', () => {
    expect(summaryOf(groupingOf(tree)!)).toEqual({ types: ['CardDeclined'], calls: ['charge', 'create_order'], ownCalls: true, others: [], ignored: ['message: the stack counts instead'] })
  })

  it('may be the lines of what counts', () => {
    expect(summaryOf(groupingOf(['type TypeError', 'frame renderCart', 'message not found'])!)).toEqual({ types: ['TypeError'], calls: ['renderCart'], ownCalls: false, others: ['not found'], ignored: [] })
  })

  it('may be of a fingerprint, which has no parts', () => {
    expect(groupingOf({ strategy: 'fingerprint', rule: 'type:A -> a', fingerprint: ['a', '{{ default }}'], variants: [] })).toEqual({ strategy: 'fingerprint', rule: 'type:A -> a', fingerprint: ['a', '{{ default }}'], variants: [] })
  })

  it.each([[null], [[]], ['text'], [7], [{}], [{ variants: 'x' }]])('%j is none', (x) => expect(groupingOf(x)).toBeUndefined())

  it('that never ends is cut', () => {
    let node: Record<string, unknown> = { id: 'leaf', value: 'x' }
    for (let i = 0; i < 100; i++) node = { id: 'a', values: [node] }
    expect(tally(groupingOf({ variants: [{ component: node }] })!.variants[0]!.parts)).toEqual({ counts: 1, not: 0 })
  })
})
