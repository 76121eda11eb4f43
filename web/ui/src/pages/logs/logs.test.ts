import { describe, expect, it } from 'vitest'
import type { Log } from '../../api/types'
import { pieceText } from '../../parts/Finding'
import { keysOf, logsFinding, quoted } from './logs'

const log = (level: string, service: string, body: string, more: Partial<Log> = {}): Log => ({
  time: '1', received: '1', level, severity: 0, body, service, scope: '', origin: 'sentry', traceId: '', spanId: '', resource: [], attributes: [], ...more,
})

const said = (logs: Log[], next: { before: string; skip: number } | null = null, filtered = false) => {
  const f = logsFinding({ logs, next }, filtered)
  return [f.rule, f.title.map(pieceText).join(''), f.text.map(pieceText).join('')]
}

describe('the finding of logs', () => {
  it('says that there are none', () => {
    expect(said([])).toEqual(['empty', 'No log was sent in this time', ''])
    expect(said([], null, true)).toEqual(['empty', 'No log matches', ''])
  })
  it('puts errors before all', () => {
    expect(said([log('warn', 'a', 'slow'), log('error', 'b', 'broke\nat x'), log('fatal', 'b', 'died')])).toEqual(['errors', '2 of all 3 logs tell an error', 'All from b. The newest: broke'])
    expect(said([log('error', '', 'broke')], { before: '1', skip: 1 })).toEqual(['errors', '1 of 1 logs tells an error', 'No service is told. The newest: broke'])
    expect(said([log('error', 'a', 'x'), log('error', 'b', 'y'), log('error', 'b', 'z')])[2]).toBe('Most from b: 2. The newest: x')
  })
  it('then warnings, then quiet', () => {
    expect(said([log('info', 'a', 'x'), log('warn', 'a', 'slow')])).toEqual(['warnings', 'No error among all 2 logs, 1 warning', 'The newest: slow'])
    expect(said([log('info', 'a', 'x')])).toEqual(['quiet', 'No error and no warning among the only log', ''])
  })
  it('links the newest error to its place in its trace', () => {
    const f = logsFinding({ logs: [log('error', 'a', 'x', { traceId: 'abc', spanId: 'd' })], next: null }, false)
    expect(f.text.at(-1)!.href).toBe('/traces/abc?row=d')
  })
})

it('tells logs of one time apart', () => {
  expect(keysOf([log('info', '', ''), log('info', '', ''), log('info', '', '', { time: '2' })])).toEqual(['1', '1-1', '2'])
})

it('quotes the first line, cut', () => {
  expect(quoted('  a\nb')).toBe('a')
  expect(quoted('x'.repeat(121))).toBe('x'.repeat(119) + '…')
})
