import { useMutation } from '@tanstack/react-query'
import { act } from '../../api/client'
import { count } from '../../lib/format'
import { Refused } from '../../parts/States'
import { BUILTINS, CATEGORIES, freeName } from './draft'
import { AreaField, CheckField, LinesField, PickField, Rules, TextField, useForm } from './Fields'

export function General() {
  const { draft: s, set } = useForm()
  return (
    <>
      <TextField more="; 0 is as long as the store keeps them" path="retentionDays" type="number" value={String(s.retentionDays)} set={(v) => set({ retentionDays: whole(v) })} />
      <LinesField more=" (none: all)" path="allowedOrigins" value={s.allowedOrigins} set={(allowedOrigins) => set({ allowedOrigins })} hint="https://shop.example" />
    </>
  )
}

export function Filters() {
  const { draft, set } = useForm()
  const f = draft.filters
  const to = (c: Partial<typeof f>) => set({ filters: { ...f, ...c } })
  return (
    <>
      <p className="muted">What a filter names is not kept; the ledger counts it. * in a pattern is any text.</p>
      <CheckField path="filters.legacyBrowsers" value={f.legacyBrowsers} set={(legacyBrowsers) => to({ legacyBrowsers })} />
      <CheckField path="filters.localhost" value={f.localhost} set={(localhost) => to({ localhost })} />
      <CheckField path="filters.webCrawlers" value={f.webCrawlers} set={(webCrawlers) => to({ webCrawlers })} />
      <CheckField path="filters.browserExtensions" value={f.browserExtensions} set={(browserExtensions) => to({ browserExtensions })} />
      <LinesField path="filters.errorMessages" value={f.errorMessages} set={(errorMessages) => to({ errorMessages })} hint="TypeError: *is not a function" />
      <LinesField path="filters.releases" value={f.releases} set={(releases) => to({ releases })} hint="shop@0.*" />
      <LinesField path="filters.clientIPs" value={f.clientIPs} set={(clientIPs) => to({ clientIPs })} hint="10.0.0.0/8" />
    </>
  )
}

export function Scrubbing() {
  const { draft, set } = useForm()
  const s = draft.scrubbing
  const to = (c: Partial<typeof s>) => set({ scrubbing: { ...s, ...c } })
  return (
    <>
      <p className="muted">What is scrubbed is taken out before it is kept, and cannot be had back.</p>
      <CheckField path="scrubbing.enabled" value={s.enabled} set={(enabled) => to({ enabled })} />
      <CheckField path="scrubbing.defaults" value={s.defaults} set={(defaults) => to({ defaults })} />
      <CheckField path="scrubbing.ipAddresses" value={s.ipAddresses} set={(ipAddresses) => to({ ipAddresses })} />
      <CheckField path="scrubbing.emails" value={s.emails} set={(emails) => to({ emails })} />
      <CheckField path="scrubbing.otlp" value={s.otlp} set={(otlp) => to({ otlp })} />
      <LinesField path="scrubbing.sensitiveFields" value={s.sensitiveFields} set={(sensitiveFields) => to({ sensitiveFields })} hint="iban" />
      <LinesField path="scrubbing.safeFields" value={s.safeFields} set={(safeFields) => to({ safeFields })} hint="token_count" />
      <Rules name="scrubbing rule" path="scrubbing.rules" list={s.rules} set={(rules) => to({ rules })} make={() => ({ id: freeName('rule', s.rules.map((r) => r.id)), type: 'pattern' as const, match: '', method: 'replace' as const, replacement: '', paths: [] })}>
        {(r, change, path) => (
          <div className="columns">
            <TextField path={path + '.id'} value={r.id} set={(id) => change({ id })} />
            <PickField path={path + '.type'} value={r.type} set={(type) => change({ type, match: type === 'builtin' ? BUILTINS[0] : '' })} options={[['pattern', 'a regular expression'], ['field', 'names of fields'], ['builtin', 'a kind of secret']]} />
            {r.type === 'builtin' ? (
              <PickField label="Which" path={path + '.match'} value={r.match} set={(match) => change({ match })} options={BUILTINS.map((b) => [b, b])} />
            ) : (
              <TextField label={r.type === 'field' ? 'Names; * is any text' : 'Regular expression'} path={path + '.match'} value={r.match} set={(match) => change({ match })} />
            )}
            <PickField path={path + '.method'} value={r.method} set={(method) => change({ method })} options={[['remove', 'leave nothing'], ['mask', 'a * for each character'], ['hash', 'a hash of it'], ['replace', 'another text']]} />
            {r.method === 'replace' && <TextField path={path + '.replacement'} value={r.replacement} set={(replacement) => change({ replacement })} hint="[Filtered]" />}
            <LinesField more=" (none: everywhere)" path={path + '.paths'} rows={1} value={r.paths} set={(paths) => change({ paths })} hint="request.data.**" />
          </div>
        )}
      </Rules>
    </>
  )
}

