import type { ProjectDetail, Quota } from '../../api/types'
import { count, duration, share } from '../../lib/format'

/** A window of so many seconds, as 1 m 00 s → a minute. */
export function windowText(seconds: number): string {
  const named: Record<number, string> = { 1: 'a second', 60: 'a minute', 3600: 'an hour', 86_400: 'a day' }
  return named[seconds] ?? duration(seconds * 1e9)
}

/** What a quota takes. */
export function quotaText(q: Quota): string {
  if (q.limit === null) return 'all, and counts it'
  if (q.limit === 0) return 'nothing'
  return count(q.limit) + (q.window ? ' in ' + windowText(q.window) : '')
}

/** What is set, as pairs of a name and a text. */
export function rulesOf(p: ProjectDetail): [string, string][] {
  const s = p.settings
  const on = (list: [boolean, string][]) =>
    list
      .filter(([is]) => is)
      .map(([, name]) => name)
      .join(', ')
  const f = s.filters
  const c = s.scrubbing
  return [
    ['Kept', s.retentionDays > 0 ? `${count(s.retentionDays)} days` : 'as long as the store keeps it'],
    ['Origins', s.allowedOrigins.join(', ') || 'all'],
    [
      'Filtered',
      on([
        [f.legacyBrowsers, 'legacy browsers'],
        [f.localhost, 'localhost'],
        [f.webCrawlers, 'web crawlers'],
        [f.browserExtensions, 'browser extensions'],
        [f.errorMessages.length > 0, `${f.errorMessages.length} error messages`],
        [f.releases.length > 0, `${f.releases.length} releases`],
        [f.clientIPs.length > 0, `${f.clientIPs.length} addresses`],
      ]) || 'nothing',
    ],
    [
      'Scrubbed',
      c.enabled
        ? on([
            [c.defaults, 'passwords, keys and card numbers'],
            [c.ipAddresses, 'IP addresses'],
            [c.emails, 'e-mail addresses'],
            [c.sensitiveFields.length > 0, `${c.sensitiveFields.length} further fields`],
            [c.rules.length > 0, `${c.rules.length} rules of its own`],
          ]) || 'nothing'
        : 'nothing',
    ],
    ['Sampled', s.sampling.length === 0 ? 'all is kept' : s.sampling.map((r) => `${r.type} ${share(r.rate)}`).join(', ')],
    ['Grouping', s.groupingRules.trim() || s.fingerprintRules.trim() ? 'with rules of its own' : 'by the built-in rules'],
  ]
}
