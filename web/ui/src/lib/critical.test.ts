import { describe, expect, it } from 'vitest'
import type { Journey } from '../api/types'
import { pathByRow } from './critical'
import { hop, span } from './tree.test'
import type { Row } from './tree'

const piece = (row: string, from: number, to: number) => ({ part: 'work' as const, row, traceId: 't', spanId: '', service: '', topic: '', group: '', from: String(from), to: String(to), ns: to - from })

describe('pathByRow', () => {
  it('joins what lies end to end and puts a span that a hop stands for on the hop', () => {
    const rows: Row[] = [{ kind: 'hop', id: 'h', depth: 0, hop: hop('h', 'send', null, 100, [1]), spans: [span('send', '', 100, 110)] }]
    const critical = { segments: [piece('root', 100, 120), piece('send', 120, 125), piece('h', 125, 130), piece('h', 130, 128)] }
    const got = pathByRow({ start: '100', critical } as unknown as Journey, rows)
    expect(got.get('root')).toEqual([{ from: 0, to: 20 }])
    expect(got.get('h')).toEqual([{ from: 20, to: 30 }, { from: 28, to: 30 }])
    expect(got.has('send')).toBe(false)
  })
})
