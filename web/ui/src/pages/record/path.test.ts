import { expect, test } from 'vitest'
import { placeOf, recordPath } from './path'

test('the path of a record names it, whatever its topic is called', () => {
  for (const topic of ['orders', 'mqtt/site/7/temperature%2F+#', '100%', '支払い', 'a b?c&d']) {
    const path = recordPath({ topic, partition: 3, offset: 918_273 })!
    expect(path.split('/')).toHaveLength(5)
    expect(placeOf(path)).toEqual({ topic, partition: '3', offset: '918273' })
  }
})

test('a path that is no encoding is taken as it is', () => {
  expect(placeOf('/records/100%/0/1')).toEqual({ topic: '100%', partition: '0', offset: '1' })
  expect(placeOf('/records/orders')).toEqual({ topic: 'orders', partition: '', offset: '' })
})
