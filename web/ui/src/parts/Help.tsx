import { useEffect, useRef } from 'react'
import { PAGES } from './Shell'

const KEYS: [string[], string][] = [
  [['/'], 'search: filters, words, or what names one message: orders/3@918273, an id, key:…'],
  [['j', 'k'], 'next and previous row'],
  [['Enter'], 'open the row'],
  [['Esc'], 'back to the list; out of a field'],
  [['z'], 'time axis: folded, linear, logarithmic'],
  [['+', '-', '0'], 'trace: nearer, farther, all of the time'],
  [['s'], 'trace: the time of the row'],
  [['<', '>'], 'trace: earlier, later'],
  [['←', '→'], 'trace: shut, open what is below the row'],
  [['f'], 'trace: find rows'],
  [['n', 'N'], 'trace: next, previous hit'],
  [['e'], 'trace: only what failed'],
  [['p'], 'trace: critical path on the rows'],
  [['x', 'X'], 'issues: choose the row, or all rows from the last chosen one'],
  [['[', ']'], 'longer, shorter time'],
  [[',', '.'], 'topology: one step earlier, later'],
  [['v'], 'topology: graph or table; trace: waterfall, lanes or table'],
  [['↑', '↓', '←', '→'], 'heat map of a topic: the next cell'],
  [['c'], 'copy a link to what you see'],
]

/** All keys; those of the pages come from the rail itself. */
const keys = (): [string[], string][] => [...KEYS, ...PAGES.map((p): [string[], string] => [['g', p.key], p.name.toLowerCase()]), [['?'], 'this help']]

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
