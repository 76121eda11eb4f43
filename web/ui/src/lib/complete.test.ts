import { expect, test } from 'vitest'
import { asCommand, asCurl, complete, term, withTerm } from './complete'

test('a completion replaces what is being written', () => {
  const f = (q: string, from: number, to: number, insert: string, want: string) => {
    const got = complete(q, from, to, { insert })
    expect(got.q.slice(0, got.at) + '|' + got.q.slice(got.at)).toBe(want)
  }
  f('', 0, 0, 'service:', 'service:|')
  f('dur', 0, 3, 'duration>', 'duration>|')
  f('service:pa', 8, 10, 'payments', 'service:payments |')
  f('(service:pa) x', 9, 11, 'payments', '(service:payments|) x')
  f('service:[a, b]', 12, 13, 'billing', 'service:[a, billing|]')
  f('name:x status:error', 5, 6, '"send orders"', 'name:"send orders"| status:error')
  f('a O', 2, 3, 'OR ', 'a OR |')
})

test('a term is written as the language takes it', () => {
  expect(term('service', 'payments')).toBe('service:payments')
  expect(term('name', 'send orders')).toBe('name:"send orders"')
  expect(term('http.route', '/orders/{id}', true)).toBe('http.route:/orders/{id}')
  expect(term('odd "key"', '', true)).toBe('"odd \\"key\\"":""')
  expect(term('x', '>5', true)).toBe('x:">5"')
  expect(term('x', 'a*', true)).toBe('x:"a*"')
})

test('a term is added to a query without changing what it means', () => {
  expect(withTerm('', 'a:1')).toBe('a:1')
  expect(withTerm('b', 'a:1')).toBe('b a:1')
  expect(withTerm('b OR c', 'a:1')).toBe('(b OR c) a:1')
  expect(withTerm('(b OR c) d', 'a:1')).toBe('(b OR c) d a:1')
  expect(withTerm('"x OR y"', 'a:1')).toBe('"x OR y" a:1')
  expect(withTerm('b a:1', 'a:1')).toBe('b a:1')
})

test('a search can be copied as a command and as a request', () => {
  expect(asCommand('http://h:1', 'hops', { q: "topic:orders it's", from: '-1h', order: '' })).toBe("hoptrace query hops 'topic:orders it'\\''s' --server http://h:1 --from -1h")
  expect(asCurl('http://h:1', '/api/v1/search/spans', { q: 'a b', from: '-1h', to: undefined })).toBe("curl -sSG \\\n  http://h:1/api/v1/search/spans \\\n  --data-urlencode 'q=a b' \\\n  --data-urlencode from=-1h")
})
