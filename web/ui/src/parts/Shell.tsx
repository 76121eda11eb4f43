import { useEffect, useRef, useState, type FormEvent, type ReactNode } from 'react'
import { useLocation, useSearch } from 'wouter'
import type { Status } from '../api/types'
import { DEFAULT_FROM, pinTimes, readFilters, readTyped, timeWords, typedOf, withParams } from '../lib/filters'
import { asked, looksUp } from '../lib/find'
import { usePlace } from '../lib/hooks'
import { useKeys } from '../lib/keys'
import { chooseTheme, chosenTheme, THEMES } from '../lib/theme'
import { AccountMenu } from './AccountMenu'
import { Asked, useStale } from './Asked'
import { Help } from './Help'
import { Hatches } from './HopBar'
import { Link, useTo } from './Link'

/** The pages of the rail, in order; the key comes after g. */
export const PAGES = [
  { name: 'Messages', path: '/messages', key: 'm', icon: 'M3 5h14v9H9l-4 3v-3H3z' },
  { name: 'Traces', path: '/traces', key: 't', icon: 'M3 5h9M6 10h9M9 15h8' },
  { name: 'Search', path: '/search', key: 'f', icon: 'M9 4a5 5 0 1 1 0 10a5 5 0 0 1 0-10zM13 13l4 4' },
  { name: 'Topology', path: '/topology', key: 'y', icon: 'M5 7a2 2 0 1 1 0 4 2 2 0 0 1 0-4zM15 3a2 2 0 1 1 0 4 2 2 0 0 1 0-4zM15 13a2 2 0 1 1 0 4 2 2 0 0 1 0-4zM7 8.3l6-2.6M7 9.8l6 4.3' },
  { name: 'Topics', path: '/topics', key: 'p', icon: 'M3 4h14v4H3zM3 12h14v4H3z' },
  { name: 'Lag', path: '/lag', key: 'a', icon: 'M3 15l5-5 3 3 6-8M12 5h5v5' },
  { name: 'Clocks', path: '/clocks', key: 'c', icon: 'M10 3a7 7 0 1 1 0 14 7 7 0 0 1 0-14zM10 6v4l3 2' },
  { name: 'Issues', path: '/issues', key: 'i', icon: 'M10 3l8 14H2zM10 8v4M10 14.5v.1' },
  { name: 'Logs', path: '/logs', key: 'o', icon: 'M4 3h12v14H4zM7 7h6M7 10h6M7 13h4' },
  { name: 'Ledger', path: '/ledger', key: 'l', icon: 'M10 3v14M6 17h8M4 6h12M4 6l-2 5h4zM16 6l-2 5h4z' },
  { name: 'Health', path: '/health', key: 'h', icon: 'M2 10h4l2-5 3 10 2.5-7 1.5 2h3' },
  { name: 'Settings', path: '/settings', key: 's', icon: 'M3 6h7M14 6h3M3 14h3M10 14h7M12 4v4M8 12v4' },
] as const

export type PageName = (typeof PAGES)[number]['name']

/** The times that one may choose from, the shortest first, and where the URL keeps the choice. */
export interface TimeRanges {
  label: string
  param: string
  usual: string
  ranges: readonly (readonly [string, string])[]
}

const RANGES: TimeRanges = {
  label: 'Time range',
  param: 'from',
  usual: DEFAULT_FROM,
  ranges: [
    ['-15m', 'last 15 minutes'],
    ['-1h', 'last hour'],
    ['-6h', 'last 6 hours'],
    [DEFAULT_FROM, 'last 24 hours'],
    ['-168h', 'last 7 days'],
    ['all', 'all time'],
  ],
}

export interface ShellProps {
  page: PageName
  status: Status | undefined
  /** Where Escape leads; nothing on a list. */
  back?: string
  /** The search field filters this page's list. */
  filters?: 'tokens' | 'text' | 'words'
  /** What words are looked for, where that is not the text of a log. */
  wanted?: string
  /** The page shows all projects unless one is chosen. */
  allProjects?: boolean
  /** The page has a field of its own instead of the one in the bar. */
  ownSearch?: boolean
  /** The page has a time range, that of all lists or one of its own. */
  ranged?: boolean | TimeRanges
  live?: { on: boolean; set: (on: boolean) => void }
  children: ReactNode
}

