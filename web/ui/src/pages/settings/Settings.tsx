import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { useEffect, useState } from 'react'
import { useLocation, useSearch } from 'wouter'
import { act, ApiError, ask } from '../../api/client'
import type { Finding as Sentence, ProjectDetail, Quota, Status } from '../../api/types'
import { withParams } from '../../lib/filters'
import { count, plain } from '../../lib/format'
import { useTitle } from '../../lib/hooks'
import { useLeaveGuard } from '../../lib/leave'
import { number, text } from '../../lib/say'
import { useCan } from '../../lib/session'
import { Finding, titleText } from '../../parts/Finding'
import { Link } from '../../parts/Link'
import { Plan } from '../../parts/Plan'
import { Shell } from '../../parts/Shell'
import { Failed, Ghosts } from '../../parts/States'
import { changed, cleaned, differences, faultsOf, fieldName, rebased, tabOf, TABS, type Fault, type Settings as Data, type Tab } from './draft'
import { FormContext } from './Fields'
import { Keys } from './Keys'
import { quotaText, rulesOf } from './settings'
import { Filters, General, Grouping, Quotas as QuotaForm, Sampling, Scrubbing } from './Tabs'

/** What was begun and not saved, by project: it is there again when one comes back. */
const begun = new Map<string, { base: Data; revision: number; draft: Data }>()

/** Projects, their keys and what is set for them. */
export function Settings({ status }: { status: Status | undefined }) {
  const search = useSearch()
  const u = new URLSearchParams(search)
  const asked = u.get('project') ?? undefined
  const id = status?.project
  const admin = useCan('admin')
  const [doing, setDoing] = useState<'new' | 'rename' | 'switch'>()
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
  const tab: Tab = Object.hasOwn(TABS, u.get('tab') ?? '') ? (u.get('tab') as Tab) : 'keys'
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
            {admin && p ? (
              <Forms key={p.id} p={p} tab={tab} />
            ) : (
              <>
                <Keys p={p} can={false} />
                <section className="panel" aria-label="Quotas">
                  <Quotas list={p?.settings.quotas} />
                </section>
                {p && (
                  <p className="muted">
                    Admins and owners change settings; <Link to="/members">members</Link> lists them. <code>hoptrace projects show {p.slug}</code> prints all.
                  </p>
                )}
              </>
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
              {admin && p && (
                <div className="actions">
                  <button type="button" className="pick" onClick={() => setDoing('rename')}>
                    Rename…
                  </button>
                  <button type="button" className="pick" onClick={() => setDoing('switch')}>
                    {p.disabled ? 'Enable…' : 'Disable…'}
                  </button>
                </div>
              )}
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
              {admin && (
                <p>
                  <button type="button" className="pick" onClick={() => setDoing('new')}>
                    New project…
                  </button>
                </p>
              )}
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
                {admin && (
                  <li>
                    <Link to="/audit">What was changed</Link>
                  </li>
                )}
              </ul>
            </section>
          </aside>
        </div>
      )}
      {doing && p && <ProjectPlan doing={doing} p={p} close={() => setDoing(undefined)} />}
    </Shell>
  )
}

