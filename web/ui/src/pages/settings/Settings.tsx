import { useQuery } from '@tanstack/react-query'
import { useSearch } from 'wouter'
import { ask } from '../../api/client'
import type { Finding as Data, ProjectDetail, Quota, Status } from '../../api/types'
import { count, fullTime, plain } from '../../lib/format'
import { useTitle } from '../../lib/hooks'
import { number, text } from '../../lib/say'
import { Finding, titleText } from '../../parts/Finding'
import { Link } from '../../parts/Link'
import { Shell } from '../../parts/Shell'
import { Copy, Failed, Ghosts } from '../../parts/States'
import { quotaText, rulesOf, windowText } from './settings'

/** Projects, their keys and what is set for them; changed by command or API. */
export function Settings({ status }: { status: Status | undefined }) {
  const asked = new URLSearchParams(useSearch()).get('project') ?? undefined
  const id = status?.project
  const projects = useQuery({ queryKey: ['projects'], queryFn: ({ signal }) => ask<'/api/v1/projects'>('/projects', {}, signal) })
  const detail = useQuery({
    queryKey: ['project', id],
    queryFn: ({ signal }) => ask<'/api/v1/projects/{id}'>('/projects/' + encodeURIComponent(id!), { project: asked }, signal),
    enabled: !!id,
  })
  const p = detail.data
  const finding = p && projects.data && settingsFinding(p, projects.data.projects.length)
  useTitle(titleText(finding) || 'Settings')
  const error = projects.error ?? detail.error
  return (
    <Shell page="Settings" status={status}>
      <Finding finding={finding} failed={error && 'Settings cannot be shown'}>
        {p?.disabled && <span className="tag bad">disabled</span>}
      </Finding>
      {error && !p ? (
        <Failed error={error} retry={() => void Promise.all([projects.refetch(), detail.refetch()])} retrying={detail.isFetching || projects.isFetching} />
      ) : (
        <div className="split">
          <div className="stacked">
            <section className="panel scroll" aria-label="Keys">
              <table aria-label="Keys">
                <thead>
                  <tr>
                    <th>Key</th>
                    <th>DSN</th>
                    <th className="wide">Limit</th>
                    <th className="wide">Made</th>
                  </tr>
                </thead>
                <tbody>
                  {p ? (
                    p.keys.map((k) => (
                      <tr key={k.id}>
                        <td>
                          <b>{k.label || 'without label'}</b> {!k.active && <span className="tag bad">disabled</span>}
                        </td>
                        <td className="mono wrap">{k.dsn || <span className="unknown-word">{k.public}, where this server is reached is not set</span>}</td>
                        <td className="wide">{k.limit ? `${count(k.limit.count)} in ${windowText(k.limit.window)}` : <span className="muted">none</span>}</td>
                        <td className="wide muted">{fullTime(k.created).replace(/\.\d+/, '')}</td>
                      </tr>
                    ))
                  ) : (
                    <Ghosts rows={1} columns={4} />
                  )}
                </tbody>
              </table>
              {p && p.keys.length === 0 && <p className="pad">It has no key: nothing can be sent to it.</p>}
            </section>
            <section className="panel" aria-label="Quotas">
              <Quotas list={p?.settings.quotas} />
            </section>
            {p && (
              <section className="panel pad" aria-label="Change it">
                <h2>To change it</h2>
                <p>This page only shows. A change is a command on the server’s machine, and every collector sees it within 5 s:</p>
                <Copy text={`hoptrace projects key-create ${p.slug} --label web --limit 1000/60`} />
                <p>or by the API:</p>
                <Copy text={`curl -X POST ${location.origin}/api/v1/projects/${p.id}/keys \\\n  -H 'Content-Type: application/json' -d '{"label": "web"}'`} />
                <p className="muted">
                  <code>hoptrace projects --help</code> lists all commands, <code>hoptrace projects show {p.slug}</code> prints all settings.
                </p>
              </section>
            )}
          </div>
          <aside className="panel side" aria-label="About this project">
            <section>
              <h2>What becomes of what it is sent</h2>
              <dl className="kv">
                {p &&
                  rulesOf(p).map(([what, how]) => (
                    <div key={what} className="pair">
                      <dt>{what}</dt>
                      <dd>{how}</dd>
                    </div>
                  ))}
              </dl>
            </section>
            <section>
              <h2>Accounts</h2>
              <ul className="plainlist">
                <li>
                  <Link to="/account">Your account</Link>
                </li>
                <li>
                  <Link to="/members">Members</Link>
                </li>
              </ul>
            </section>
            <section>
              <h2>Projects</h2>
              <ul className="plainlist">
                {(projects.data?.projects ?? []).map((x) => (
                  <li key={x.id}>
                    {x.id === id ? <b aria-current="true">{x.name}</b> : <Link to={'?project=' + x.id}>{x.name}</Link>} <span className="muted">{x.slug}</span> {x.disabled && <span className="tag bad">disabled</span>}
                  </li>
                ))}
              </ul>
            </section>
          </aside>
        </div>
      )}
    </Shell>
  )
}

function Quotas({ list }: { list: readonly Quota[] | undefined }) {
  if (list && list.length === 0) {
    return (
      <div className="pad">
        <h2>Quotas</h2>
        <p className="muted zero">None is set: as much is taken as comes.</p>
      </div>
    )
  }
  return (
    <table aria-label="Quotas">
      <thead>
        <tr>
          <th>Quota</th>
          <th>Of</th>
          <th>Takes</th>
          <th className="wide">Reason told</th>
        </tr>
      </thead>
      <tbody>
        {list ? (
          list.map((x) => (
            <tr key={x.id}>
              <td>
                <b>{x.id}</b>
              </td>
              <td className="wrap">
                {(x.categories ?? []).join(', ') || 'all categories'} <span className="muted">by {x.scope}</span>
              </td>
              <td>{quotaText(x)}</td>
              <td className="wide mono">{x.reasonCode || <span className="faint">none</span>}</td>
            </tr>
          ))
        ) : (
          <Ghosts rows={1} columns={4} />
        )}
      </tbody>
    </table>
  )
}

function settingsFinding(p: ProjectDetail, projects: number): Data {
  const active = p.keys.filter((k) => k.active).length
  const name = p.name || p.slug
  return {
    rule: p.disabled ? 'disabled' : active === 0 ? 'no-key' : 'takes',
    tone: p.disabled || active === 0 ? 'bad' : 'ok',
    title: p.disabled
      ? [text(`${name} is disabled: what is sent to it is refused`)]
      : active === 0
        ? [text(`${name} has no active key: nothing can be sent to it`)]
        : [text(`${name} takes what is sent with `), number(active), text(active === 1 ? ' key' : ' keys')],
    text: [text(p.settings.quotas.length === 0 ? 'No quota limits it.' : `${plain(count(p.settings.quotas.length))} quotas limit it.`), text(projects > 1 ? ` There are ${projects} projects.` : ' It is the only project.')],
  }
}
