import type { Hop } from '../api/types'
import { duration, plain } from '../lib/format'
import { GAPS, hostOf } from '../pages/clocks/clocks'
import { Link } from './Link'

/** What a part that crosses two clocks may be off by, leading to the clocks; nothing for a part of one clock. */
export function PlusMinus({ u, host }: { u: { lo: number; hi: number; wide: boolean } | undefined; host?: string }) {
  if (!u || u.hi === u.lo) return null
  const half = duration((u.hi - u.lo) / 2)
  // The bounds need not lie evenly around the value: an append is never before the request was written.
  return (
    <Link title={`truly between ${duration(u.lo)} and ${duration(u.hi)}`} to={'/clocks' + (host ? '?' + new URLSearchParams({ host }).toString() : '')} className="pm" aria-label={plain(`plus or minus ${half}${u.wide ? ', as much as the value itself' : ''}: show the clocks`)}>
      ± {half}
      {u.wide && ' (more than it is)'}
    </Link>
  )
}

/** A duration of a hop, with what it may be off by; where it crosses two clocks that no sample compares, unknown and why. */
export function Measured({ h, of, crosses = true }: { h: Hop; crosses?: boolean; of: { known: boolean; ns: number; uncertaintyNs?: { lo: number; hi: number; wide: boolean } } | undefined }) {
  if (of?.known) {
    return (
      <>
        {duration(of.ns)} <PlusMinus u={of.uncertaintyNs} {...(h.clock?.evidence[1] ? { host: h.clock.evidence[1].host } : {})} />
      </>
    )
  }
  if (!crosses || !h.clockGap) return <span className="unknown-word">unknown</span>
  const why = GAPS[h.clockGap].says
  return (
    <Link to="/clocks" className="unknown-word" title={why} aria-label={`unknown: ${why}: show the clocks`}>
      unknown
    </Link>
  )
}

/** By what a hop between two hosts was put on one clock, or why it was not. */
export function ClockNote({ h }: { h: Hop }) {
  if (h.clockGap) {
    const gap = GAPS[h.clockGap]
    return (
      <p className="muted note">
        What crosses the two hosts is unknown: {gap.says}. {gap.way} <Link to="/clocks">Clocks</Link>
      </p>
    )
  }
  if (!h.clock) return null
  const half = (h.clock.highNs - h.clock.lowNs) / 2
  return (
    <p className="muted note">
      Two hosts: compared by broker {h.clock.broker}, the producer’s times moved by {duration(h.clock.movedNs)} ± {duration(half)}
      {h.clock.stamped && '; the broker’s stamp narrows the residence'}.{' '}
      {h.clock.evidence.map((e) => (
        <span key={e.side}>
          {e.side === 'producer' ? 'Producer' : 'Consumer'}{' '}
          <Link to={'/clocks?' + new URLSearchParams({ host: e.host }).toString()}>{hostOf(e)}</Link>: {samples(e)}
          {e.steps > 0 && ', a step near'}.{' '}
        </span>
      ))}
      Stored times stay as they were told.
    </p>
  )
}

function samples(e: NonNullable<Hop['clock']>['evidence'][number]): string {
  const kinds = [
    [e.beacons, 'beacon'],
    [e.roundTrips, 'round trip'],
    [e.fetches, 'fetch'],
  ] as const
  const said = kinds.filter(([n]) => n > 0).map(([n, what]) => `${n} s with a ${what}`)
  const away = Math.abs(Number(BigInt(e.nearest) - BigInt(e.at)))
  return `${said.join(', ') || 'no samples'} within 2 m, the nearest ${duration(away)} away`
}
