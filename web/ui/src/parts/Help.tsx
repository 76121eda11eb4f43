import { useEffect, useRef } from 'react'
import { KEYS } from './keylist'
import { PAGES } from './Shell'

/** All keys; those of the pages come from the rail itself. */
const keys = () => [...KEYS, ...PAGES.map((p) => [['g', p.key], p.name.toLowerCase()] as const), [['?'], 'this help'] as const]

export function Help({ close }: { close: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null)
  useEffect(() => {
    dialog.current?.showModal()
  }, [])
  return (
    <dialog ref={dialog} className="help" aria-label="Keyboard" onClose={close} onClick={(e) => e.target === e.currentTarget && dialog.current?.close()}>
      <div>
        <h1>Keyboard</h1>
        <dl className="kv">
          {keys().map(([names, what]) => (
            <div key={what}>
              <dt>
                {names.map((k) => (
                  <kbd key={k}>{k}</kbd>
                ))}
              </dt>
              <dd>{what}</dd>
            </div>
          ))}
        </dl>
        <h2>How to read a hop</h2>
        <p>Hue says whose time it is: blue the producer's, amber and grey the broker's, violet and green the consumer's. Hatching says that nobody works on the message. An outline is time that nobody measured.</p>
        <button type="button" className="pick" onClick={() => dialog.current?.close()}>
          Close
        </button>
      </div>
    </dialog>
  )
}
