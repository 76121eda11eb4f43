import { useQuery } from '@tanstack/react-query'
import { Component, lazy, Suspense, type ReactNode } from 'react'
import { Redirect, Route, Router, Switch, useLocation, useSearch } from 'wouter'
import { ApiError, ask } from './api/client'
import type { Status } from './api/types'
import { aroundNav } from './lib/leave'
import { decoded, useWholeLocation, useWholeSearch } from './lib/location'
import { FirstRun } from './pages/firstrun/FirstRun'
import { IssuePage } from './pages/issue/Issue'
import { Discarded } from './pages/issues/Discarded'
import { Issues } from './pages/issues/Issues'
import { Lag } from './pages/lag/Lag'
import { LagGroup } from './pages/lag/LagGroup'
import { Ledger } from './pages/ledger/Ledger'
import { Logs } from './pages/logs/Logs'
import { Messages } from './pages/messages/Messages'
import { Topics } from './pages/topics/Topics'
import { Traces } from './pages/traces/Traces'
import { Waterfall } from './pages/waterfall/Waterfall'
import { Finding } from './parts/Finding'
import { Link } from './parts/Link'
import { Shell } from './parts/Shell'
import { Empty, Failed } from './parts/States'

// Its own file, so that the first page stays small.
const Topology = lazy(() => import('./pages/topology/Topology').then((m) => ({ default: m.TopologyPage })))
const Health = lazy(() => import('./pages/health/Health').then((m) => ({ default: m.Health })))
const Letters = lazy(() => import('./pages/health/Letters').then((m) => ({ default: m.Letters })))
const Topic = lazy(() => import('./pages/topics/Topic').then((m) => ({ default: m.TopicPage })))

const SearchPage = lazy(() => import('./pages/search/Search').then((m) => ({ default: m.SearchPage })))
const FindPage = lazy(() => import('./pages/find/Find').then((m) => ({ default: m.FindPage })))
const RecordPage = lazy(() => import('./pages/record/Record').then((m) => ({ default: m.RecordPage })))

/** A page that comes in a file of its own; its frame stands while that is fetched. */
function Later({ page, status, ranged, children }: { page: 'Messages' | 'Search' | 'Settings'; status: Status | undefined; ranged?: boolean; children: ReactNode }) {
  return (
    <Suspense
      fallback={
        <Shell page={page} status={status} ranged={ranged}>
          <Finding finding={undefined} />
        </Shell>
      }
    >
      {children}
    </Suspense>
  )
}

const Clocks = lazy(() => import('./pages/clocks/Clocks').then((m) => ({ default: m.ClocksPage })))

const SignIn = lazy(() => import('./pages/signin/SignIn').then((m) => ({ default: m.SignIn })))
const Welcome = lazy(() => import('./pages/signin/SignIn').then((m) => ({ default: m.Welcome })))
const Account = lazy(() => import('./pages/account/Account').then((m) => ({ default: m.Account })))
const Members = lazy(() => import('./pages/account/Members').then((m) => ({ default: m.Members })))
const Audit = lazy(() => import('./pages/account/Audit').then((m) => ({ default: m.Audit })))
const Settings = lazy(() => import('./pages/settings/Settings').then((m) => ({ default: m.Settings })))

/** The application. Names in its URLs are read as they were written. */
export function App() {
  return (
    <Router hook={useWholeLocation} searchHook={useWholeSearch} aroundNav={aroundNav}>
      <Start />
    </Router>
  )
}

/** What is there before one is signed in; everything else leads here and back. */
function Start() {
  const [path] = useLocation()
  return (
    <Suspense fallback={null}>
      {path === '/sign-in' ? <SignIn /> : path === '/welcome' ? <Welcome /> : <Pages />}
    </Suspense>
  )
}

