import type { components } from '../../api/schema'
import { labelOf } from './labels'

export type Settings = components['schemas']['ProjectSettings']
export type Fault = components['schemas']['Fault']
type Json = string | number | boolean | null | undefined | readonly Json[] | { readonly [key: string]: Json }

/** What quotas can be of; the server's schemas/category.go. */
export const CATEGORIES = [
  'default', 'error', 'transaction', 'security', 'attachment', 'attachment_item', 'session', 'profile', 'profile_chunk', 'replay', 'monitor', 'feedback',
  'span', 'log_item', 'log_byte', 'trace_metric', 'trace_metric_byte', 'metric_bucket', 'internal',
] as const

/** What a rule of scrubbing can look for by name. */
export const BUILTINS = ['anything', 'apikey', 'bearer', 'creditcard', 'email', 'ip', 'pemkey', 'urlauth'] as const

/** The tabs of the page, each with the fields of the settings that it sets. */
export const TABS = {
  keys: ['Keys', []],
  general: ['General', ['allowedOrigins', 'retentionDays']],
  filters: ['Filters', ['filters']],
  scrubbing: ['Scrubbing', ['scrubbing']],
  sampling: ['Sampling', ['sampling']],
  quotas: ['Quotas', ['quotas']],
  grouping: ['Grouping', ['groupingRules', 'fingerprintRules']],
} as const satisfies Record<string, readonly [string, readonly (keyof Settings)[]]>

export type Tab = keyof typeof TABS

/** The tab on which a field is set. */
export function tabOf(field: string): Tab {
  const key = field.split(/[.[]/)[0]
  for (const [tab, [, fields]] of Object.entries(TABS)) if ((fields as readonly string[]).includes(key ?? '')) return tab as Tab
  return 'general'
}

/** Where the forms have a field: its tab, and what it is called there. */
export const fieldName = (path: string): string => `${TABS[tabOf(path)][0]}: ${labelOf(path)}`

/** Without the empty lines that stand in a field while one types. */
export function cleaned<T>(v: T): T {
  if (Array.isArray(v)) return v.map((x: unknown) => (typeof x === 'string' ? x.trim() : cleaned(x))).filter((x: unknown) => x !== '') as T
  if (v && typeof v === 'object') return Object.fromEntries(Object.entries(v).map(([k, x]) => [k, cleaned(x as unknown)])) as T
  return v
}

const same = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b)

/** Which fields of the settings are other than they were. */
export function changed(base: Settings, draft: Settings): (keyof Settings)[] {
  const now = cleaned(draft)
  return (Object.keys(base) as (keyof Settings)[]).filter((k) => !same(base[k], now[k]))
}

/**
 * One's own changes on top of what somebody else saved meanwhile. Where both
 * changed the same field, one's own stays and the field is named.
 */
export function rebased(base: Settings, draft: Settings, theirs: Settings): { draft: Settings; theirs: (keyof Settings)[]; both: (keyof Settings)[] } {
  const mine = changed(base, draft)
  const other = changed(base, theirs)
  const out = { ...theirs } as Record<string, unknown>
  for (const k of mine) out[k] = draft[k]
  return { draft: out as Settings, theirs: other, both: other.filter((k) => mine.includes(k) && !same(theirs[k], cleaned(draft)[k])) }
}

function shown(v: Json, path: string): string {
  if (v === true) return 'on'
  if (v === false) return 'off'
  if (v === null) return 'none'
  if (v === undefined || v === '') return 'empty'
  if (Array.isArray(v)) return v.length === 0 ? 'none' : v.map((x) => shown(x, path)).join(', ')
  if (typeof v === 'object') return Object.entries(v as Record<string, Json>).filter(([, x]) => x !== '' && !(Array.isArray(x) && x.length === 0)).map(([k, x]) => `${labelOf(path + '.' + k)} ${shown(x, path)}`).join(', ')
  const text = String(v)
  return text.includes('\n') || text.length > 80 ? `${text.split('\n').filter((l) => l.trim()).length} lines` : text
}

/** What is other than it was, a line each: the field, and from what to what. */
export function differences(before: Json, now: Json, path = ''): { field: string; text: string }[] {
  if (same(before, now)) return []
  if (Array.isArray(before) && Array.isArray(now)) {
    const gone = before.filter((x) => !now.some((y) => same(x, y)))
    const come = now.filter((x) => !before.some((y) => same(x, y)))
    if (gone.length === 0 && come.length === 0) return [{ field: path, text: 'in another order' }]
    return [...gone.map((x) => ({ field: path, text: 'without ' + shown(x, path) })), ...come.map((x) => ({ field: path, text: 'with ' + shown(x, path) }))]
  }
  if (before && now && typeof before === 'object' && typeof now === 'object') {
    return [...new Set([...Object.keys(before), ...Object.keys(now)])].flatMap((k) => differences((before as Record<string, Json>)[k], (now as Record<string, Json>)[k], path ? path + '.' + k : k))
  }
  return [{ field: path, text: `${shown(before, path)} → ${shown(now, path)}` }]
}

/** The faults of a field and of what lies in it. */
export function faultsOf(faults: readonly Fault[], path: string): Fault[] {
  return faults.filter((f) => f.field === path || f.field.startsWith(path + '[') || f.field.startsWith(path + '.'))
}

/** A name that no other rule has. */
export function freeName(stem: string, taken: readonly string[]): string {
  for (let n = 1; ; n++) if (!taken.includes(`${stem}-${n}`)) return `${stem}-${n}`
}
