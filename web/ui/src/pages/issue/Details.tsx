import { useQuery } from '@tanstack/react-query'
import { useSearch } from 'wouter'
import { ask } from '../../api/client'
import type { Attribute, EventDetail, Note } from '../../api/types'
import { bytes } from '../../lib/format'
import { byPlace, noteText, notesAt } from './details'

/** What an event says beside its stack. */
export function Details({ d }: { d: EventDetail }) {
  const e = d.event
  const facts: [string, string][] = [
    ['Release', e.release],
    ['Environment', e.environment],
    ['Server', e.server],
    ['Transaction', e.transaction],
    ['Platform', e.platform],
    ['Logger', e.logger],
    ['Told by', e.origin === 'otel' ? 'OpenTelemetry' : e.sdk || 'a Sentry SDK'],
    ['Event id', e.id],
  ]
  return (
    <section className="panel pad" aria-label="Tags and contexts">
      <div className="columns">
        <Pairs title="User" of="user" list={d.user} notes={d.notes} />
        <Pairs title="Request" of="request" list={d.request} notes={d.notes} />
      </div>
      <h2>Tags</h2>
      <div className="chips">
        {[...facts.filter(([, v]) => v).map(([key, value]) => ({ key, value })), ...e.tags].map((t) => (
          <span className="chip" key={t.key}>
            <span className="muted">{t.key}</span> {t.value}
          </span>
        ))}
      </div>
      {d.contexts.length > 0 && (
        <details>
          <summary>Contexts ({d.contexts.length})</summary>
          <div className="columns">
            {d.contexts.map((c) => (
              <Pairs key={c.name} title={c.name} of={c.name === 'extra' ? 'extra' : 'contexts.' + c.name} list={c.data} notes={d.notes} />
            ))}
          </div>
        </details>
      )}
    </section>
  )
}

function Pairs({ title, of, list, notes }: { title: string; of: string; list: readonly Attribute[]; notes: readonly Note[] }) {
  if (list.length === 0) return null
  return (
    <section aria-label={title}>
      <h2>{title}</h2>
      <dl className="kv">
        {list.map((a) => (
          <div key={a.key} className="pair">
            <dt>{a.key}</dt>
            <dd>
              <span className="mono">{a.value}</span> {notesAt(notes, of + '.' + a.key) > 0 && <a href="#notes" className="tag warn">changed</a>}
            </dd>
          </div>
        ))}
      </dl>
    </section>
  )
}

/** What _meta tells: values that were taken out, cut or refused on the way. */
export function Notes({ d }: { d: EventDetail }) {
  if (d.notes.length === 0) return null
  const places = byPlace(d.notes)
  return (
    <section className="panel scroll" aria-label="Changed before it was kept" id="notes">
      <table aria-label="Changed before it was kept">
        <thead>
          <tr>
            <th>Changed before it was kept</th>
            <th>What happened to it</th>
          </tr>
        </thead>
        <tbody>
          {places.map(([path, notes]) => (
            <tr key={path}>
              <td className="mono wrap">{path || 'the event'}</td>
              <td className="wrap">{notes.map(noteText).join('; ')}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {d.notesCut && <p className="pad muted">More was changed than is listed.</p>}
    </section>
  )
}

/** The files that came with an event. */
export function Attachments({ event }: { event: string }) {
  const project = new URLSearchParams(useSearch()).get('project') ?? undefined
  const files = useQuery({
    queryKey: ['attachments', project, event],
    queryFn: ({ signal }) => ask<'/api/v1/events/{event}/attachments'>(`/events/${event}/attachments`, { project }, signal),
    retry: false,
  })
  if (files.error) return <p className="bad">Its attachments cannot be listed: {files.error.message}</p>
  const list = files.data?.files ?? []
  if (list.length === 0) return null
  return (
    <section className="panel scroll" aria-label="Attachments">
      <table aria-label="Attachments">
        <thead>
          <tr>
            <th>Attachment</th>
            <th className="wide">Kind</th>
            <th className="num">Size</th>
          </tr>
        </thead>
        <tbody>
          {list.map((f) => (
            <tr key={f.id}>
              <td className="wrap">
                <a href={f.download} download={f.name || f.id} aria-label={'Download ' + (f.name || f.id)}>
                  {f.name || f.id}
                </a>
              </td>
              <td className="wide">
                {f.type === 'event.attachment' ? '' : f.type + ' '}
                <span className="muted">{f.contentType}</span>
              </td>
              <td className="num">{bytes(f.size)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  )
}
