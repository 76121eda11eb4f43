import type { Clock, ClockGap, ClockList } from '../../api/types'
import { duration } from '../../lib/format'

/** What names a pair in the URL. */
export const keyOf = (c: Clock) => c.host + ' ' + c.broker

/** What people call the host. */
export const hostOf = (c: { name: string; service?: string; host: string }) => c.name || c.service || c.host.slice(0, 8)

/** The middle of an interval and what it may be off by, in ns; undefined unless both sides are known. */
export function offsetOf(low: number | null, high: number | null): { ns: number; half: number } | undefined {
  return low === null || high === null ? undefined : { ns: (low + high) / 2, half: (high - low) / 2 }
}

/** Where the host's clock is, beside the broker's: "2.60 s behind". Within its own error it is neither. */
export function sideOf(o: { ns: number; half: number }): string {
  if (Math.abs(o.ns) <= o.half) return 'equal within ±'
  return duration(Math.abs(o.ns)) + (o.ns > 0 ? ' behind' : ' ahead')
}

export const SORTS = ['host', 'broker', 'offset', 'width', 'steps', 'seen'] as const
export type Sort = (typeof SORTS)[number]

/** What a state of pairs is called, in the order in which they are told. */
export const STATES = [
  ['known', 'known'],
  ['one-sided', 'one side alone'],
  ['stale', 'no sample for 2 m'],
  ['stepped', 'stepped'],
] as const satisfies readonly (readonly [ClockList['states'][number]['state'], string])[]

/** What bounded an offset, a line each kind that did. */
export function originsOf(c: Pick<Clock, 'beaconsPerMinute' | 'roundTripsPerMinute' | 'fetchesPerMinute'>): [string, number][] {
  const all: [string, number][] = [
    ['beacon', c.beaconsPerMinute],
    ['round trip', c.roundTripsPerMinute],
    ['fetch', c.fetchesPerMinute],
  ]
  return all.filter(([, n]) => n > 0)
}

/** A rate a minute: 58, 0.4. */
export const perMinute = (n: number) => (n >= 10 ? n.toFixed(0) : n.toFixed(1))

/** Why nothing is known between two hosts, and what helps. */
export const GAPS: Record<ClockGap, { says: string; way: string }> = {
  host: { says: 'one side does not tell its host (hoptrace.host.boot_id)', way: 'Send with one of our wrappers, or set that resource attribute to the hash of the boot id.' },
  'producer-samples': { says: "nothing bounds the producer's clock at that time", way: 'Run a collector with its beacon on the producer’s host.' },
  'consumer-samples': { says: "nothing bounds the consumer's clock at that time", way: 'Run a collector with its beacon on the consumer’s host.' },
  broker: { says: 'both clocks are bounded, by no broker in common', way: 'Have the beacons of both hosts ask one cluster (beacon.clusters).' },
  step: { says: 'a clock was stepped around it, or is bounded from one side alone', way: 'It is known again when samples from after the step are there.' },
  times: { says: 'the two ends tell too few times', way: 'Both need our wrappers: they tell when a request was written and answered.' },
}
