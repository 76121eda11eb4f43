import { describe, expect, it } from 'vitest'
import { asked, looksUp } from './find'
import { xxhash64 } from './xxhash'

describe('asked', () => {
  it.each([
    ['orders/3@918273 ', 'orders/3@918273'],
    ['key:order-17', 'key:93623b80df3c7a2d'],
    ['KEY: "order-17"', 'key:93623b80df3c7a2d'],
    ['key:93623b80df3c7a2d', 'key:93623b80df3c7a2d'],
    ['key:"93623b80df3c7a2d"', 'key:' + xxhash64('93623b80df3c7a2d')],
    ['key:10620321463116889645', 'key:10620321463116889645'],
    ['key:', 'key:'],
    ['order-17', 'order-17'],
  ])('%j is sent as %j', (typed, want) => {
    expect(asked(typed)).toBe(want)
  })
})

describe('looksUp', () => {
  it.each(['orders/3@918273', 'orders-3@9', 'orders 3 918273', 'orders p3 · 918\u202f273', 'заказы/0@1', 'key:x', 'id:m-1', 'span:00', '00000000000000ab', 'f81d4fae-7dec-11d0-a765-00a0c91e6bf6'])('%j names one thing', (s) => {
    expect(looksUp(s)).toBe(true)
  })
  it.each(['topic:orders', 'orders', 'service:a min:100ms', 'is:error', 'timeout 3 times', ''])('%j does not', (s) => {
    expect(looksUp(s)).toBe(false)
  })
})
