import { useMutation, useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'
import { act, ApiError, remove } from '../../api/client'
import type { ProjectDetail } from '../../api/types'
import { count, fullTime } from '../../lib/format'
import { Plan } from '../../parts/Plan'
import { Copy, Ghosts } from '../../parts/States'
import { windowText } from './settings'

type Key = ProjectDetail['keys'][number]
type Doing = { kind: 'new' } | { kind: 'change' | 'switch' | 'rotate' | 'delete'; key: Key }

/** The keys of a project with their DSNs; can: the buttons that change them. */
export function Keys({ p, can }: { p: ProjectDetail | undefined; can: boolean }) {
  const [doing, setDoing] = useState<Doing>()
  return (
    <section className="panel scroll" aria-label="Keys">
      <table aria-label="Keys" className="keys">
        <thead>
          <tr>
            <th>Key</th>
            <th>DSN</th>
            <th className="wide">Limit</th>
            <th className="wide">Made</th>
            {can && (
              <th>
                <span className="only-read">What can be done</span>
              </th>
            )}
          </tr>
        </thead>
        <tbody>
          {p ? (
            p.keys.map((k) => (
              <tr key={k.id}>
                <td className="wrap">
                  <b>{k.label || 'without label'}</b> {!k.active && <span className="tag bad">disabled</span>}
                </td>
                <td className="wrap">{k.dsn ? <Copy text={k.dsn} label={`Copy the DSN of ${k.label}`} short /> : <span className="unknown-word">{k.public}, where this server is reached is not set</span>}</td>
                <td className="wide">{k.limit ? `${count(k.limit.count)} in ${windowText(k.limit.window)}` : <span className="muted">none</span>}</td>
                <td className="wide muted">{fullTime(k.created).replace(/\.\d+/, '')}</td>
                {can && (
                  <td>
                    <span className="actions">
                      {(
                        [
                          ['change', 'Change'],
                          ['switch', k.active ? 'Disable' : 'Enable'],
                          ['rotate', 'Rotate'],
                          ['delete', 'Delete'],
                        ] as const
                      ).map(([kind, label]) => (
                        <button key={kind} type="button" className="pick" aria-label={`${label} ${k.label}…`} onClick={() => setDoing({ kind, key: k })}>
                          {label}…
                        </button>
                      ))}
                    </span>
                  </td>
                )}
              </tr>
            ))
          ) : (
            <Ghosts rows={1} columns={can ? 5 : 4} />
          )}
        </tbody>
      </table>
      {p && p.keys.length === 0 && <p className="pad">It has no key: nothing can be sent to it.</p>}
      {can && p && (
        <div className="pad">
          <button type="button" className="pick" onClick={() => setDoing({ kind: 'new' })}>
            New key…
          </button>
        </div>
      )}
      {doing && p && <KeyPlan doing={doing} project={p.id} close={() => setDoing(undefined)} />}
    </section>
  )
}

function KeyPlan({ doing, project, close }: { doing: Doing; project: string; close: () => void }) {
  const cache = useQueryClient()
  const key = doing.kind === 'new' ? undefined : doing.key
  const [label, setLabel] = useState(key?.label ?? '')
  const [limited, setLimited] = useState(!!key?.limit)
  const [most, setMost] = useState(String(key?.limit?.count ?? 1000))
  const [window, setWindow] = useState(String(key?.limit?.window ?? 60))
  const limit = limited ? { count: Number(most), window: Number(window) } : null
  const at = `/projects/${project}/keys`
  const go = useMutation({
    mutationFn: async (): Promise<unknown> => {
      if (!key) return act<'/api/v1/projects/{id}/keys', 'post'>('post', at, {}, { label, ...(limit ? { limit } : {}) })
      const one = `${at}/${key.public}`
      if (doing.kind === 'rotate') return act<'/api/v1/projects/{id}/keys/{key}/rotate', 'post'>('post', one + '/rotate', {}, undefined as never)
      if (doing.kind === 'delete') return remove(one)
      const switched = doing.kind === 'switch'
      return act<'/api/v1/projects/{id}/keys/{key}', 'put'>('put', one, {}, { label: switched ? key.label : label, active: switched ? !key.active : key.active, limit: switched ? key.limit : limit })
    },
    onSuccess: async () => {
      await Promise.all([cache.invalidateQueries({ queryKey: ['project'] }), cache.invalidateQueries({ queryKey: ['status'] })])
      close()
    },
  })
  const plans = {
    new: ['A new key', 'Make it'],
    change: [`Change ${key?.label}`, 'Change it'],
    switch: key?.active ? [`Disable ${key.label}`, 'Disable it'] : [`Enable ${key?.label}`, 'Enable it'],
    rotate: [`Rotate ${key?.label}`, 'Rotate it'],
    delete: [`Delete ${key?.label}`, 'Delete it'],
  } as const
  const fault = go.error instanceof ApiError && go.error.param === 'limit' ? go.error.message : ''
  const [title, verb] = plans[doing.kind]
  return (
    <Plan title={title!} verb={verb!} danger={doing.kind === 'delete' || (doing.kind === 'switch' && !!key?.active)} busy={go.isPending} error={fault ? null : go.error} disabled={limited && !(most.trim() && window.trim())} close={close} go={() => go.mutate()}>
      {(doing.kind === 'new' || doing.kind === 'change') && (
        <>
          <label className="field">
            <span className="muted">Label</span>
            <input type="text" value={label} maxLength={200} placeholder="web" onChange={(e) => setLabel(e.target.value)} />
          </label>
          <label className="check">
            <input type="checkbox" checked={limited} onChange={(e) => setLimited(e.target.checked)} /> limit what may be sent with it
          </label>
          {limited && (
            <>
              <label className="field">
                <span className="muted">Events</span>
                <input type="number" value={most} aria-invalid={fault ? true : undefined} aria-describedby={fault ? 'limit-fault' : undefined} onChange={(e) => setMost(e.target.value)} />
              </label>
              <label className="field">
                <span className="muted">In seconds</span>
                <input type="number" value={window} aria-invalid={fault ? true : undefined} aria-describedby={fault ? 'limit-fault' : undefined} onChange={(e) => setWindow(e.target.value)} />
              </label>
              {fault && (
                <p id="limit-fault" className="bad" role="alert">
                  {fault}
                </p>
              )}
            </>
          )}
        </>
      )}
      {doing.kind === 'switch' && <p>{key!.active ? 'What is sent with it is refused, within 5 s. Undo: Enable.' : 'What is sent with it is taken again, within 5 s. Undo: Disable.'}</p>}
      {doing.kind === 'rotate' && <p>A new key with its label and limit takes its place; the old one is disabled within 5 s, and programs need the new DSN. Undo: Enable the old one.</p>}
      {doing.kind === 'delete' && <p>What is sent with it is refused, within 5 s. What came with it stays. It cannot be taken back; disable it if you are not sure.</p>}
    </Plan>
  )
}
