import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'
import { useSearch } from 'wouter'
import { act, ask } from '../../api/client'
import type { Discarded as Data, Finding as Sentence, Status } from '../../api/types'
import { ago, count, fullTime } from '../../lib/format'
import { useTitle } from '../../lib/hooks'
import { number, text } from '../../lib/say'
import { useCan } from '../../lib/session'
import { Finding, titleText } from '../../parts/Finding'
import { Link } from '../../parts/Link'
import { Plan } from '../../parts/Plan'
import { Shell } from '../../parts/Shell'
import { Empty, Failed, Ghosts } from '../../parts/States'

/** What was discarded: its events are dropped and counted until it is restored. */
export function Discarded({ status }: { status: Status | undefined }) {
  const project = new URLSearchParams(useSearch()).get('project') ?? undefined
  const [plan, setPlan] = useState<Data>()
  const can = useCan('member')
  const discarded = useQuery({ queryKey: ['discarded', project], queryFn: ({ signal }) => ask<'/api/v1/discarded'>('/discarded', { project, limit: 500 }, signal) })
  const list = discarded.data?.discarded
  const finding: Sentence | undefined = list && {
    rule: list.length > 0 ? 'some' : 'none',
    tone: list.length > 0 ? 'warn' : 'ok',
    title: list.length === 0 ? [text('No issue is discarded')] : [text('What comes like '), number(list.length), text(list.length === 1 ? ' discarded issue is dropped' : ' discarded issues is dropped')],
    text: list.length === 0 ? [] : [text('How much that is stands in the '), text('ledger', '/ledger?open=error'), text('.')],
  }
  useTitle(titleText(finding) || 'Discarded issues')
  return (
    <Shell page="Issues" status={status} back="/issues">
      <Finding finding={finding} failed={discarded.error && 'Discarded issues cannot be shown'} />
      {discarded.error && !discarded.data ? (
        <Failed error={discarded.error} retry={() => void discarded.refetch()} retrying={discarded.isFetching} />
      ) : list && list.length === 0 ? (
        <Empty title="None">
          <p>
            Back to <Link to="/issues">issues</Link>. An issue is discarded by its Delete…, so that what comes like it makes no issue again.
          </p>
        </Empty>
      ) : (
        <div className="panel scroll">
          <table aria-label="Discarded issues">
            <thead>
              <tr>
                <th>Issue</th>
                <th className="wide">By</th>
                <th className="num wide">When</th>
                {can && (
                  <th>
                    <span className="only-read">What can be done</span>
                  </th>
                )}
              </tr>
            </thead>
            <tbody>
              {list ? (
                list.map((x) => (
                  <tr key={x.hashes.join()}>
                    <td className="grow two">
                      <b>{x.title || 'issue without title'}</b>
                      <div className="muted small">{x.culprit}</div>
                    </td>
                    <td className="wide">{x.by}</td>
                    <td className="num wide" title={fullTime(x.at)}>
                      {ago(x.at)}
                    </td>
                    {can && (
                      <td className="num">
                        <button type="button" className="pick" aria-label={`Restore ${x.title}…`} onClick={() => setPlan(x)}>
                          Restore…
                        </button>
                      </td>
                    )}
                  </tr>
                ))
              ) : (
                <Ghosts rows={3} columns={can ? 4 : 3} />
              )}
            </tbody>
          </table>
        </div>
      )}
      {plan && <RestorePlan x={plan} close={() => setPlan(undefined)} />}
    </Shell>
  )
}

function RestorePlan({ x, close }: { x: Data; close: () => void }) {
  const cache = useQueryClient()
  const project = new URLSearchParams(useSearch()).get('project') ?? undefined
  const restore = useMutation({
    mutationFn: () => act<'/api/v1/discarded/restore', 'post'>('post', '/discarded/restore', { project }, { hashes: x.hashes }),
    onSuccess: async () => {
      await cache.invalidateQueries()
      close()
    },
  })
  return (
    <Plan title="Restore a discarded issue" verb="Restore" busy={restore.isPending} error={restore.error} close={close} go={() => restore.mutate()}>
      <p>
        <b>{x.title}</b>
      </p>
      <p>
        The next event like it ({x.hashes.length === 1 ? '1 hash' : count(x.hashes.length) + ' hashes'}) makes a new issue. What was dropped until then stays lost. Undo: delete and discard that issue.
      </p>
    </Plan>
  )
}
