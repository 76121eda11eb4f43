import type { Finding, Log, LogList, Piece } from '../../api/types'
import { firstOf, number, text } from '../../lib/say'

/** Levels to filter by, the least first. */
export const LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal'] as const

/** How a level is shown. */
export function toneOf(level: string): '' | 'bad' | 'warn' {
  return level === 'error' || level === 'fatal' ? 'bad' : level === 'warn' ? 'warn' : ''
}

/** Logs have no id: their time, and which of those at that time on the page. */
export function keysOf(logs: readonly Log[]): string[] {
  const seen = new Map<string, number>()
  return logs.map((l) => {
    const n = seen.get(l.time) ?? 0
    seen.set(l.time, n + 1)
    return n === 0 ? l.time : `${l.time}-${n}`
  })
}

interface Facts {
  list: LogList
  errors: Log[]
  warnings: Log[]
  /** Services of the errors, the one with most first. */
  services: [string, number][]
  filtered: boolean
}

/** The sentence that the page begins with. */
export function logsFinding(list: LogList, filtered: boolean): Finding {
  const errors = list.logs.filter((l) => toneOf(l.level) === 'bad')
  const warnings = list.logs.filter((l) => toneOf(l.level) === 'warn')
  const by = new Map<string, number>()
  for (const l of errors) by.set(l.service, (by.get(l.service) ?? 0) + 1)
  const facts: Facts = { list, errors, warnings, services: [...by].sort((a, b) => b[1] - a[1]), filtered }
  return firstOf<Facts>(
    [
      {
        rule: 'empty',
        tone: 'empty',
        when: (f) => f.list.logs.length === 0,
        title: (f) => [text(f.filtered ? 'No log matches' : 'No log was sent in this time')],
        text: () => [],
      },
      {
        rule: 'errors',
        tone: 'bad',
        when: (f) => f.errors.length > 0,
        title: (f) => [number(f.errors.length, '?level=error'), text(` of ${among(f)} ${f.errors.length === 1 ? 'tells' : 'tell'} an error`)],
        text: (f) => {
          const [service, most] = f.services[0]!
          const out: Piece[] = f.services.length === 1 ? [text(service ? `All from ${service}. ` : 'No service is told. ')] : [text('Most from '), text(service || 'a service without name', service ? '?' + new URLSearchParams({ service }).toString() : undefined), text(': '), number(most), text('. ')]
          const last = f.errors[0]!
          out.push(text('The newest: '), text(quoted(last.body), last.traceId ? '/traces/' + last.traceId + (last.spanId ? '?row=' + last.spanId : '') : undefined))
          return out
        },
      },
      {
        rule: 'warnings',
        tone: 'warn',
        when: (f) => f.warnings.length > 0,
        title: (f) => [text(`No error among ${among(f)}, `), number(f.warnings.length, '?level=warn'), text(f.warnings.length === 1 ? ' warning' : ' warnings')],
        text: (f) => [text('The newest: '), text(quoted(f.warnings[0]!.body))],
      },
      { rule: 'quiet', tone: 'ok', when: () => true, title: (f) => [text(`No error and no warning among ${among(f)}`)], text: () => [] },
    ],
    facts,
  )
}

function among(f: Facts): string {
  const n = f.list.logs.length
  return f.list.next ? `${n} logs` : n === 1 ? 'the only log' : `all ${n} logs`
}

/** The first line, at most 120 characters. */
export function quoted(body: string): string {
  const line = body.trim().split('\n', 1)[0]!
  return line.length > 120 ? line.slice(0, 119) + '…' : line
}
