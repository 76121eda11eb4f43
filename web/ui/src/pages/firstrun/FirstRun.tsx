import { useRef, useState, type KeyboardEvent } from 'react'
import type { Status } from '../../api/types'
import { useTitle } from '../../lib/hooks'
import { Copy } from '../../parts/States'
import { Shell, type PageName } from '../../parts/Shell'
import { firstRunTabs } from './lines'

/** Nothing has arrived yet: what to copy. The page turns by itself when the first message comes. */
export function FirstRun({ page, status }: { page: PageName; status: Status }) {
  const tabs = firstRunTabs(status)
  const [at, setAt] = useState(0)
  const list = useRef<HTMLDivElement>(null)
  const tab = tabs[at]!
  useTitle('Waiting for the first message')
  const onKey = (e: KeyboardEvent) => {
    const step = e.key === 'ArrowRight' ? 1 : e.key === 'ArrowLeft' ? -1 : 0
    if (!step) return
    const next = (at + step + tabs.length) % tabs.length
    setAt(next)
    list.current?.querySelectorAll<HTMLElement>('[role=tab]')[next]?.focus()
  }
  return (
    <Shell page={page} status={status}>
      <div className="sum">
        <div className="said">
          <h1>Nothing has arrived yet</h1>
          <p>Send from your program to this hoptrace; this page turns by itself when the first message comes.</p>
        </div>
        <div className="tags">
          <span className="tag waiting" role="status">
            waiting for the first message
          </span>
        </div>
      </div>
      <div className="panel first">
        <div role="tablist" aria-label="How to send" ref={list} onKeyDown={onKey}>
          {tabs.map((t, i) => (
            <button key={t.name} type="button" role="tab" id={'tab-' + i} aria-selected={i === at} aria-controls="tab-panel" tabIndex={i === at ? 0 : -1} onClick={() => setAt(i)}>
              {t.name}
            </button>
          ))}
        </div>
        <div role="tabpanel" id="tab-panel" aria-labelledby={'tab-' + at} tabIndex={0}>
          {tab.steps.map((s) => (
            <div key={s.say} className="step">
              <p>{s.say}</p>
              <Copy key={tab.name + s.say} text={s.lines} />
            </div>
          ))}
        </div>
      </div>
      <dl className="kv ends">
        {status.endpoints.otlpGrpc && (
          <>
            <dt>OTLP, gRPC</dt>
            <dd className="mono">{status.endpoints.otlpGrpc}</dd>
          </>
        )}
        {status.endpoints.otlpHttp && (
          <>
            <dt>OTLP, HTTP</dt>
            <dd className="mono">{status.endpoints.otlpHttp}</dd>
          </>
        )}
        {status.endpoints.kafka && (
          <>
            <dt>Kafka</dt>
            <dd className="mono">{status.endpoints.kafka}</dd>
          </>
        )}
        {status.projects.flatMap((p) => p.dsns.map((d) => [p.name || p.slug, d] as const)).map(([name, d]) => (
          <div key={d} className="pair">
            <dt>DSN of {name}</dt>
            <dd className="mono">{d}</dd>
          </div>
        ))}
      </dl>
    </Shell>
  )
}
