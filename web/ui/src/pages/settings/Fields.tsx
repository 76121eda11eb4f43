import { createContext, useContext, useId, useState, type ReactNode } from 'react'
import { faultsOf, type Fault, type Settings } from './draft'
import { labelOf } from './labels'

interface Form {
  draft: Settings
  /** Sets some of the draft's fields. */
  set: (change: Partial<Settings>) => void
  faults: readonly Fault[]
}

export const FormContext = createContext<Form | undefined>(undefined)

export function useForm(): Form {
  const form = useContext(FormContext)
  if (!form) throw new Error('a field of settings stands outside of their form')
  return form
}

/** What the server found wrong with a field, below it. */
function Faults({ id, list }: { id: string; list: readonly Fault[] }) {
  if (list.length === 0) return null
  return (
    <span id={id} className="bad small">
      {list.map((f) => (
        <span key={f.field + f.detail} className="fieldfault">
          {f.detail}
        </span>
      ))}
    </span>
  )
}

function useFault(path: string) {
  const id = useId()
  const list = faultsOf(useForm().faults, path)
  return { list, id, aria: { 'aria-invalid': list.length > 0 ? true : undefined, 'aria-describedby': list.length > 0 ? id : undefined } as const }
}

/** One line of text, or a number; more is what its label says besides. */
export function TextField({ path, label = labelOf(path), more = '', value, set, hint, type = 'text' }: { path: string; label?: string; more?: string; value: string; set: (v: string) => void; hint?: string; type?: 'text' | 'number' }) {
  const fault = useFault(path)
  // A number that is being typed may be none yet.
  const [typed, setTyped] = useState<string>()
  return (
    <label className="setting">
      <span>
        {label}
        {more}
      </span>
      <input
        type={type}
        value={typed ?? value}
        maxLength={1024}
        placeholder={hint}
        step="any"
        spellCheck={false}
        onChange={(e) => {
          if (type === 'number') setTyped(e.target.value)
          set(e.target.value)
        }}
        onBlur={() => setTyped(undefined)}
        {...fault.aria}
      />
      <Faults id={fault.id} list={fault.list} />
    </label>
  )
}

/** A list, one entry a line. */
export function LinesField({ path, more = '', value, set, hint, rows = 3 }: { path: string; more?: string; value: readonly string[]; set: (v: string[]) => void; hint?: string; rows?: number }) {
  const fault = useFault(path)
  return (
    <label className="setting">
      <span>
        {labelOf(path)}
        {more}, one a line
      </span>
      <textarea rows={Math.min(12, Math.max(rows, value.length))} value={value.join('\n')} placeholder={hint} spellCheck={false} onChange={(e) => set(e.target.value === '' ? [] : e.target.value.split('\n'))} {...fault.aria} />
      <Faults id={fault.id} list={fault.list} />
    </label>
  )
}

/** A text of many lines. */
export function AreaField({ path, value, set, hint }: { path: string; value: string; set: (v: string) => void; hint?: string }) {
  const fault = useFault(path)
  return (
    <label className="setting">
      <span>{labelOf(path)}</span>
      <textarea className="mono" rows={8} maxLength={65_536} value={value} placeholder={hint} spellCheck={false} onChange={(e) => set(e.target.value)} {...fault.aria} />
      <Faults id={fault.id} list={fault.list} />
    </label>
  )
}

export function CheckField({ path, value, set }: { path: string; value: boolean; set: (v: boolean) => void }) {
  const fault = useFault(path)
  return (
    <label className="check">
      <input type="checkbox" checked={value} onChange={(e) => set(e.target.checked)} {...fault.aria} /> {labelOf(path)} <Faults id={fault.id} list={fault.list} />
    </label>
  )
}

export function PickField<T extends string>({ path, label = labelOf(path), value, set, options }: { path: string; label?: string; value: T; set: (v: T) => void; options: readonly (readonly [T, string])[] }) {
  const fault = useFault(path)
  return (
    <label className="setting">
      <span>{label}</span>
      <select className="pick" value={value} onChange={(e) => set(e.target.value as T)} {...fault.aria}>
        {!options.some(([v]) => v === value) && <option value={value}>{value}</option>}
        {options.map(([v, text]) => (
          <option key={v} value={v}>
            {text}
          </option>
        ))}
      </select>
      <Faults id={fault.id} list={fault.list} />
    </label>
  )
}

/** Rules one below the other: each can be taken out, and one more be added. Nothing happens before it is saved. */
export function Rules<T extends { id: string }>({ name, path, list, set, make, ordered, children }: { name: string; path: string; list: readonly T[]; set: (list: T[]) => void; make: () => T; ordered?: boolean; children: (rule: T, change: (c: Partial<T>) => void, path: string) => ReactNode }) {
  const own = faultsOf(useForm().faults, path).filter((f) => f.field === path)
  const move = (i: number) => set(list.map((x, at) => (at === i - 1 ? list[i]! : at === i ? list[i - 1]! : x)))
  return (
    <>
      <Faults id={path} list={own} />
      {list.map((rule, i) => (
        <fieldset key={i} className="rule">
          <legend>
            {name} {rule.id || i + 1}
          </legend>
          {children(rule, (c) => set(list.map((x, at) => (at === i ? { ...x, ...c } : x))), `${path}[${i}]`)}
          <div className="actions">
            {ordered && i > 0 && (
              <button type="button" className="pick" aria-label={`Move ${name} ${rule.id} up`} onClick={() => move(i)}>
                Move up
              </button>
            )}
            <button type="button" className="pick" aria-label={`Take ${name} ${rule.id} out`} onClick={() => set(list.filter((_, at) => at !== i))}>
              Take out
            </button>
          </div>
        </fieldset>
      ))}
      <button type="button" className="pick" disabled={list.length >= 50} onClick={() => set([...list, make()])}>
        Add a {name}
      </button>
    </>
  )
}
