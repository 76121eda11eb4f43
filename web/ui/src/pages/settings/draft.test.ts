import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { BUILTINS, CATEGORIES, changed, cleaned, differences, faultsOf, fieldName, freeName, rebased, tabOf, TABS, type Settings } from './draft'
import { LABELS, labelOf } from './labels'

const base: Settings = {
  version: 1, allowedOrigins: [], retentionDays: 0,
  filters: { legacyBrowsers: false, localhost: false, webCrawlers: false, browserExtensions: false, errorMessages: ['a'], releases: [], clientIPs: [] },
  scrubbing: { enabled: true, defaults: true, ipAddresses: false, emails: false, otlp: false, sensitiveFields: [], safeFields: [], rules: [] },
  sampling: [], groupingRules: '', fingerprintRules: '', quotas: [],
}
const with_ = (f: Partial<Settings>): Settings => ({ ...base, ...f })

describe('a draft', () => {
  it('is what is other than it was, without the lines one has only begun', () => {
    expect(changed(base, with_({ allowedOrigins: ['', '  '] }))).toEqual([])
    expect(changed(base, with_({ allowedOrigins: [' a '], retentionDays: 7 }))).toEqual(['allowedOrigins', 'retentionDays'])
    expect(cleaned({ a: [' x ', '', { b: [' '] }], c: ' text\n' })).toEqual({ a: ['x', { b: [] }], c: ' text\n' })
  })
  it('is told a line each', () => {
    const f = (draft: Partial<Settings>, want: string[]) => expect(differences(base, with_(draft)).map((d) => `${d.field} ${d.text}`)).toEqual(want)
    f({ retentionDays: 30 }, ['retentionDays 0 → 30'])
    f({ filters: { ...base.filters, localhost: true, errorMessages: ['b', 'c'] } }, ['filters.localhost off → on', 'filters.errorMessages without a', 'filters.errorMessages with b', 'filters.errorMessages with c'])
    f({ groupingRules: 'a -app\nb +app\n' }, ['groupingRules empty → 2 lines'])
    f({ quotas: [{ id: 'q', scope: 'project', limit: 0 }] }, ['quotas with Name q, For project, How many 0'])
    expect(differences(['a', 'b'], ['b', 'a'], 'x')).toEqual([{ field: 'x', text: 'in another order' }])
  })
})

describe('a change of somebody else', () => {
  it('stays where one changed nothing', () => {
    const r = rebased(base, with_({ retentionDays: 7 }), with_({ allowedOrigins: ['x'] }))
    expect(r.draft).toEqual(with_({ retentionDays: 7, allowedOrigins: ['x'] }))
    expect([r.theirs, r.both]).toEqual([['allowedOrigins'], []])
  })
  it('is named where one changed the same, unless it is the same change', () => {
    expect(rebased(base, with_({ retentionDays: 7 }), with_({ retentionDays: 9 }))).toMatchObject({ draft: { retentionDays: 7 }, both: ['retentionDays'] })
    expect(rebased(base, with_({ retentionDays: 7 }), with_({ retentionDays: 7 })).both).toEqual([])
  })
})

it('finds the faults of a field, and the tab it is on', () => {
  const faults = ['quotas[1].window', 'quotas[10].id', 'filters.clientIPs[0]', 'filters'].map((field) => ({ field, detail: 'x' }))
  const f = (path: string, want: number) => expect(faultsOf(faults, path).length, path).toBe(want)
  f('quotas[1]', 1)
  f('quotas', 2)
  f('filters.clientIPs', 1)
  f('filters', 2)
  f('filters.client', 0)
  expect(['quotas[1].window', 'filters', 'fingerprintRules', 'colour', ''].map(tabOf)).toEqual(['quotas', 'filters', 'grouping', 'general', 'general'])
})

it('gives a rule a name of its own', () => {
  expect(freeName('quota', [])).toBe('quota-1')
  expect(freeName('quota', ['quota-1', 'quota-3'])).toBe('quota-2')
})

it('knows the names that the server knows', () => {
  const read = (file: string) => readFileSync(new URL('../../../../../schemas/' + file, import.meta.url), 'utf8')
  expect([...read('category.go').matchAll(/^\tCategory\w+ +Category = "(\w+)"/gm)].map((m) => m[1])).toEqual([...CATEGORIES])
  expect(/ScrubBuiltins = \[\]string\{(.*)\}/.exec(read('settings.go'))?.[1]).toBe(BUILTINS.map((b) => `"${b}"`).join(', '))
})

it('calls fields as the forms do, and has a name for each that there is', () => {
  const f = (path: string, want: string) => expect(fieldName(path), path).toBe(want)
  f('filters.errorMessages', 'Filters: Error messages')
  f('quotas', 'Quotas: quota')
  f('quotas[3].window', 'Quotas: In seconds')
  f('retentionDays', 'General: Days that events are kept')
  expect(labelOf('colour')).toBe('colour')
  const fields = (v: unknown, path: string): string[] => (v && typeof v === 'object' && !Array.isArray(v) ? Object.entries(v).flatMap(([k, x]) => fields(x, path ? path + '.' + k : k)) : [path])
  expect(fields(base, '').filter((x) => x !== 'version' && !Object.hasOwn(LABELS, x))).toEqual([])
  for (const label of Object.keys(LABELS)) expect(Object.values(TABS).some(([, keys]) => (keys as readonly string[]).includes(label.split('.')[0]!)), label).toBe(true)
})
