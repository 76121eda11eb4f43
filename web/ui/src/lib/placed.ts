import type { Span } from '../api/types'
import type { Interval } from './axis'
import { minus } from './format'

/**
 * When a span began and ended, ns after origin, on the clock of the journey. Its start and
 * end are as its own host told them; movedNs is how far that host's clock is off.
 */
export function spanAt(s: Pick<Span, 'start' | 'end' | 'movedNs'>, origin: string): Interval {
  const by = s.movedNs ?? 0
  return { from: minus(s.start, origin) + by, to: minus(s.end, origin) + by }
}