function Pages() {
  const [path] = useLocation()
  const search = useSearch()
  const project = new URLSearchParams(useSearch()).get('project') ?? undefined
  const status = useQuery({
    queryKey: ['status', project],
    queryFn: ({ signal }) => ask<'/api/v1/status'>('/status', { project }, signal),
    // The first-run page turns by itself; later nothing here changes.
    refetchInterval: (q) => (q.state.data && (q.state.data.hasSpans || q.state.data.hasEvents) ? false : q.state.error ? 5000 : 1000),
    staleTime: Infinity,
  })
  if (status.error instanceof ApiError && status.error.code === 'sign_in_required') {
    return <Redirect to={'/sign-in?to=' + encodeURIComponent(path + (search ? '?' + search : ''))} replace />
  }
  const s = status.data
  const list = (page: ReactNode, name: 'Messages' | 'Traces' | 'Topology' | 'Topics' | 'Issues' | 'Search') => {
    if (status.error && !s) {
      return (
        <Shell page={name} status={s}>
          <Finding finding={undefined} failed={name + ' cannot be shown'} />
          <Failed error={status.error} retry={() => void status.refetch()} retrying={status.isFetching} />
        </Shell>
      )
    }
    return s && !s.hasSpans && !s.hasEvents ? <FirstRun page={name} status={s} /> : page
  }
  return (
    <Guard>
      <Switch>
        <Route path="/">
          <Redirect to="/traces" replace />
        </Route>
        <Route path="/traces">{list(<Traces status={s} />, 'Traces')}</Route>
        <Route path="/traces/:id">{(p) => <Waterfall key={p.id} id={decoded(p.id)} status={s} />}</Route>
        <Route path="/find">
          <Later page="Messages" status={s} ranged>
            <FindPage status={s} />
          </Later>
        </Route>
        <Route path="/records/:topic/:partition/:offset">
          <Later page="Messages" status={s}>
            <RecordPage status={s} />
          </Later>
        </Route>
        <Route path="/messages">{list(<Messages status={s} />, 'Messages')}</Route>
        <Route path="/search">
          {list(
            <Later page="Search" status={s} ranged>
              <SearchPage status={s} />
            </Later>,
            'Search',
          )}
        </Route>
        <Route path="/topology">
          {list(
            <Suspense
              fallback={
                <Shell page="Topology" status={s} ranged>
                  <Finding finding={undefined} />
                </Shell>
              }
            >
              <Topology status={s} />
            </Suspense>,
            'Topology',
          )}
        </Route>
        <Route path="/topics">{list(<Topics status={s} />, 'Topics')}</Route>
        <Route path="/topics/:topic">
          {(p) => (
            <Suspense
              fallback={
                <Shell page="Topics" status={s} ranged>
                  <Finding finding={undefined} />
                </Shell>
              }
            >
              <Topic key={p.topic} topic={decoded(p.topic)} status={s} />
            </Suspense>
          )}
        </Route>
        <Route path="/issues">{list(<Issues status={s} />, 'Issues')}</Route>
        <Route path="/issues/discarded">
          <Discarded status={s} />
        </Route>
        <Route path="/issues/:id">{(p) => <IssuePage key={p.id} id={decoded(p.id)} event="latest" status={s} />}</Route>
        <Route path="/issues/:id/events/:event">{(p) => <IssuePage key={p.id} id={decoded(p.id)} event={decoded(p.event)} status={s} />}</Route>
        <Route path="/clocks">
          <Suspense
            fallback={
              <Shell page="Clocks" status={s} ranged>
                <Finding finding={undefined} />
              </Shell>
            }
          >
            <Clocks status={s} />
          </Suspense>
        </Route>
        <Route path="/lag">
          <Lag status={s} />
        </Route>
        <Route path="/lag/group">
          <LagGroup status={s} />
        </Route>
        <Route path="/logs">
          <Logs status={s} />
        </Route>
        <Route path="/ledger">
          <Ledger status={s} />
        </Route>
        <Route path="/health">
          <Suspense
            fallback={
              <Shell page="Health" status={s}>
                <Finding finding={undefined} />
              </Shell>
            }
          >
            <Health status={s} />
          </Suspense>
        </Route>
        <Route path="/health/letters">
          <Suspense
            fallback={
              <Shell page="Health" status={s}>
                <Finding finding={undefined} />
              </Shell>
            }
          >
            <Letters status={s} />
          </Suspense>
        </Route>
        <Route path="/account">
          <Later page="Settings" status={s}>
            <Account status={s} />
          </Later>
        </Route>
        <Route path="/members">
          <Later page="Settings" status={s}>
            <Members status={s} />
          </Later>
        </Route>
        <Route path="/audit">
          <Later page="Settings" status={s}>
            <Audit status={s} />
          </Later>
        </Route>
        <Route path="/settings">
          <Later page="Settings" status={s}>
            <Settings status={s} />
          </Later>
        </Route>
        <Route>
          <NotFound status={s} />
        </Route>
      </Switch>
    </Guard>
  )
}

function NotFound({ status }: { status: Status | undefined }) {
  return (
    <Shell page="Traces" status={status}>
      <Finding finding={undefined} failed="There is no such page" />
      <Empty title="These there are">
        <p> <Link to="/traces">traces</Link>, <Link to="/messages">messages</Link>, the <Link to="/topology">topology</Link>, <Link to="/topics">topics</Link>, <Link to="/lag">lag</Link>, <Link to="/clocks">clocks</Link>, <Link to="/issues">issues</Link>, <Link to="/logs">logs</Link>, the <Link to="/ledger">ledger</Link>, <Link to="/health">health</Link> or <Link to="/settings">settings</Link>.
        </p>
      </Empty>
    </Shell>
  )
}

/** A fault of ours on one page leaves a page that says so. */
class Guard extends Component<{ children: ReactNode }, { error: Error | undefined }> {
  override state: { error: Error | undefined } = { error: undefined }

  static getDerivedStateFromError(error: Error) {
    return { error }
  }

  override render() {
    if (!this.state.error) return this.props.children
    return (
      <main>
        <Failed error={this.state.error} retry={() => this.setState({ error: undefined })} retrying={false} />
        <p>
          <a href="/traces">Back to traces</a>
        </p>
      </main>
    )
  }
}