/** The settings as forms: what is changed in them is one's own until it is saved. */
function Forms({ p, tab }: { p: ProjectDetail; tab: Tab }) {
  const cache = useQueryClient()
  const search = useSearch()
  const [path, go] = useLocation()
  const [state, setState] = useState(() => begun.get(p.id) ?? { base: p.settings, revision: p.revision, draft: p.settings })
  const [faults, setFaults] = useState<readonly Fault[]>([])
  const [said, setSaid] = useState('')
  const [plan, setPlan] = useState<'save' | 'drop'>()
  const [leaving, setLeaving] = useState<() => void>()
  const mine = changed(state.base, state.draft)
  const dirty = mine.length > 0
  useEffect(() => {
    if (dirty) begun.set(p.id, state)
    else begun.delete(p.id)
  }, [dirty, state, p.id])
  // Without a draft the form shows what is there now.
  if (!dirty && p.revision !== state.revision) setState({ base: p.settings, revision: p.revision, draft: p.settings })
  const project = new URLSearchParams(search).get('project') ?? ''
  useLeaveGuard(
    dirty,
    (to) => {
      const next = new URL(to, location.origin)
      return next.pathname.startsWith('/sign-in') || (next.pathname === path && (next.searchParams.get('project') ?? '') === project)
    },
    (leave) => setLeaving(() => leave),
  )
  const change = (c: Partial<Data>) => {
    setState((now) => ({ ...now, draft: { ...now.draft, ...c } }))
    // What was wrong with a field may be mended now; the server says so at the next try.
    setFaults((now) => now.filter((f) => !Object.keys(c).some((k) => faultsOf([f], k).length > 0)))
    setSaid('')
  }
  const to = (t: Tab) => go(path + withParams(search, { tab: t === 'keys' ? '' : t }), { replace: true })
  const latest = () => cache.fetchQuery({ queryKey: ['project', p.id], queryFn: ({ signal }) => ask<'/api/v1/projects/{id}'>('/projects/' + p.id, {}, signal), staleTime: 0 })
  const save = useMutation({
    mutationFn: async () => {
      const send = (revision: number) => act<'/api/v1/projects/{id}', 'put'>('put', '/projects/' + p.id, {}, { settings: cleaned(state.draft), revision })
      try {
        return await send(state.revision)
      } catch (e) {
        if (!(e instanceof ApiError && e.code === 'project_changed')) throw e
        // Another name, or a key: nobody touched the settings.
        const now = await latest()
        if (changed(state.base, now.settings).length > 0) throw e
        return send(now.revision)
      }
    },
    onSuccess: (answer) => {
      cache.setQueryData(['project', p.id], answer)
      setState({ base: answer.settings, revision: answer.revision, draft: answer.settings })
      setFaults([])
      setPlan(undefined)
      setSaid('Saved. Every collector sees it within 5 s.')
    },
    onError: async (e) => {
      if (!(e instanceof ApiError)) return
      if (e.faults.length > 0) {
        setFaults(e.faults)
        setPlan(undefined)
        to(tabOf(e.faults[0]!.field))
      } else if (e.code === 'project_changed') {
        const now = await latest()
        const r = rebased(state.base, state.draft, now.settings)
        setState({ base: now.settings, revision: now.revision, draft: r.draft })
        setPlan(undefined)
        setSaid(
          `Somebody else saved meanwhile (${r.theirs.map(fieldName).join('; ')}). Your changes stand on top of theirs` + (r.both.length ? `, and replace theirs (${r.both.map(fieldName).join('; ')})` : '') + '; look, then save again.',
        )
      }
    },
  })
  // The first field at fault is where one goes on.
  useEffect(() => {
    if (!save.error) return
    const at = document.querySelector<HTMLElement>('.settingform [aria-invalid]')
    at?.focus({ preventScroll: true })
    at?.scrollIntoView({ block: 'center' })
  }, [save.error])
  return (
    <FormContext value={{ draft: state.draft, set: change, faults }}>
      <nav className="views settingtabs" aria-label="Settings">
        {(Object.entries(TABS) as [Tab, (typeof TABS)[Tab]][]).map(([t, [name, fields]]) => {
          const bad = faults.some((f) => tabOf(f.field) === t)
          return (
            <Link key={t} to={'?tab=' + t} aria-current={t === tab ? 'page' : undefined}>
              {name}
              {bad ? <span className="bad"> faults</span> : (fields as readonly string[]).some((f) => (mine as readonly string[]).includes(f)) && <span className="muted"> changed</span>}
            </Link>
          )
        })}
      </nav>
      {(said || faults.length > 0) && (
        <p className={faults.length > 0 ? 'bad' : ''} role={faults.length > 0 ? 'alert' : 'status'}>
          {faults.length > 0 ? `Nothing was saved: ${faults.length === 1 ? 'one field is' : faults.length + ' fields are'} at fault.` : said}
        </p>
      )}
      {tab === 'keys' ? (
        <Keys p={p} can />
      ) : (
        <section className="panel pad settingform" aria-label={TABS[tab][0]}>
          {tab === 'general' ? <General /> : tab === 'filters' ? <Filters /> : tab === 'scrubbing' ? <Scrubbing /> : tab === 'sampling' ? <Sampling /> : tab === 'quotas' ? <QuotaForm /> : <Grouping project={p.id} />}
        </section>
      )}
      {dirty && (
        <div className="chosen savebar" role="group" aria-label="Not saved">
          <b>Not saved: {[...new Set(mine.map((f) => TABS[tabOf(f)][0]))].join(', ')}</b>
          <button type="button" className="pick on" onClick={() => setPlan('save')}>
            Save…
          </button>
          <button type="button" className="pick" onClick={() => setPlan('drop')}>
            Drop…
          </button>
        </div>
      )}
      {plan === 'save' && (
        <Plan title={`Save the settings of ${p.name}`} verb="Save" busy={save.isPending} error={save.error instanceof ApiError && (save.error.faults.length > 0 || save.error.code === 'project_changed') ? null : save.error} close={() => setPlan(undefined)} go={() => save.mutate()}>
          <p>Every collector sees it within 5 s; what is stored already stays as it is. Undo: set it back.</p>
          <Differences base={state.base} draft={state.draft} />
        </Plan>
      )}
      {plan === 'drop' && (
        <Plan
          title="Drop your changes"
          verb="Drop them"
          danger
          busy={false}
          error={null}
          close={() => setPlan(undefined)}
          go={() => {
            setState({ base: p.settings, revision: p.revision, draft: p.settings })
            setFaults([])
            setPlan(undefined)
          }}
        >
          <Differences base={state.base} draft={state.draft} />
        </Plan>
      )}
      {leaving && (
        <Plan
          title="Leave without saving"
          verb="Leave"
          danger
          busy={false}
          error={null}
          close={() => setLeaving(undefined)}
          go={() => {
            setState({ base: p.settings, revision: p.revision, draft: p.settings })
            begun.delete(p.id)
            leaving()
          }}
        >
          <p>These changes are not saved, and are lost:</p>
          <Differences base={state.base} draft={state.draft} />
        </Plan>
      )}
    </FormContext>
  )
}

