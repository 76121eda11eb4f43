import { useMutation, useQueryClient } from '@tanstack/react-query'
import { useRef, useState } from 'react'
import { act } from '../api/client'
import { initials, useSession } from '../lib/session'
import { Link } from './Link'
import { Plan } from './Plan'

/** Who is signed in, and the way out. Nothing where nobody signs in. */
export function AccountMenu() {
  const me = useSession()
  const menu = useRef<HTMLDivElement>(null)
  const [out, setOut] = useState(false)
  const m = me.data?.member
  if (!m) return null
  const shut = () => menu.current?.hidePopover()
  return (
    <>
      <button type="button" className="railbutton account" popoverTarget="account-menu" aria-label={`Account of ${m.name}`} title={m.name}>
        <span className="initials" aria-hidden="true">
          {initials(m.name)}
        </span>
        <span className="who" aria-hidden="true">
          {m.name}
        </span>
      </button>
      <div ref={menu} id="account-menu" popover="auto" className="panel accountmenu" role="group" aria-label="Account">
        <p>
          <b>{m.name}</b>
          <span className="muted"> {m.role}</span>
          <br />
          <span className="muted small">{m.email}</span>
        </p>
        <Link to="/account" onClick={shut}>
          Your account
        </Link>
        <Link to="/members" onClick={shut}>
          Members
        </Link>
        <button
          type="button"
          className="linkish"
          onClick={() => {
            shut()
            setOut(true)
          }}
        >
          Sign out…
        </button>
      </div>
      {out && <SignOutPlan close={() => setOut(false)} />}
    </>
  )
}

/** Ends this session, or all of the member's. */
export function SignOutPlan({ everywhere = false, close }: { everywhere?: boolean; close: () => void }) {
  const queries = useQueryClient()
  const out = useMutation({
    mutationFn: () => act<'/api/v1/sign-out', 'post'>('post', '/sign-out', {}, { everywhere }),
    onSuccess: () => {
      queries.clear()
      location.assign('/sign-in')
    },
  })
  return (
    <Plan title={everywhere ? 'Sign out everywhere' : 'Sign out'} verb="Sign out" danger={everywhere} busy={out.isPending || out.isSuccess} error={out.error} close={close} go={() => out.mutate()}>
      <p>{everywhere ? 'All browsers must sign in again. Tokens stay.' : 'This browser must sign in again.'}</p>
    </Plan>
  )
}