export function Sampling() {
  const { draft, set } = useForm()
  const list = draft.sampling
  return (
    <>
      <p className="muted">The first rule that fits decides which share is kept; what none fits is kept. A list that is empty fits everything.</p>
      <Rules ordered name="sampling rule" path="sampling" list={list} set={(sampling) => set({ sampling })} make={() => ({ id: freeName('sample', list.map((r) => r.id)), type: 'trace' as const, rate: 0.1, releases: [], environments: [], transactions: [], levels: [], platforms: [] })}>
        {(r, change, path) => (
          <div className="columns">
            <TextField path={path + '.id'} value={r.id} set={(id) => change({ id })} />
            <PickField path={path + '.type'} value={r.type} set={(type) => change({ type })} options={[['trace', 'transactions and spans'], ['transaction', 'transactions'], ['error', 'errors']]} />
            <TextField more=", 0 to 1" path={path + '.rate'} type="number" value={String(r.rate)} set={(v) => change({ rate: v === '' ? 0 : Number(v) })} />
            {(['releases', 'environments', 'transactions', 'levels', 'platforms'] as const).map((k) => (
              <LinesField key={k} rows={1} path={`${path}.${k}`} value={r[k]} set={(v) => change({ [k]: v })} />
            ))}
          </div>
        )}
      </Rules>
    </>
  )
}

export function Quotas() {
  const { draft, set } = useForm()
  const list = draft.quotas
  return (
    <>
      <p className="muted">A quota bounds how much is taken in a window; what is beyond it is refused, and the sender is told when to try again.</p>
      <Rules name="quota" path="quotas" list={list} set={(quotas) => set({ quotas })} make={() => ({ id: freeName('quota', list.map((q) => q.id)), scope: 'project' as const, limit: 1000, window: 60 })}>
        {(q, change, path) => (
          <>
            <div className="columns">
              <TextField path={path + '.id'} value={q.id} set={(id) => change({ id })} />
              <PickField path={path + '.scope'} value={q.scope} set={(scope) => change({ scope })} options={[['project', 'the project'], ['key', 'each key'], ['organization', 'the organisation']]} />
              <PickField label="Takes" path={path + '.kind'} value={q.limit === null ? 'count' : q.limit === 0 ? 'nothing' : 'limit'} set={(kind) => change(kind === 'nothing' ? { limit: 0 } : { limit: kind === 'count' ? null : 1000, window: q.window || 60 })} options={[['limit', 'so many'], ['nothing', 'nothing'], ['count', 'all, and counts it']]} />
              {q.limit !== null && q.limit !== 0 && <TextField path={path + '.limit'} type="number" value={String(q.limit)} set={(v) => change({ limit: Math.max(1, whole(v)) })} />}
              {q.limit !== 0 && <TextField path={path + '.window'} type="number" value={String(q.window ?? 0)} set={(v) => change({ window: whole(v) })} />}
              <TextField path={path + '.reasonCode'} value={q.reasonCode ?? ''} set={(v) => change({ reasonCode: v })} hint="none" />
            </div>
            <details>
              <summary>Of {(q.categories ?? []).join(', ') || 'all categories'}</summary>
              <div className="chips" role="group" aria-label={'Categories of ' + q.id}>
                {CATEGORIES.map((c) => (
                  <label key={c} className="check">
                    <input type="checkbox" checked={q.categories?.includes(c) ?? false} onChange={(e) => change({ categories: e.target.checked ? [...(q.categories ?? []), c] : (q.categories ?? []).filter((x) => x !== c) })} /> {c}
                  </label>
                ))}
              </div>
            </details>
          </>
        )}
      </Rules>
    </>
  )
}

const TRIED = 1000

export function Grouping({ project }: { project: string }) {
  const { draft: s, set } = useForm()
  const tried = useMutation({
    mutationFn: () =>
      act<'/api/v1/projects/{id}/grouping/preview', 'post'>('post', `/projects/${project}/grouping/preview`, {}, { enhancements: s.groupingRules, fingerprinting: s.fingerprintRules, events: TRIED }),
  })
  const p = tried.data
  return (
    <>
      <p className="muted">Rules hold for what comes from now on; what is stored stays in its issues.</p>
      <AreaField path="groupingRules" value={s.groupingRules} set={(groupingRules) => set({ groupingRules })} hint="stack.module:com.vendor.* -app" />
      <AreaField path="fingerprintRules" value={s.fingerprintRules} set={(fingerprintRules) => set({ fingerprintRules })} hint="error.type:DatabaseError -> database" />
      <button type="button" className="pick" disabled={tried.isPending} onClick={() => tried.mutate()}>
        {tried.isPending ? 'Trying' : `Try on the newest ${count(TRIED)} events`}
      </button>
      <Refused error={tried.error} />
      {p && (
        <section aria-label="What the rules would do" role="status">
          <p>
            <b>{count(p.moved)}</b> of {count(p.events)} events would be in another issue: {count(p.issuesBefore)} issues before, {count(p.issuesAfter)} after.{p.unreadable > 0 && ` ${count(p.unreadable)} could not be read.`}
          </p>
          <ul className="plainlist">
            {p.splits.slice(0, 10).map((x) => (
              <li key={x.issue.hash}>
                {x.issue.title || 'issue without title'} <span className="muted">would be {count(x.partsAll)} issues</span>
              </li>
            ))}
            {p.merges.slice(0, 10).map((x) => (
              <li key={x.issue.hash}>
                {x.issue.title || 'issue without title'} <span className="muted">would take in {count(x.partsAll)} issues</span>
              </li>
            ))}
          </ul>
        </section>
      )}
    </>
  )
}

/** A whole number; what is none is zero, which the server judges. */
function whole(v: string): number {
  const n = Number(v)
  return Number.isFinite(n) ? Math.trunc(n) : 0
}
