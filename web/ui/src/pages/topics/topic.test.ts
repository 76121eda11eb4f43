import { expect, test } from 'vitest'
import type { TopicDetail, TopicSide } from '../../api/types'
import { deadLettersOf, partLine, ratesOf, sideOf, timesOf, topicPage, unknownOf } from './topic'

const side = (group: string, messages = 0): TopicSide => ({ group, messages, failed: 0, perSecond: 0, bytesPerSecond: null, firstSeen: null, lastSeen: null, lagNs: null, parts: [], sizes: null, series: null })

test('a topic with any name has a page', () => {
  expect(topicPage('orders')).toBe('/topics/orders')
  expect(topicPage('a/b?c', { group: 'ü', part: '' })).toBe('/topics/a%2Fb%3Fc?group=%C3%BC')
})

test('the last step counts for as long as it is', () => {
  const d = { from: '0', to: '2500000000', stepNs: 1e9, slots: 3 }
  expect(timesOf(d)).toEqual([0, 1, 2])
  expect(ratesOf([10, 20, 5], d)).toEqual([10, 20, 5])
  expect(ratesOf([60, 90], { from: '0', to: '90000000000', stepNs: 60e9 })).toEqual([1, 3])
})

test('a part is told by the side that sees it', () => {
  const d = { written: side(''), groups: [side('a', 5), side('b', 7)], group: 'b' } as unknown as TopicDetail
  expect(sideOf(d, 'ack')).toBe(d.written)
  expect(sideOf(d, 'processing')?.group).toBe('b')
  expect(unknownOf(d.groups[1], { name: 'backlog', count: 4, p50Ns: 0, p90Ns: 0, p95Ns: 0, p99Ns: 0, negative: 0 })).toBe(3)
  expect(partLine('residence').label).toBe('Residence')
})

test('dead letters are found by the name of their topic', () => {
  const names = ['orders', 'orders-dlq', 'orders.retry', 'reorders-dlq', 'eu.orders.dead-letters', 'orders-eu-dlt', 'dlq']
  expect(deadLettersOf('orders', names)).toEqual(['orders-dlq', 'eu.orders.dead-letters', 'orders-eu-dlt'])
  expect(deadLettersOf('orders-dlq', names)).toEqual([])
  expect(deadLettersOf('payments', names)).toEqual([])
})