export function Shell({ page, status, back, filters, wanted, allProjects, ownSearch, ranged, live, children }: ShellProps) {
  const [path, go] = useLocation()
  const to = useTo()
  usePlace(path)
  const [help, setHelp] = useState(false)
  const [toast, setToast] = useState('')
  const search = useRef<HTMLInputElement>(null)
  const ranges = ranged === true ? RANGES : ranged || undefined
  const shift = useShiftRange(ranges)
  const keys: Record<string, () => void> = {
    '/': () => search.current?.focus(),
    '?': () => setHelp(true),
    c: () => {
      // What is seen now is what the link shows tomorrow.
      const [search, pinned] = ranges === RANGES ? pinTimes(location.search, Date.now()) : [location.search, false]
      navigator.clipboard.writeText(location.origin + location.pathname + search + location.hash).then(
        () => setToast(pinned ? 'Link copied, with the time as it is now' : 'Link copied'),
        () => setToast('The browser did not allow copying'),
      )
    },
    '[': () => shift(1),
    ']': () => shift(-1),
    Escape: () => back && go(to(back)),
  }
  for (const p of PAGES) keys['g ' + p.key] = () => go(to(p.path))
  useKeys(keys)
  // On a phone the rail is wider than the screen.
  useEffect(() => {
    // In braces: a browser may answer with a promise, which React would take for a cleanup.
    void document.querySelector('.rail a.on')?.scrollIntoView({ block: 'nearest', inline: 'nearest' })
  }, [page])
  useEffect(() => {
    if (!toast) return
    const t = setTimeout(() => setToast(''), 2500)
    return () => clearTimeout(t)
  }, [toast])
  return (
    <div className="app">
      <a className="skip" href="#main">
        Skip to the page
      </a>
      <nav className="rail" aria-label="Pages">
        <Link to="/traces" className="home" aria-label="hoptrace">
          <svg className="logo" viewBox="0 0 28 28" aria-hidden="true">
            <path d="M3 20 C8 20 8 8 13 8 S18 20 25 20" fill="none" stroke="var(--accent)" strokeWidth="2.6" />
            <circle cx="3.5" cy="20" r="2.6" fill="var(--ack)" stroke="none" />
            <circle cx="13" cy="8" r="2.6" fill="var(--backlog)" stroke="none" />
            <circle cx="24.5" cy="20" r="2.6" fill="var(--process)" stroke="none" />
          </svg>
        </Link>
        <div className="railpages">
          {PAGES.map((p) => (
            <Link key={p.name} to={p.path} className={p.name === page ? 'on' : ''} aria-current={p.name === page ? 'page' : undefined}>
              <svg viewBox="0 0 20 20" aria-hidden="true">
                <path d={p.icon} />
              </svg>
              {p.name}
            </Link>
          ))}
        </div>
        <div className="low">
          <AccountMenu />
          <ThemeButton />
          <button type="button" className="railbutton" onClick={() => setHelp(true)} aria-label="Keyboard help">
            <kbd>?</kbd>
          </button>
        </div>
      </nav>
      <div className="page">
        <header className="bar">
          <span className="crumb">{page}</span>
          {status && status.projects.length > 1 && <ProjectPick status={status} all={allProjects} />}
          {ownSearch ? <span className="grow" /> : <Search ref={search} kind={filters} wanted={wanted} />}
          {ranges && <RangePick of={ranges} />}
          {live && <LiveButton {...live} />}
        </header>
        <main id="main" tabIndex={-1}>
          {children}
        </main>
      </div>
      <Asked />
      <Hatches />
      <div className="toast" role="status">
        {toast}
      </div>
      {help && <Help close={() => setHelp(false)} />}
    </div>
  )
}

function LiveButton({ on, set }: NonNullable<ShellProps['live']>) {
  const stale = useStale() !== undefined
  return (
    <button type="button" className={'pick live' + (stale && on ? ' fails' : on ? ' on' : '')} aria-pressed={on} title={stale ? 'The last question was not answered' : undefined} onClick={() => set(!on)}>
      {stale && on ? 'Not live' : 'Live'}
    </button>
  )
}

function ThemeButton() {
  const [theme, setTheme] = useState(chosenTheme)
  const next = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length]!
  return (
    <button
      type="button"
      className="railbutton"
      aria-label={`Theme: ${theme}`}
      title={`Theme: ${theme}; next: ${next}`}
      onClick={() => {
        chooseTheme(next)
        setTheme(next)
      }}
    >
      <svg viewBox="0 0 20 20" aria-hidden="true">
        <circle cx="10" cy="10" r="6.5" />
        {theme !== 'light' && <path d="M10 3.5a6.5 6.5 0 0 1 0 13z" fill="currentColor" />}
        {theme === 'dark' && <path d="M10 3.5a6.5 6.5 0 0 0 0 13z" fill="currentColor" />}
      </svg>
    </button>
  )
}

