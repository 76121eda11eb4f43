import { expect, it } from 'vitest'
import { xxhash64 } from './xxhash'

// The same as in internal/find/find_test.go.
it.each([
  ['', 'ef46db3751d8e999'],
  ['a', 'd24ec4f1a98c6e5b'],
  ['order-17', '93623b80df3c7a2d'],
  ['заказ 17', '73f5fd4d8d1b1c3a'],
  ['0123456789abcdef0123456789abcdef', '642a94958e71e6c5'],
  ['the quick brown fox jumps over the lazy dog, and then it jumps back', '526d70e4712a876c'],
])('hashes %j as the instrumentation does', (text, want) => {
  expect(xxhash64(text)).toBe(want)
})