const MOST_SHOWN = 20

function Differences({ base, draft }: { base: Data; draft: Data }) {
  const all = differences(base, cleaned(draft))
  return (
    <ul className="plainlist" aria-label="Changes">
      {all.slice(0, MOST_SHOWN).map((d, i) => (
        <li key={i} className="wrap">
          <b>{fieldName(d.field)}</b> {d.text}
        </li>
      ))}
      {all.length > MOST_SHOWN && <li className="muted">and {all.length - MOST_SHOWN} more</li>}
    </ul>
  )
}

function ProjectPlan({ doing, p: now, close }: { doing: 'new' | 'rename' | 'switch'; p: ProjectDetail; close: () => void }) {
  // It says what it does to what was there, also while the new state comes in.
  const [p] = useState(now)
  const cache = useQueryClient()
  const search = useSearch()
  const [path, navigate] = useLocation()
  const [slug, setSlug] = useState('')
  const [name, setName] = useState(doing === 'rename' ? p.name : '')
  const go = useMutation({
    mutationFn: () =>
      doing === 'new'
        ? act<'/api/v1/projects', 'post'>('post', '/projects', {}, { slug, ...(name ? { name } : {}) })
        : act<'/api/v1/projects/{id}', 'put'>('put', '/projects/' + p.id, {}, doing === 'rename' ? { name } : { disabled: !p.disabled }),
    onSuccess: async (answer) => {
      cache.setQueryData(['project', answer.id], answer)
      await Promise.all([cache.invalidateQueries({ queryKey: ['projects'] }), cache.invalidateQueries({ queryKey: ['status'] })])
      close()
      if (doing === 'new') navigate(path + withParams(search, { project: answer.id, tab: '' }))
    },
  })
  const fault = go.error instanceof ApiError && go.error.param === 'slug' ? go.error : undefined
  const title = doing === 'new' ? 'A new project' : doing === 'rename' ? `Rename ${p.name}` : p.disabled ? `Enable ${p.name}` : `Disable ${p.name}`
  return (
    <Plan title={title} verb={doing === 'new' ? 'Make it' : doing === 'rename' ? 'Rename' : p.disabled ? 'Enable' : 'Disable'} danger={doing === 'switch' && !p.disabled} busy={go.isPending} error={fault ? null : go.error} disabled={doing === 'new' ? !slug : doing === 'rename' && !name.trim()} close={close} go={() => go.mutate()}>
      {doing === 'new' && (
        <label className="field">
          <span className="muted">Slug</span>
          <input type="text" value={slug} maxLength={50} placeholder="shop-web" spellCheck={false} aria-invalid={fault ? true : undefined} aria-describedby={fault ? 'slug-fault' : undefined} onChange={(e) => setSlug(e.target.value)} />
        </label>
      )}
      {fault && (
        <p id="slug-fault" className="bad" role="alert">
          {fault.message}
        </p>
      )}
      {doing !== 'switch' && (
        <label className="field">
          <span className="muted">Name</span>
          <input type="text" value={name} maxLength={200} placeholder={doing === 'new' ? 'as the slug' : ''} onChange={(e) => setName(e.target.value)} />
        </label>
      )}
      {doing === 'new' && <p className="muted">It gets one key. Its slug stays as it is; everything else can be changed.</p>}
      {doing === 'switch' && <p>{p.disabled ? 'What is sent to it is taken again, within 5 s. Undo: Disable.' : 'What is sent to it is refused, within 5 s. What is stored stays and can be read. Undo: Enable.'}</p>}
    </Plan>
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

function settingsFinding(p: ProjectDetail, projects: number): Sentence {
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
