import { useState } from 'react'
import type { Attribute } from '../../api/types'
import { count } from '../../lib/format'
import { Link } from '../../parts/Link'

/** Lists of traces can be filtered by these. */
const FILTERS: Record<string, string> = {
  'service.name': 'service',
  'messaging.destination.name': 'topic',
  'messaging.consumer.group.name': 'group',
}

const MOST = 100
const SEARCH_FROM = 8

/** Attributes of a span, to be searched, copied and followed. */
export function Attributes({ title, list }: { title: string; list: readonly Attribute[] }) {
  const [find, setFind] = useState('')
  if (list.length === 0) return null
  const wanted = find.trim().toLowerCase()
  const found = wanted ? list.filter((a) => a.key.toLowerCase().includes(wanted) || a.value.toLowerCase().includes(wanted)) : list
  return (
    <section aria-label={title}>
      <h2>{title}</h2>
      {list.length >= SEARCH_FROM && <input className="attrfind" type="search" aria-label={`Search the ${title.toLowerCase()}`} placeholder={`Search ${count(list.length)}`} value={find} onChange={(e) => setFind(e.target.value)} />}
      {found.length === 0 && <span className="muted">None holds “{find}”.</span>}
      <dl className="attrs">
        {found.slice(0, MOST).map((a, i) => (
          <div key={a.key + i}>
            <dt>
              {a.key}
              <span className="acts">
                {FILTERS[a.key] && (
                  <Link to={'/traces?' + new URLSearchParams({ [FILTERS[a.key]!]: a.value }).toString()} className="copyattr" aria-label={`Traces with ${a.key} ${a.value}`}>
                    filter
                  </Link>
                )}
                <CopyButton text={a.value} name={a.key} />
              </span>
            </dt>
            <dd className="mono">{a.value}</dd>
          </div>
        ))}
      </dl>
      {found.length > MOST && <p className="muted">{count(found.length - MOST)} more; search for them</p>}
    </section>
  )
}

export function CopyButton({ text, name }: { text: string; name: string }) {
  const [done, setDone] = useState(false)
  return (
    <button
      type="button"
      className="copyattr"
      aria-label={`Copy ${name}`}
      onClick={() => {
        navigator.clipboard.writeText(text).then(
          () => {
            setDone(true)
            setTimeout(() => setDone(false), 1500)
          },
          () => setDone(false),
        )
      }}
    >
      {done ? 'copied' : 'copy'}
    </button>
  )
}
