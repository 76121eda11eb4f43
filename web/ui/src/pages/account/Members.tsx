import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'
import { act, ask, remove } from '../../api/client'
import type { components } from '../../api/schema'
import type { Status } from '../../api/types'
import { useTitle } from '../../lib/hooks'
import { number, text } from '../../lib/say'
import { may, ROLES, useSession, type Role } from '../../lib/session'
import { Finding } from '../../parts/Finding'
import { Link } from '../../parts/Link'
import { Plan } from '../../parts/Plan'
import { Shell } from '../../parts/Shell'
import { Copy, Failed, Ghosts } from '../../parts/States'
import { Field, minute } from './Account'

type Member = components['schemas']['Member']
type Doing = { kind: 'invite' } | { kind: 'role' | 'link' | 'remove'; member: Member }

/** Who may sign in, and as what. */
export function Members({ status }: { status: Status | undefined }) {
  const me = useSession()
  const admin = may(me.data?.role, 'admin')
  const [doing, setDoing] = useState<Doing>()
  const list = useQuery({ queryKey: ['members'], queryFn: ({ signal }) => ask<'/api/v1/members'>('/members', {}, signal) })
  useTitle('Members')
  const all = list.data?.members
  const finding = all && { rule: 'members', tone: 'ok' as const, title: all.length ? [number(all.length), text(all.length === 1 ? ' member may sign in' : ' members may sign in')] : [text('There is no member yet: nobody signs in')], text: [text(admin ? 'You may change them.' : 'Admins and owners change them.')] }
  return (
    <Shell page="Settings" status={status} back="/settings">
      <Finding finding={finding} failed={list.error && 'Members cannot be shown'}>
        {admin && (
          <Link to="/audit" className="tag">
            What was changed
          </Link>
        )}
      </Finding>
      {list.error ? (
        <Failed error={list.error} retry={() => void list.refetch()} retrying={list.isFetching} />
      ) : (
        <div className="stacked">
          <section className="panel scroll" aria-label="Members">
            <table aria-label="Members">
              <thead>
                <tr>
                  <th>Member</th>
                  <th>Role</th>
                  <th className="wide">Signs in by</th>
                  <th className="wide">Seen</th>
                  {admin && (
                    <th>
                      <span className="only-read">What can be done</span>
                    </th>
                  )}
                </tr>
              </thead>
              <tbody>
                {all ? (
                  all.map((m) => (
                    <tr key={m.id}>
                      <td className="wrap">
                        <b>{m.name}</b> <span className="muted">{m.email}</span>
                      </td>
                      <td>{m.role}</td>
                      <td className="wide">{[m.password && 'password', m.linked && 'provider'].filter(Boolean).join(', ') || <span className="muted">nothing yet</span>}</td>
                      <td className="wide muted">{minute(m.seen)}</td>
                      {admin && (
                        <td>
                          {may(me.data?.role, m.role as Role) && (
                            <span className="actions">
                              <button type="button" className="pick" aria-label={`Role of ${m.name}…`} onClick={() => setDoing({ kind: 'role', member: m })}>
                                Role…
                              </button>
                              <button type="button" className="pick" aria-label={`Link for ${m.name}…`} onClick={() => setDoing({ kind: 'link', member: m })}>
                                Link…
                              </button>
                              <button type="button" className="pick" aria-label={`Remove ${m.name}…`} onClick={() => setDoing({ kind: 'remove', member: m })}>
                                Remove…
                              </button>
                            </span>
                          )}
                        </td>
                      )}
                    </tr>
                  ))
                ) : (
                  <Ghosts rows={2} columns={4} />
                )}
              </tbody>
            </table>
            {admin && (
              <div className="pad">
                <button type="button" className="pick" onClick={() => setDoing({ kind: 'invite' })}>
                  Invite…
                </button>
              </div>
            )}
          </section>
        </div>
      )}
      {doing && <Dialog doing={doing} role={me.data?.role} first={all?.length === 0} close={() => setDoing(undefined)} />}
    </Shell>
  )
}

function Dialog({ doing, role: mine, first, close }: { doing: Doing; role: string | undefined; first: boolean; close: () => void }) {
  const queries = useQueryClient()
  const [email, setEmail] = useState('')
  const [role, setRole] = useState<Role>(first ? 'owner' : doing.kind === 'invite' ? 'viewer' : (doing.member.role as Role))
  const [link, setLink] = useState('')
  const go = useMutation({
    mutationFn: async (): Promise<void> => {
      if (doing.kind === 'invite') setLink((await act<'/api/v1/members', 'post'>('post', '/members', {}, { email, role })).link)
      else if (doing.kind === 'role') await act<'/api/v1/members/{id}', 'put'>('put', '/members/' + doing.member.id, {}, { role })
      else if (doing.kind === 'link') setLink((await act<'/api/v1/members/{id}/link', 'post'>('post', `/members/${doing.member.id}/link`, {}, undefined as never)).link)
      else await remove('/members/' + doing.member.id)
    },
    onSuccess: async () => {
      if (doing.kind === 'role' || doing.kind === 'remove') close()
      // The first member closes the server: the link must be read before anything is asked again.
      if (!first) await Promise.all(['members', 'audit', 'me'].map((k) => queries.invalidateQueries({ queryKey: [k] })))
    },
  })
  const pick = (
    <label className="field">
      Role
      <select className="pick" value={role} onChange={(e) => setRole(e.target.value as Role)}>
        {ROLES.filter((r) => may(mine, r) && (!first || r === 'owner')).map((r) => (
          <option key={r}>{r}</option>
        ))}
      </select>
    </label>
  )
  const title = doing.kind === 'invite' ? 'Invite a member' : doing.kind === 'role' ? `Role of ${doing.member.name}` : doing.kind === 'link' ? `A link for ${doing.member.name}` : `Remove ${doing.member.name}`
  const verb = { invite: 'Invite', role: 'Change it', link: 'Make it', remove: 'Remove' }[doing.kind]
  return (
    <Plan title={title} verb={verb} danger={doing.kind === 'remove'} busy={go.isPending} error={go.error} disabled={doing.kind === 'invite' && !email} done={link !== ''} close={close} go={() => go.mutate()}>
      {link ? (
        <>
          <p>Send them this link. It sets a password once, within three days, and is shown only now.</p>
          <Copy text={location.origin + link} />
        </>
      ) : doing.kind === 'invite' ? (
        <>
          {first && <p>From then on one must sign in here. The first member is an owner: make it yourself.</p>}
          <Field label="E-mail address" type="email" value={email} set={setEmail} />
          {pick}
          <p className="muted">A viewer reads, a member also acts on issues, an admin also changes settings and members, an owner also owners.</p>
        </>
      ) : doing.kind === 'role' ? (
        pick
      ) : doing.kind === 'link' ? (
        <p>It lets {doing.member.email} set a new password, once. Sessions from before end when it is used.</p>
      ) : (
        <p>{doing.member.email} cannot sign in any more; sessions and tokens end at once. What they did to issues stays. Inviting them again undoes it, without their tokens.</p>
      )}
    </Plan>
  )
}
