import { Fragment, useState } from 'react'
import type { EventDetail } from '../../api/types'
import { fullTime, time } from '../../lib/format'

type Exception = EventDetail['exceptions'][number]
type Frame = Exception['frames'][number]

/** The exceptions with their calls, and what happened before. */
export function Stack({ d }: { d: EventDetail }) {
  return (
    <>
      {d.payload !== 'stored' && (
        <div className="fr">
          <span className="muted">
            {d.payload === 'missing' ? 'The payload of this event is not stored: its stack and what happened before are unknown.' : 'The payload of this event cannot be read: its stack and what happened before are unknown.'}
          </span>
        </div>
      )}
      {d.text && d.text !== d.event.value && (
        <div className="fr">
          <span>
            <span className="muted">logged </span>
            <span className="mono said-so">{d.text}</span>
          </span>
        </div>
      )}
      {d.payload === 'stored' && d.exceptions.length === 0 && (
        <div className="fr">
          <span className="muted">The event came without a stack.</span>
        </div>
      )}
      {d.exceptions.map((e, i) => (
        <Fragment key={i}>
          {i > 0 && (
            <div className="fr cause">
              <span>
                <span className="muted">caused by </span>
                <b>{e.type || 'error'}</b>
                {e.value && <>: {e.value}</>}
              </span>
              {e.handled === false && <span className="tag bad">not handled</span>}
            </div>
          )}
          <Frames frames={e.frames} />
          {e.cut && (
            <div className="fr lib">
              <span>older calls are not shown</span>
            </div>
          )}
        </Fragment>
      ))}
      {d.breadcrumbs.length > 0 && (
        <section className="pad" aria-label="Before it happened">
          <h2>Before it happened</h2>
          <div className="scroll">
            <table className="crumbs" aria-label="Before it happened">
              <tbody>
                {d.breadcrumbs.map((b, i) => (
                  <tr key={i}>
                    <td className="muted" title={b.time ? fullTime(b.time) : undefined}>
                      {b.time ? time(b.time) : 'unknown'}
                    </td>
                    <td>{b.category || b.type}</td>
                    <td className="wrap">
                      {b.level && b.level !== 'info' && <span className={'tag ' + (b.level === 'error' || b.level === 'fatal' ? 'bad' : b.level === 'warning' ? 'warn' : '')}>{b.level}</span>} {b.message}
                      {b.data.length > 0 && <span className="muted"> {b.data.map((a) => `${a.key} ${a.value}`).join(' · ')}</span>}
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        </section>
      )}
    </>
  )
}

/** In-app calls open; the others between them in one line until asked for. */
function Frames({ frames }: { frames: readonly Frame[] }) {
  const noneInApp = !frames.some((f) => f.inApp)
  const runs: { inApp: boolean; frames: Frame[] }[] = []
  for (const f of frames) {
    const inApp = f.inApp || noneInApp
    const last = runs.at(-1)
    if (last && last.inApp === inApp) last.frames.push(f)
    else runs.push({ inApp, frames: [f] })
  }
  return runs.map((r, i) => (r.inApp ? r.frames.map((f, k) => <InApp key={i + '.' + k} f={f} mark={f.inApp} />) : <Library key={i} frames={r.frames} />))
}

function Where({ f }: { f: Frame }) {
  return (
    <span className="where">
      <b>{f.function || 'unknown function'}</b>{' '}
      <span className="mono muted">
        {f.file || f.module}
        {f.line > 0 && ':' + f.line}
      </span>
    </span>
  )
}

function InApp({ f, mark }: { f: Frame; mark: boolean }) {
  return (
    <>
      <div className="fr inapp">
        <Where f={f} />
        <span className="turn">
          {f.mapped && <span className="tag ok">by source map</span>}
          {mark && <span className="tag">in app</span>}
        </span>
      </div>
      {f.unmapped && (
        <div className="fr lib">
          <span>not mapped to its source: {f.unmapped}</span>
        </div>
      )}
      {f.context.length > 0 && (
        <pre className="code" tabIndex={0} aria-label={`Code of ${f.function}`}>
          {f.context.map((l) => (
            <span key={l.number} className={l.hit ? 'hit' : undefined}>
              <i>{l.number}</i>
              {l.text || ' '}
            </span>
          ))}
        </pre>
      )}
      {f.vars.length > 0 && (
        <details className="vars">
          <summary>
            {f.vars.length === 1 ? '1 variable' : f.vars.length + ' variables'} <span className="only-read">of {f.function}</span>
          </summary>
          <dl className="kv">
            {f.vars.map((v) => (
              <div key={v.key} className="pair">
                <dt className="mono">{v.key}</dt>
                <dd className="mono">{v.value}</dd>
              </div>
            ))}
          </dl>
        </details>
      )}
    </>
  )
}

function Library({ frames }: { frames: readonly Frame[] }) {
  const [open, setOpen] = useState(false)
  const modules = [...new Set(frames.map((f) => f.module || f.file).filter(Boolean))]
  return (
    <>
      <div className="fr lib">
        <span>
          {frames.length === 1 ? '1 call' : frames.length + ' calls'}
          {modules.length > 0 && ' of ' + modules.slice(0, 3).join(', ') + (modules.length > 3 ? ' …' : '')}
        </span>
        <button type="button" className="linkish" aria-expanded={open} onClick={() => setOpen(!open)}>
          {open ? 'hide' : 'show'}
        </button>
      </div>
      {open &&
        frames.map((f, i) => (
          <div className="fr lib in" key={i}>
            <Where f={f} />
          </div>
        ))}
    </>
  )
}