/** The project that is shown. all: a page that shows all of them unless one is chosen. */
function ProjectPick({ status, all }: { status: Status; all?: boolean }) {
  const search = useSearch()
  const [path, go] = useLocation()
  return (
    <select className="pick" aria-label="Project" value={all ? (new URLSearchParams(search).get('project') ?? '') : status.project} onChange={(e) => go(path + withParams(search, { project: e.target.value }))}>
      {all && <option value="">All projects</option>}
      {status.projects.map((p) => (
        <option key={p.id} value={p.id}>
          {p.name || p.slug}
        </option>
      ))}
    </select>
  )
}

/** What the URL says of the time, and how to say another. */
function useRange(of: TimeRanges | undefined): { from: string; to: string; choose: (from: string) => void } {
  const search = useSearch()
  const [path, go] = useLocation()
  const q = new URLSearchParams(search)
  const shared = of?.param === RANGES.param
  return {
    from: (of && q.get(of.param)) ?? of?.usual ?? '',
    to: shared ? (q.get('to') ?? '') : '',
    choose: (from) => of && go(path + withParams(search, { [of.param]: from === of.usual ? '' : from, ...(shared ? { to: '', before: '', skip: '' } : {}) })),
  }
}

function RangePick({ of }: { of: TimeRanges }) {
  const { from, to, choose } = useRange(of)
  const known = !to && of.ranges.some(([v]) => v === from)
  return (
    <select className="pick" aria-label={of.label} value={known ? from : 'own'} onChange={(e) => choose(e.target.value)}>
      {!known && <option value="own">{timeWords(from || 'beginning') + ' – ' + timeWords(to || 'now')}</option>}
      {of.ranges.map(([value, label]) => (
        <option key={value} value={value}>
          {label}
        </option>
      ))}
    </select>
  )
}

/** [ and ] take the next longer or shorter time. */
function useShiftRange(of: TimeRanges | undefined): (step: number) => void {
  const { from, choose } = useRange(of)
  return (step) => {
    if (!of) return
    const at = of.ranges.findIndex(([v]) => v === from)
    const usual = of.ranges.findIndex(([v]) => v === of.usual)
    choose(of.ranges[Math.min(Math.max((at < 0 ? usual : at) + step, 0), of.ranges.length - 1)]![0])
  }
}

function Search({ kind, wanted, ref }: { kind: ShellProps['filters']; wanted: string | undefined; ref: React.Ref<HTMLInputElement> }) {
  const search = useSearch()
  const [path, go] = useLocation()
  const to = useTo()
  const shown = kind === 'words' ? (wanted ? (new URLSearchParams(search).get('text') ?? '') : readFilters(search).q) : kind ? typedOf(readFilters(search), kind === 'text') : ''
  const [typed, setTyped] = useState(shown)
  const [fault, setFault] = useState('')
  const [last, setLast] = useState(shown)
  if (last !== shown) {
    // The URL changed under the field: it shows what is filtered by.
    setLast(shown)
    setTyped(shown)
    setFault('')
  }
  const submit = (e: FormEvent) => {
    e.preventDefault()
    // A page without words of its own looks up what names one thing.
    if ((!kind || kind === 'tokens') && looksUp(typed)) return go(to('/find?q=' + encodeURIComponent(asked(typed))))
    const got = readTyped(typed, kind === 'text' || kind === 'words', kind === 'tokens')
    if (got.kind === 'fault') return setFault(got.message)
    setFault('')
    if (got.kind === 'trace') return go(to('/traces/' + got.id))
    if (kind === 'words') return go(path + withParams(search, { [wanted ? 'text' : 'q']: typed.trim(), before: '', skip: '', open: '' }))
    if (kind) return go(path + withParams(search, { ...got.change, before: '' }))
    go(to('/traces' + withParams('', got.change)))
  }
  return (
    <form className="search" role="search" onSubmit={submit}>
      <input
        ref={ref}
        type="text"
        aria-label="Search"
        aria-invalid={fault ? true : undefined}
        aria-describedby={fault ? 'search-fault' : undefined}
        placeholder={kind === 'words' ? (wanted ?? 'level:error service:orders "card declined" order.id:7') + ', or a trace id' : kind === 'text' ? 'is:unresolved level:error release:>=1.2.0 topic:orders, words, or a trace id' : kind ? 'service:… topic:… group:… min:100ms errors:true, any condition, or a trace id' : 'service:… topic:… group:… min:100ms errors:true, or a trace id'}
        value={typed}
        maxLength={1000}
        spellCheck={false}
        autoComplete="off"
        onChange={(e) => setTyped(e.target.value)}
      />
      <kbd aria-hidden="true">/</kbd>
      {fault && (
        <span id="search-fault" className="fault" role="alert">
          {fault}
        </span>
      )}
    </form>
  )
}
