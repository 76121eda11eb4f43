import { keepPreviousData, useQuery } from '@tanstack/react-query'
import { useLocation, useSearch } from 'wouter'
import { ask } from '../../api/client'
import type { Finding as Data, Status } from '../../api/types'
import { withParams } from '../../lib/filters'
import { ago, fullTime } from '../../lib/format'
import { useTitle } from '../../lib/hooks'
import { useRowKeys } from '../../lib/keys'
import { text } from '../../lib/say'
import { Finding, titleText } from '../../parts/Finding'
import { Link } from '../../parts/Link'
import { Older } from '../../parts/Pages'
import { Shell } from '../../parts/Shell'
import { Empty, Failed, Ghosts } from '../../parts/States'
import { minute } from './Account'
import { actionText } from './audit'

const PAGE = 50

/** What was changed of settings and accounts, by whom; for admins. */
export function Audit({ status }: { status: Status | undefined }) {
  const search = useSearch()
  const [path] = useLocation()
  const before = new URLSearchParams(search).get('before') ?? undefined
  const audit = useQuery({
    queryKey: ['audit', before],
    queryFn: ({ signal }) => ask<'/api/v1/audit'>('/audit', { before, limit: PAGE }, signal),
    placeholderData: keepPreviousData,
  })
  const list = audit.data?.entries
  const last = list?.[0]
  const finding: Data | undefined = list && {
    rule: last ? 'last' : 'none',
    tone: 'ok',
    title: !last ? [text('Nothing was changed yet')] : before ? [text(`Changes until ${minute(last.at)}`)] : [text(last.actor || 'Somebody'), text(` ${actionText(last.action)} ${ago(last.at)}`)],
    text: [text('Changes of settings, members, tokens and dead letters; the last 10 000 are kept.')],
  }
  useRowKeys()
  useTitle(titleText(finding) || 'Audit')
  return (
    <Shell page="Settings" status={status} back="/settings">
      <Finding finding={finding} failed={audit.error && 'The audit cannot be shown'}>
        <Link to="/members" className="tag">
          Members
        </Link>
      </Finding>
      {audit.error && !audit.data ? (
        <Failed error={audit.error} retry={() => void audit.refetch()} retrying={audit.isFetching} />
      ) : list && list.length === 0 ? (
        <Empty title={before ? 'There is nothing older' : 'None'}>
          <p>
            {before ? <Link to="/audit">The newest changes</Link> : 'What admins and owners change is listed here: projects, keys, rules, members, tokens, dead letters.'}
          </p>
        </Empty>
      ) : (
        <div className={'panel scroll' + (audit.isPlaceholderData ? ' stale' : '')}>
          <table aria-label="What was changed" aria-busy={audit.isFetching} className="audit">
            <thead>
              <tr>
                <th>When</th>
                <th>Who</th>
                <th>Did</th>
                <th>Of</th>
                <th className="wide">What</th>
              </tr>
            </thead>
            <tbody>
              {list ? (
                list.map((e) => (
                  <tr key={e.id}>
                    <td className="muted" title={fullTime(e.at)}>
                      {minute(e.at)}
                    </td>
                    <td className="wrap">{e.actor || <span className="muted">who sat at the machine</span>}</td>
                    <td className="wrap" title={e.action}>
                      {actionText(e.action)}
                    </td>
                    <td className="wrap">{e.target}</td>
                    <td className="wide wrap">{e.detail}</td>
                  </tr>
                ))
              ) : (
                <Ghosts rows={8} columns={5} />
              )}
            </tbody>
          </table>
        </div>
      )}
      {audit.data && (
        <Older first={before ? '/audit' : ''} next={audit.data.next ? path + withParams(search, { before: audit.data.next }) : ''} nextWord="Older changes" stale={audit.isPlaceholderData} />
      )}
    </Shell>
  )
}
