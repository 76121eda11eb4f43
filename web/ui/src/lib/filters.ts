/** What a list is filtered by; it lives in the URL. */
export interface Filters {
  service: string
  topic: string
  group: string
  min_latency: string
  errors: boolean
  /** In the query language of the page's rows, beside the filters. */
  q: string
  query: string
  order: string
  from: string
  to: string
}

export const DEFAULT_FROM = '-24h'

/** What the list of issues shows unless it is asked for something. */
export const DEFAULT_QUERY = 'is:unresolved'

export function readFilters(search: string): Filters {
  const q = new URLSearchParams(search)
  const get = (name: string) => q.get(name) ?? ''
  return {
    service: get('service'),
    topic: get('topic'),
    group: get('group'),
    min_latency: get('min_latency'),
    errors: get('errors') === 'true',
    q: get('q'),
    query: q.get('query') ?? q.get('text') ?? DEFAULT_QUERY,
    order: get('order'),
    from: q.get('from') ?? DEFAULT_FROM,
    to: get('to'),
  }
}

/** The search part of a URL with some parameters changed; empty ones and the usual time are left out. */
export function withParams(search: string, change: Record<string, string | boolean | undefined>): string {
  const q = new URLSearchParams(search)
  for (const [name, value] of Object.entries(change)) {
    if (value === undefined || value === '' || value === false || (name === 'from' && value === DEFAULT_FROM) || (name === 'query' && value === DEFAULT_QUERY)) q.delete(name)
    else q.set(name, String(value))
  }
  const s = q.toString()
  return s ? '?' + s : ''
}

/** A time of the URL as a person reads it: "1 Dec 02:00" of a moment, others as they are. */
export function timeWords(time: string): string {
  const t = /^\d{4}-\d\d-\d\dT/.test(time) ? new Date(time) : undefined
  return t && !isNaN(t.getTime()) ? t.toLocaleString('en-GB', { day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit' }).replace(',', '') : time
}

const UNITS: Record<string, number> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 7 * 86_400_000 }

/** A search part with its time as it is now, and whether that is another than it was: "-1h" is from an hour ago until now. */
export function pinTimes(search: string, now: number): [string, boolean] {
  const q = new URLSearchParams(search)
  const m = /^-(\d+)([smhdw])$/.exec(q.get('from') ?? DEFAULT_FROM)
  if (!m || q.get('to')) return [search, false]
  q.set('from', new Date(now - Number(m[1]) * UNITS[m[2]!]!).toISOString())
  q.set('to', new Date(now).toISOString())
  return ['?' + q.toString(), true]
}

/** Parameters for the API: "all" as from means the beginning. */
export function apiRange(f: Filters): { from: string | undefined; to: string | undefined } {
  return { from: f.from === 'all' ? undefined : f.from, to: f.to || undefined }
}

/** An empty query, kept in the URL so that it is told from none. */
export const EVERYTHING = ' '

/** What was typed into the search field. */
export type Typed = { kind: 'trace'; id: string } | { kind: 'filters'; change: Record<string, string> } | { kind: 'fault'; message: string }

const NAMES: Record<string, string> = { service: 'service', topic: 'topic', group: 'group', min: 'min_latency', errors: 'errors', is: 'errors' }

/**
 * Reads "service:orders topic:payments min:100ms errors:true", a trace id, or, where a page has a query of its own, that.
 * On a page whose rows have a query language, what is no filter is in it.
 */
export function readTyped(input: string, hasText: boolean, asks = false): Typed {
  const s = input.trim()
  if (/^[0-9a-f]{32}$/i.test(s)) return { kind: 'trace', id: s.toLowerCase() }
  const change: Record<string, string> = hasText ? { query: EVERYTHING, text: '' } : { service: '', topic: '', group: '', min_latency: '', errors: '', ...(asks ? { q: '' } : {}) }
  const words: string[] = []
  // What is joined by OR, or grouped, stays whole.
  const whole = asks && /[()]|(^|\s)(OR|NOT)(\s|$)/.test(s)
  const outside = whole && /(?:^|[\s(])((?:min|errors):[^\s)]+)/.exec(s.replace(/"(?:\\.|[^"\\])*"?/g, '""'))
  if (outside) return { kind: 'fault', message: `${outside[1]} is for the whole list and cannot stand beside OR, NOT or brackets: choose it from the filters below` }
  for (const word of asks || hasText ? (s.match(/(?:[^\s"]|"(?:\\.|[^"\\])*"?)+/g) ?? []) : s.split(/\s+/).filter(Boolean)) {
    const m = /^(\w+)[:=](.*)$/.exec(word)
    if (!m || hasText || whole) {
      words.push(word)
      continue
    }
    const name = NAMES[m[1]!.toLowerCase()]
    if (asks && (!name || change[name] || !/^[^"*[\]<>=]+$/.test(m[2]!) || (m[1] === 'is' && m[2] !== 'error'))) {
      words.push(word)
      continue
    }
    if (!name) return { kind: 'fault', message: `there is no filter "${m[1]}": service, topic, group, min, errors` }
    change[name] = name === 'errors' ? (m[2] === 'false' ? '' : 'true') : m[2]!
  }
  if (asks) {
    change['q'] = words.join(' ')
    return { kind: 'filters', change }
  }
  if (words.length > 0) {
    if (!hasText) return { kind: 'fault', message: `"${words[0]}" is no filter: write service:orders topic:payments group:g min:100ms errors:true, or a trace id` }
    change['query'] = words.join(' ')
  }
  return { kind: 'filters', change }
}

/** The search field's text for what the URL says. */
export function typedOf(f: Filters, hasText: boolean): string {
  if (hasText) return f.query.trim()
  const out: string[] = []
  if (f.service) out.push('service:' + f.service)
  if (f.topic) out.push('topic:' + f.topic)
  if (f.group) out.push('group:' + f.group)
  if (f.min_latency) out.push('min:' + f.min_latency)
  if (f.errors) out.push('errors:true')
  if (f.q) out.push(f.q)
  return out.join(' ')
}
