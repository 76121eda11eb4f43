import { useQuery } from '@tanstack/react-query'
import type { ReactNode } from 'react'
import { useLocation, useSearch } from 'wouter'
import { ask } from '../api/client'
import { apiRange, readFilters, withParams } from '../lib/filters'

type Field = 'service' | 'topic' | 'group' | 'min_latency' | 'errors' | 'order'

const LATENCIES: [string, string][] = [
  ['', 'any duration'],
  ['10ms', 'at least 10 ms'],
  ['100ms', 'at least 100 ms'],
  ['1s', 'at least 1 s'],
  ['10s', 'at least 10 s'],
  ['1m', 'at least 1 m'],
  ['1h', 'at least 1 h'],
]

/** The filters of a list; each change is a new URL. */
export function Filters({ with: fields, children }: { with: readonly Field[]; children?: ReactNode }) {
  const search = useSearch()
  const [path, go] = useLocation()
  const f = readFilters(search)
  const project = new URLSearchParams(search).get('project') ?? undefined
  const names = useQuery({
    queryKey: ['names', project, f.from, f.to],
    queryFn: ({ signal }) => ask<'/api/v1/names'>('/names', { ...apiRange(f), project }, signal),
    staleTime: 60_000,
  })
  const set = (change: Record<string, string | boolean>) => go(path + withParams(search, { ...change, before: '' }))
  const pick = (name: 'service' | 'topic' | 'group', label: string, values: readonly string[] = []) => {
    const own = f[name]
    const all = own && !values.includes(own) ? [own, ...values] : values
    return (
      <select key={name} className={'pick' + (own ? ' on' : '')} aria-label={label} value={own} onChange={(e) => set({ [name]: e.target.value })}>
        <option value="">any {label.toLowerCase()}</option>
        {all.map((v) => (
          // What is chosen says what it is: a topic and its group often have one name.
          <option key={v} value={v}>
            {v === own ? `${label.toLowerCase()} ${v}` : v}
          </option>
        ))}
      </select>
    )
  }
  return (
    <div className="filters" role="group" aria-label="Filters">
      {fields.includes('service') && pick('service', 'Service', names.data?.services)}
      {fields.includes('topic') && pick('topic', 'Topic', names.data?.topics)}
      {fields.includes('group') && pick('group', 'Group', names.data?.groups)}
      {fields.includes('min_latency') && (
        <select className={'pick' + (f.min_latency ? ' on' : '')} aria-label="At least" value={f.min_latency} onChange={(e) => set({ min_latency: e.target.value })}>
          {!LATENCIES.some(([v]) => v === f.min_latency) && <option value={f.min_latency}>at least {f.min_latency}</option>}
          {LATENCIES.map(([value, label]) => (
            <option key={value} value={value}>
              {label}
            </option>
          ))}
        </select>
      )}
      {fields.includes('order') && (
        <select className="pick" aria-label="Order" value={f.order || 'newest'} onChange={(e) => set({ order: e.target.value === 'newest' ? '' : e.target.value })}>
          <option value="newest">newest first</option>
          <option value="slowest">slowest first</option>
          <option value="sent">as sent, read or not</option>
        </select>
      )}
      {fields.includes('errors') && (
        <label className={'pick' + (f.errors ? ' on' : '')}>
          <input type="checkbox" checked={f.errors} onChange={(e) => set({ errors: e.target.checked })} /> Errors only
        </label>
      )}
      {children}
    </div>
  )
}
